"""The audit's home while the Mixer runs: a standby follows, a bucket goes and comes, policy is done."""

import asyncio
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxrig.errors import AuditError
from fluxrig.evidence import PublicKeys
from mixer.audit.origin import Marks
from mixer.audit.store import AuditStore
from mixer.audit.tabulate import tabulate
from mixer.audit.verify import verify
from mixer.folder import Folder
from mixer.policy import Compaction, Policy
from mixer.schedule import merge_one, prune
from mixer.status import status

from .audit.s3 import Server, server
from .audit.stream import NOON_NS, leaf_seqs, message, rows, run_of, stored
from .site import MixerProcess, rack, until


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    with server() as one:
        yield one


async def test_a_standby_takes_over_when_the_first_is_killed(tmp_path: Path, port: int) -> None:
    """Two Mixers on one folder: one is killed with -9, the other goes on, and every row is there once."""
    data, draw = tmp_path / "mixer", random.Random(11)
    async with rack(tmp_path, port) as one:
        enough = asyncio.Event()

        async def load() -> None:
            while not enough.is_set():
                await one.store(50)
                await asyncio.sleep(0.02)

        loading = asyncio.create_task(load())
        active = MixerProcess(data, port)
        await active.ready()
        for _ in range(3):
            follower = MixerProcess(data, port, "--standby")
            await until(lambda before=one.committed: one.committed > before)
            await asyncio.sleep(draw.uniform(0, 0.4))
            active.kill()
            await follower.ready()
            active.__exit__()
            active = follower
        enough.set()
        await loading
        await one.flushed()
        assert active.stop() == 0
        active.__exit__()
    assert leaf_seqs(data / "audit") == list(range(one.sent))
    assert rows(data / "audit", "SELECT count(*) FROM quarantine") == [(0,)]
    assert verify(data / "audit", PublicKeys.load([data / "signing.pub"])).ok


async def test_a_mixer_and_its_bucket(tmp_path: Path, port: int, s3: Server) -> None:
    """The bucket goes and comes, the Mixer is killed meanwhile: rows are there once, in order, and proven."""
    data, url = tmp_path / "mixer", s3.url("site")
    options = ("--audit", url)
    async with rack(tmp_path, port) as one:
        with MixerProcess(data, port, *options) as mixer:
            await mixer.ready()
            await one.store(500)
            await one.flushed()
            s3.set("away")
            await one.store(500)
            folder = Folder(data)
            await until(lambda: any((data / "audit" / ".staged").rglob("*.parquet")))
            assert one.committed == 500
            trouble = ""
            while not trouble:
                found = await status(folder)
                trouble = found["streams"][0]["trouble"]
            assert "the bucket takes nothing" in trouble
            mixer.kill()
        s3.set("well")
        with MixerProcess(data, port) as mixer:
            await mixer.ready()
            await one.store(500)
            await one.flushed(60)
            assert mixer.stop() == 0
    found = rows(url, "SELECT leaf_seq FROM messages ORDER BY stream_seq, leaf_seq")
    assert [row[0] for row in found] == list(range(1500))
    assert verify(url, PublicKeys.load([data / "signing.pub"])).ok
    assert Folder(data).store == url
    assert not list((data / "audit").rglob("*.parquet"))


async def test_two_mixers_on_one_bucket(tmp_path: Path, port: int, s3: Server) -> None:
    """A Mixer of the same identity, elsewhere, waits for the lease of the other's bucket, and takes over."""
    url = s3.url("shared")
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "mixer" / "identity", other / "identity")
    with MixerProcess(tmp_path / "mixer", port, "--audit", url) as first:
        await first.ready()
        with MixerProcess(other, port, "--audit", url) as second:
            async with rack(tmp_path, port) as one:
                await one.store(200)
                await one.flushed()
                first.kill()
                await second.ready()
                await one.store(200)
                await one.flushed(60)
                assert second.stop() == 0
    found = rows(url, "SELECT leaf_seq FROM messages ORDER BY leaf_seq")
    assert [row[0] for row in found] == list(range(400))


def fill(store: AuditStore, commits: int) -> None:
    marks = Marks(store.progress("UNS").marks)
    for _ in range(commits):
        first = store.progress("UNS").last + 1
        store.commit("UNS", "2026-11-21", tabulate("UNS", run_of(first, 1), marks))


def test_small_files_are_merged_by_themselves(tmp_path: Path) -> None:
    """As soon as there are enough of them in a row, and then not again for each that comes."""
    store = AuditStore(tmp_path / "audit")
    how = Compaction(least=4)
    fill(store, 3)
    assert merge_one(store, how) is None
    fill(store, 1)
    assert merge_one(store, how) is not None
    assert len(list((store.folder / "messages").rglob("*.parquet"))) == 1
    fill(store, 2)
    assert merge_one(store, how) is None
    assert leaf_seqs(store.folder) == list(range(18))


def test_a_policy_prunes_and_says_why(tmp_path: Path) -> None:
    """Each rule for its table and project alone; the tombstone names the policy."""
    store = AuditStore(tmp_path / "audit")
    old = NOON_NS - 40 * 86_400 * 10**9
    for project in ("default", "lyon"):
        items = [stored(1, [message(1)], 0, time_ns=old), stored(2, [message(2)], 1)]
        store.commit("UNS", "e", tabulate("UNS", items, Marks()), project)
    path = tmp_path / "policy.yaml"
    path.write_text("keep:\n  - {table: samples, project: lyon, days: 30}\n")
    prune(store, Policy.load(path))
    left = rows(store.folder, "SELECT project, count(*) FROM samples GROUP BY ALL ORDER BY ALL")
    assert left == [("default", 2), ("lyon", 1)]
    assert rows(store.folder, "SELECT count(*) FROM messages") == [(4,)]
    assert b"policy: older than 30 days" in (store.folder / "manifest.jsonl").read_bytes()
    assert store.progress("UNS", "lyon").rows["samples"] == 1
    assert verify(store.folder, PublicKeys.load([tmp_path / "signing.pub"])).ok


def test_the_policy_of_the_document_is_one(tmp_path: Path) -> None:
    """What the document for analysts shows is taken as it is printed."""
    text = (Path(__file__).parents[2] / "docs" / "analysts.md").read_text("utf-8")
    path = tmp_path / "policy.yaml"
    path.write_text(text.partition("```yaml\n")[2].partition("```")[0])
    policy = Policy.load(path)
    assert policy.compact == Compaction()
    assert [keep.reason for keep in policy.keep][:2] == [
        "policy: older than 400 days",
        "policy: older than 90 days",
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("keep: [{table: sample, days: 3}]", "no table 'sample'"),
        ("keep: [{table: samples}]", "days, gib, or both"),
        ("compact: {every: 10}", "needs its unit"),
        ("nonsense: 1", "nonsense"),
        ("keep: [", "no YAML"),
        ("[]", "policy.yaml"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(tmp_path: Path, text: str, what: str) -> None:
    """One line, with the file and the place."""
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(AuditError, match=what) as caught:
        Policy.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)

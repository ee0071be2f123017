"""A store in a bucket holds what one in a folder would, whatever becomes of bucket, spool or Mixer."""

import shutil
from collections.abc import Callable, Iterator
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from fluxrig.cli import console, mixer
from fluxrig.errors import AuditError
from fluxrig.evidence import PublicKeys, SigningKey
from mixer.audit import compact, retention
from mixer.audit.bucket import Address, Bucket
from mixer.audit.lease import Fenced, Lease
from mixer.audit.objects import Objects
from mixer.audit.origin import Marks
from mixer.audit.prove import prove
from mixer.audit.query import query
from mixer.audit.retention import Rule
from mixer.audit.spool import Spool
from mixer.audit.state import load
from mixer.audit.store import AuditStore
from mixer.audit.tabulate import tabulate
from mixer.audit.tail import Filter, tail
from mixer.audit.verify import verify

from .s3 import BUCKET, Server, server
from .stream import message, rows, run_of


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with server() as one:
        yield one


@pytest.fixture
def s3(shared: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    monkeypatch.setattr("mixer.audit.objects._READ_S", 0.5)
    monkeypatch.setattr("mixer.audit.spool._UPLOADS", 1)  # moto stumbles now and then over several at once
    yield shared
    shared.set("well")


@pytest.fixture
def url(s3: Server, request: pytest.FixtureRequest) -> str:
    return s3.url(f"site/{abs(hash(request.node.nodeid))}")


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.of(tmp_path / "keys")


def spool(folder: Path, url: str, key: SigningKey, limit_bytes: int = 1 << 30) -> Spool:
    return Spool(folder / "audit", url, key=key, limit_bytes=limit_bytes)


def commit(store: Spool, first: int, count: int = 2) -> None:
    marks = Marks(store.progress("UNS").marks)
    store.commit("UNS", "2026-11-21", tabulate("UNS", run_of(first, count), marks))


def ship(store: Spool) -> None:
    while store.ship():
        pass


def seqs(url: str) -> list[int]:
    return [row[0] for row in rows(url, "SELECT leaf_seq FROM messages ORDER BY stream_seq, leaf_seq")]


def whats(url: str, key: SigningKey, tmp_path: Path) -> list[str]:
    keys = PublicKeys.load([tmp_path / "keys" / "signing.pub"])
    return [f"{one.file}: {one.what}" for one in verify(url, keys).findings]


def test_a_bucket_holds_what_was_shipped(tmp_path: Path, url: str, key: SigningKey) -> None:
    """Rows, types, proofs, tail and evidence are those of a folder, and nothing stays in the spool."""
    store = spool(tmp_path, url, key)
    commit(store, 1)
    commit(store, 3)
    assert store.safe("UNS").last == 0
    assert store.progress("UNS").last == 4
    ship(store)
    assert store.safe("UNS").last == 4
    assert seqs(url) == list(range(12))
    assert rows(url, "SELECT count(*) FROM samples WHERE tag = 'n' AND date = '2026-11-21'") == [(12,)]
    assert whats(url, key, tmp_path) == []
    assert len([*prove(url, message(5).id.hex())]) == 1
    assert [row["data"] for row in tail(url, Filter(), 2, lambda: True)] == ['{"n":10}', '{"n":11}']
    assert list((tmp_path / "audit").rglob("*.parquet")) == []
    assert list((tmp_path / "audit").rglob("*.leaves")) == []
    assert store.spooled_bytes == 0
    with query(url, "DESCRIBE messages") as there, query(tmp_path / "audit", "DESCRIBE messages") as here:
        assert there.read_all().to_pylist() == here.read_all().to_pylist()


def test_writing_goes_on_while_the_bucket_is_away(
    tmp_path: Path, s3: Server, url: str, key: SigningKey
) -> None:
    """Commits wait on the disk, over a restart too, and are shipped in their order, once."""
    store = spool(tmp_path, url, key)
    commit(store, 1)
    ship(store)
    for mood in ("away", "stalled", "full"):
        s3.set(mood)
        commit(store, store.progress("UNS").last + 1)
        with pytest.raises(OSError, match=BUCKET):
            ship(store)
    assert store.safe("UNS").last == 2
    with pytest.raises(AuditError, match="can't be read"):
        spool(tmp_path, url, key)
    s3.set("well")
    again = spool(tmp_path, url, key)
    assert (again.progress("UNS").last, again.safe("UNS").last) == (8, 2)
    commit(again, 9)
    ship(again)
    assert seqs(url) == list(range(30))
    assert whats(url, key, tmp_path) == []


def test_an_answer_that_is_lost_ships_nothing_twice(
    tmp_path: Path, url: str, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call in turn is done by the bucket and its answer lost; the next try finds it done."""
    store = spool(tmp_path, url, key)
    put = Objects._put
    for lost in range(1, 12):
        calls = 0

        def lose(self: Objects, path: str, data: bytes, lost: int = lost, **condition: str) -> str:
            nonlocal calls
            calls += 1
            etag = put(self, path, data, **condition)
            if calls == lost:
                raise OSError("the answer was lost")
            return etag

        monkeypatch.setattr(Objects, "_put", lose)
        commit(store, 2 * lost - 1)
        try:
            ship(store)
        except OSError:
            ship(store)
        assert not store._queue
    assert seqs(url) == list(range(66))
    assert whats(url, key, tmp_path) == []


class Crash(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
def test_a_mixer_that_ends_at_any_call_ships_once(
    tmp_path: Path, url: str, key: SigningKey, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    """It ends before or after each put and delete in turn; the next one ships the rest, nothing twice."""
    numbers, last, first = count(1000), 0, 1

    def fragile(name: str) -> Callable[..., Any]:
        real = getattr(Objects, name)

        def call(self: Objects, *arguments: Any, **condition: str) -> Any:
            number = next(numbers)
            if number == last and not is_done:
                raise Crash
            answer = real(self, *arguments, **condition)
            if number == last:
                raise Crash
            return answer

        return call

    for name in ("_put", "delete"):
        monkeypatch.setattr(Objects, name, fragile(name))
    for last in range(1, 40):
        store = spool(tmp_path, url, key)
        store.clean()
        commit(store, first)
        if last % 2 == 0:
            assert [*compact.compact(store, compact.plan(store))]
        first, numbers = first + 2, count(1)
        try:
            ship(store)
        except Crash:
            numbers = count(1000)
        else:
            break
    numbers = count(1000)
    again = spool(tmp_path, url, key)
    again.clean()
    ship(again)
    assert last > 6
    assert seqs(url) == list(range(3 * (first - 1)))
    assert whats(url, key, tmp_path) == []


def test_a_full_spool_takes_no_more(tmp_path: Path, s3: Server, url: str, key: SigningKey) -> None:
    """At its limit the store refuses, as a full disk does, and the hub keeps what comes; then it goes on."""
    store = spool(tmp_path, url, key, limit_bytes=1)
    commit(store, 1)
    with pytest.raises(OSError, match="the spool is full"):
        commit(store, 3)
    ship(store)
    commit(store, 3)
    ship(store)
    assert seqs(url) == list(range(12))


def test_a_spool_that_is_lost_loses_nothing(tmp_path: Path, url: str, key: SigningKey) -> None:
    """A new folder goes on where the bucket ends; what was not shipped is not called safe."""
    store = spool(tmp_path, url, key)
    commit(store, 1)
    ship(store)
    commit(store, 3)
    shutil.rmtree(tmp_path / "audit")
    again = spool(tmp_path, url, key)
    assert again.progress("UNS").last == again.safe("UNS").last == 2
    commit(again, 3)
    commit(again, 5)
    ship(again)
    assert seqs(url) == list(range(18))
    assert whats(url, key, tmp_path) == []


def test_of_two_writers_one_goes_on(tmp_path: Path, url: str, key: SigningKey) -> None:
    """Who was gone past can't write a line; started again, it drops its own and follows the other's."""
    one = spool(tmp_path / "one", url, key)
    commit(one, 1)
    ship(one)
    other = spool(tmp_path / "other", url, key)
    assert other.progress("UNS").last == 2
    commit(one, 3, 3)
    commit(other, 3, 1)
    ship(other)
    with pytest.raises(Fenced):
        ship(one)
    again = spool(tmp_path / "one", url, key)
    assert again.progress("UNS").last == 3
    commit(again, 4, 2)
    ship(again)
    assert seqs(url) == list(range(15))
    assert list((tmp_path / "one").rglob("*.parquet")) == []
    assert whats(url, key, tmp_path) != []  # what the one uploaded and could not commit
    again.clean()
    assert whats(url, key, tmp_path) == []
    assert seqs(url) == list(range(15))


def test_upkeep_works_in_a_bucket(
    tmp_path: Path, url: str, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are merged and pruned there, unshipped ones too, and what they replace is removed."""
    monkeypatch.setattr("mixer.audit.store.CHECKPOINT_EVERY", 4)
    store = spool(tmp_path, url, key)
    for first in (1, 3, 5):
        commit(store, first)
        if first == 3:
            ship(store)
    assert [*compact.compact(store, compact.plan(store))]
    ship(store)
    assert seqs(url) == list(range(18))
    assert whats(url, key, tmp_path) == []
    assert len([*Bucket(url).paths()]) == 2
    for first in (7, 9, 11, 13):
        commit(store, first)
        ship(store)
    assert len([path for path in Bucket(url).paths() if path.startswith("messages")]) == 5
    retention.prune(store, retention.plan(store, Rule(bytes=0), date(2026, 11, 30)), "size")
    ship(store)
    assert rows(url, "SELECT count(*) FROM messages") == [(0,)]
    assert whats(url, key, tmp_path) == []
    assert spool(tmp_path, url, key).state.number == store.state.number


def test_readers_begin_at_the_checkpoint(
    tmp_path: Path, url: str, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader asks for no line before the checkpoint of the bucket, however many there are."""
    monkeypatch.setattr("mixer.audit.store.CHECKPOINT_EVERY", 3)
    store = spool(tmp_path, url, key)
    for first in range(1, 15, 2):
        commit(store, first)
        ship(store)
    asked: list[str] = []
    read = Bucket.read
    monkeypatch.setattr(Bucket, "read", lambda self, path: asked.append(path) or read(self, path))
    assert load(Bucket(url)).number == 7
    assert [path for path in asked if path.startswith("manifest")] == [
        "manifest/0000000007.jsonl",
        "manifest/0000000008.jsonl",
    ]


def test_a_lease_goes_to_who_waits_when_it_is_not_renewed(url: str) -> None:
    """The second waits while the first renews, takes over when that ends, and the first is told."""
    now = 0.0
    objects = Objects(Address.parse(url))
    one, other = (Lease(objects, 10, lambda: now) for _ in range(2))
    assert one.take()
    assert one.is_exclusive()
    for _ in range(3):
        assert not other.take()
        now += 9
        one.renew()
    assert not other.take()
    now += 10
    assert other.take()
    with pytest.raises(Fenced, match="gives way"):
        one.renew()
    other.renew()
    other.release()
    assert one.take()


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ("s3://key:secret@bucket/x", "credentials"),
        ("s3:///x", "s3://bucket"),
        ("ftp://bucket/x", "s3://bucket"),
        ("s3://bucket/x?nonsense=1", "nonsense"),
    ],
)
def test_a_url_that_can_not_be_is_refused(bad: str, what: str) -> None:
    """One clear line, and no secret in it."""
    with pytest.raises(AuditError, match=what) as caught:
        Address.parse(bad)
    assert "secret" not in str(caught.value).replace("AWS_SECRET", "").lower()


def test_the_commands_read_a_bucket(
    tmp_path: Path, url: str, key: SigningKey, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--audit s3://…` is where each command of a reader may look."""
    store = spool(tmp_path, url, key)
    commit(store, 1)
    ship(store)
    for arguments in (
        ["query", "SELECT count(*) FROM messages", "--csv"],
        ["ls"],
        ["stats"],
        ["verify", "--key", str(tmp_path / "keys" / "signing.pub")],
        ["prove", message(1).id.hex()],
        ["trace", message(1).id.hex()],
        ["tail", "--no-follow"],
        ["export", "messages", str(tmp_path / "m.csv")],
    ):
        assert console.run(mixer.app, ["audit", *arguments, "--audit", url]) == 0, arguments
    assert "count_star()\n6\n" in capsys.readouterr().out
    assert console.run(mixer.app, ["audit", "ls", "--audit", url.replace("/site/", "/nowhere/")]) == 1
    assert "no audit store at s3://" in capsys.readouterr().err


def test_a_folder_moves_to_a_bucket_by_being_opened_as_its_spool(
    tmp_path: Path, url: str, key: SigningKey
) -> None:
    """What was kept in a folder is shipped whole, history and all, and goes on there."""
    store = AuditStore(tmp_path / "audit", key=key)
    for first in range(1, 140, 2):
        marks = Marks(store.progress("UNS").marks)
        store.commit("UNS", "2026-11-21", tabulate("UNS", run_of(first, 2, each=1), marks))
    assert [*compact.compact(store, compact.plan(store))]
    moved = spool(tmp_path, url, key)
    ship(moved)
    commit_one = tabulate("UNS", run_of(141, 1, each=1), Marks(moved.progress("UNS").marks))
    moved.commit("UNS", "2026-11-21", commit_one)
    ship(moved)
    assert seqs(url) == list(range(141))
    assert whats(url, key, tmp_path) == []
    assert list((tmp_path / "audit").rglob("*.parquet")) == []

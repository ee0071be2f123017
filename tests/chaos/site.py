"""Two Racks and a Mixer as real processes, each on its side of a line, and a ledger at the Parquet end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509

from fluxrig.durable import write_durably
from mixer.audit.layout import STAGED
from mixer.audit.query import query
from tests.chaos.link import ADDRESS, Link
from tests.processes import FLUXRIG, MIXER, Running, read_json, running, until

RACKS: Final = ("line-1", "line-2")
ASSETS: Final = ("press", "oven")
_PORT: Final = 7422
_DISK_MIB: Final = 512
_FAKED: Final = Path(__file__).with_name("faked")
_FAKETIME: Final = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"

_RACK_FILE: Final = """
rack: {rack}
uns: acme/lyon/{rack}
snake: {{}}
gears:
  press: {{kind: simulate, uns: press, rate: {rate}, batch: 10, journal: {folder}/press.journal}}
  oven: {{kind: simulate, uns: oven, rate: {rate}, batch: 10, journal: {folder}/oven.journal}}
wires:
  - press -> uplink
  - oven -> uplink
"""


class Part:
    """One of the processes of a site: it can be killed, started again, and told a wrong time."""

    def __init__(
        self, name: str, folder: Path, command: tuple[str, ...], stack: ExitStack, **environ: str
    ) -> None:
        self.name, self.folder = name, folder
        self._command, self._stack, self._environ = command, stack, environ
        self._clock = folder / f"{name}.clock"
        self.process = self._start(environ)

    def _start(self, environ: dict[str, str], options: tuple[str, ...] = ()) -> Running:
        log = self.folder / f"{self.name}.log"
        return self._stack.enter_context(running((*self._command, *options), log, **environ))

    def kill(self, *options: str, own_clock: bool = False) -> None:
        """Kill it with -9, and start it again, this once with more options.

        With a clock of its own it can be told a wrong time.
        """
        self.process.kill()
        faked = {
            "LD_PRELOAD": _FAKETIME,
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(_FAKED), os.environ.get("PYTHONPATH")))),
        }
        self.process = self._start(self._environ | (faked if own_clock else {}), options)

    def kill_server(self) -> None:
        """Kill its nats-server with -9."""
        if (child := self.process.child()) is not None:
            os.kill(child, signal.SIGKILL)

    def stop(self) -> None:
        code, _ = self.process.stop(limit_s=90)
        assert code == 0, self.process.said()

    def step_clock(self, seconds: int) -> None:
        """Have a process with its own clock see another time of day, within a second."""
        draft = self._clock.with_suffix(".new")
        draft.write_text(f"{seconds:+d}\n", "ascii")
        draft.replace(self._clock)

    @property
    def report(self) -> dict[str, object]:
        return read_json(self.folder / "report")


@dataclass
class Site:
    """The whole site. `disks` are small file systems of their own, which can be filled."""

    folder: Path
    link: Link
    mixer: Part
    racks: dict[str, Part]
    disks: dict[str, Path]
    dice: random.Random
    due: dict[tuple[str, int], list[tuple[int, int]]] = field(default_factory=dict)

    def pause(self, shortest_s: float = 0.1, longest_s: float = 1.0) -> None:
        """Wait for a moment that the dice choose: faults come when they come."""
        time.sleep(self.dice.uniform(shortest_s, longest_s))

    def accepted(self, rack: str) -> int:
        """How many messages of the Rack's whole life its leaf has stored, as it said last."""
        last = self.racks[rack].report.get("last_seq")
        return 0 if last is None else int(str(last)) + 1

    def committed(self, rack: str) -> int:
        return int(str(self.racks[rack].report.get("committed") or 0))

    def certificate(self, rack: str) -> x509.Certificate:
        """The one that a Rack has now."""
        return until(lambda: _certificate(self._identity(rack)), f"a certificate of {rack}")

    def age_certificate(self, rack: str) -> None:
        """Have a Rack take its certificate for one that ends in a minute, so that it wants the next."""
        path = self._identity(rack) / "rack.json"
        write_durably(
            path, json.dumps(read_json(path) | {"issued_s": 0, "expires_s": time.time() + 60}).encode()
        )

    def _identity(self, rack: str) -> Path:
        return self.folder / f"state-{rack}" / "identity"

    def commit_under_way(self) -> bool:
        """Tell whether the audit's writer has files that are not committed."""
        return any((self.folder / "mixer" / "audit" / STAGED).rglob("*.parquet"))

    def end(self) -> None:
        """Stop everything as an operator would; the ledger balances to the last message."""
        for rack in self.racks.values():
            rack.stop()
        self.mixer.stop()
        self.due = self.settled()
        self.balance()
        for part in (self.mixer, *self.racks.values()):
            assert "Traceback" not in part.process.said()

    def settle(self, limit_s: float = 600.0) -> None:
        """Wait until all that the sources know to be stored by now is in Parquet."""
        self.due = self.settled()
        now_ns = time.time_ns()
        for rack in RACKS:
            until(lambda rack=rack: self._reported_since(rack, now_ns), f"a report of {rack}", limit_s)
            due = self.accepted(rack)
            what = f"{due} messages of {rack} in Parquet"
            until(lambda rack=rack, due=due: self.committed(rack) >= due, what, limit_s)

    def _reported_since(self, rack: str, ns: int) -> bool:
        try:
            return (self.racks[rack].folder / "report").stat().st_mtime_ns > ns and self.accepted(rack) > 0
        except FileNotFoundError:
            return False

    def settled(self) -> dict[tuple[str, int], list[tuple[int, int]]]:
        """By asset and run, the numbers whose receipt settled, as the sources wrote them down."""
        found: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        for rack in RACKS:
            for asset in ASSETS:
                text = (self.racks[rack].folder / f"{asset}.journal").read_text("ascii")
                for line in text.splitlines():
                    if len(numbers := line.split()) == 3:  # a kill may tear the last line
                        run, first, last = map(int, numbers)
                        found[f"acme/lyon/{rack}/{asset}", run].append((first, last))
        return found

    def balance(self) -> int:
        """Hold every settled number against the Parquet: none lost, none twice, none out of order.

        It holds for what was due at the last `settle`. Gives the number of rows.
        """
        rows, stored = 0, {}
        with query(self.folder / "mixer" / "audit", _LEDGER) as reader:
            for row in reader.read_all().to_pylist():
                stored[row["uns"], row["run"]] = row
                rows += row["n"]
                assert row["n"] == row["distinct_seqs"] == row["distinct_ids"], f"some are there twice: {row}"
                assert row["n"] == row["last_seq"] - row["first_seq"] + 1, (
                    f"some are missing in between: {row}"
                )
                assert not row["behind"], f"out of order: {row}"
                assert row["turns"] == 1, f"two runs of one source are mixed: {row}"
        for key, ranges in self.due.items():
            first, last = min(ranges)[0], max(ranges)[1]
            row = stored.get(key)
            assert row, f"{key} is lost"
            assert row["first_seq"] <= first, f"the first of {key} are lost: {first}, {row}"
            assert row["last_seq"] >= last, f"the last of {key} are lost: {last}, {row}"
        return rows


_LEDGER: Final = """
    WITH readings AS (
        SELECT uns, (data->>'$.run')::BIGINT AS run, (data->>'$.seq')::BIGINT AS seq, id, stream_seq, leaf_seq
        FROM messages),
    lined_up AS (
        SELECT *, lag(run) OVER one AS run_before, lag(seq) OVER one AS seq_before FROM readings
        WINDOW one AS (PARTITION BY uns ORDER BY stream_seq, leaf_seq))
    SELECT uns, run, count(*) AS n, count(DISTINCT seq) AS distinct_seqs, count(DISTINCT id) AS distinct_ids,
           min(seq) AS first_seq, max(seq) AS last_seq,
           count(*) FILTER (run = run_before AND seq < seq_before) AS behind,
           count(*) FILTER (run_before IS NULL OR run <> run_before) AS turns
    FROM lined_up GROUP BY ALL
"""


def _certificate(identity: Path) -> x509.Certificate | None:
    """Read it, None in the moment in which the folder is replaced."""
    try:
        return x509.load_pem_x509_certificate((identity / "tls.pem").read_bytes())
    except FileNotFoundError:
        return None


def _join_token(link: Link, data: Path) -> str:
    """Have the Mixer, once it runs, make a token that lets in whoever shows it."""
    create = ("join-token", "create", "--approve", "--uses", str(len(RACKS)), "--data", str(data), "--json")
    command = (*link.within("mixer"), *MIXER, *create)

    def made() -> subprocess.CompletedProcess[bytes] | None:
        done = subprocess.run(command, check=False, capture_output=True)
        return done if done.returncode == 0 else None

    return str(json.loads(until(made, "a join token").stdout)["token"])


def can_step_clocks() -> bool:
    return Path(_FAKETIME).exists()


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """Mount a file system of its own that is easily full."""
    path.mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={_DISK_MIB}m", "tmpfs", str(path))
    try:
        yield path
    finally:
        _run("umount", "--lazy", str(path))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


@contextmanager
def site(folder: Path, link: Link, dice: random.Random, rate: int) -> Iterator[Site]:
    """Run a site for the length of a `with`. `rate`: messages a second of each of its four sources."""
    with ExitStack() as stack:
        disks = {
            name: stack.enter_context(small_disk(folder / name)) for name in ("state-line-1", "mixer/hub")
        }
        data, address = folder / "mixer", ADDRESS["mixer"]
        ports = ("--listen", f"{address}:{_PORT}", "--enrol", f"{address}:{_PORT + 1}")
        up = (*link.within("mixer"), *MIXER, "up", "--data", str(data), *ports, "--commit-every", "200ms")
        mixer = Part("mixer", folder, up, stack)
        token = _join_token(link, data)
        racks = {}
        for rack in RACKS:
            place = folder / rack
            place.mkdir()
            text = _RACK_FILE.format(rack=rack, rate=rate, folder=place)
            (place / "rack.yaml").write_text(text, "utf-8")
            places = ("--state", str(folder / f"state-{rack}"), "--report", str(place / "report"))
            run = (*link.within("rack"), *FLUXRIG, "run", str(place / "rack.yaml"), *places, "--flush", "60s")
            racks[rack] = Part(rack, place, run, stack, FLUXRIG_JOIN=token)
        yield Site(folder, link, mixer, racks, disks, dice)

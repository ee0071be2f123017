"""What happens when: all starts, the hub is killed and comes back, the Rack drains, all stops."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from fluxrig.bus.port import ReservedPort
from fluxrig.cli.demo.capture import write_rack_file
from fluxrig.cli.demo.children import PATIENCE_S, Child, console_script, python_module
from fluxrig.cli.demo.closing import Outcome
from fluxrig.cli.demo.evidence import counts, stored_rows
from fluxrig.cli.demo.ledger import reckon
from fluxrig.cli.demo.view import UP, Progress, View
from fluxrig.errors import FluxrigError
from fluxrig.identity.join import VARIABLE

TICK_S = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of one run of the demo."""

    folder: Path
    duration_s: float
    live: bool
    """Capture on loopback; else replay the recording."""

    @property
    def kill_at_s(self) -> float:
        return 0.4 * self.duration_s

    @property
    def return_at_s(self) -> float:
        return self.kill_at_s + min(2.0, 0.2 * self.duration_s)


def play(plan: Plan, console: Console) -> Outcome:
    """Run the demo from start to end; every process that it starts has ended when this returns or raises."""
    (plan.folder / "logs").mkdir()
    with View(console, Progress(plan.duration_s)) as view:
        return Story(plan, view).play()


class Story:
    """One run of the demo."""

    def __init__(self, plan: Plan, view: View) -> None:
        self._plan = plan
        self._view = view
        self._progress = view.progress
        self._report = plan.folder / "rack.json"
        self._env: dict[str, str] = {}
        self._stack = ExitStack()
        self._running: list[Child] = []

    def play(self) -> Outcome:
        """Run from start to end, and count."""
        with self._stack:
            self._start()
            self._watch_until(self._plan.kill_at_s)
            self._kill_hub()
            self._watch_until(self._plan.return_at_s)
            self._bring_hub_back()
            self._watch_until(self._plan.duration_s)
            self._stop()
        return self._outcome(self._read_report() or {})

    def _outcome(self, report: dict[str, Any]) -> Outcome:
        audit = self._plan.folder / "mixer" / "audit"
        accepted = range(report["first_seq"], report["last_seq"] + 1) if report.get("accepted") else range(0)
        return Outcome(
            ledger=reckon(accepted, stored_rows(audit)),
            **counts(audit),
            capture="live" if self._plan.live else "replay",
            outage_s=self._back_s - self._killed_s,
            folder=self._plan.folder,
        )

    def _start(self) -> None:
        self._view.say("starting a press, a Mixer, a SCADA station and a Rack")
        if self._plan.live:
            self._view.say("capturing live on loopback")
        else:
            self._view.say("replaying the recorded capture; live needs root, and no --replay")
        self._plant = self._child("plant", python_module("fluxrig.cli.demo.plant", "--port", 0))
        url = self._plant.wait_for("listening socket", self._plant.first_line)["listening"]
        plant_port = url.rpartition(":")[2]
        self._snake_port, self._enrol_port = self._reserve_port(), self._reserve_port()
        self._mixer = self._start_mixer("mixer")
        self._mixer.wait_for("ready hub", self._mixer.first_line)
        self._env |= {"FLUXRIG_DEMO_PLANT_PORT": plant_port, VARIABLE: self._join_token()}
        self._child("scada", python_module("fluxrig.cli.demo.scada", "--port", plant_port))
        self._rack = self._start_rack()
        self._rack.wait_for("registered Rack", self._snake_is_up)
        self._progress.hub = UP
        self._started_s = time.monotonic()

    def _reserve_port(self) -> str:
        """Hold a port for the whole run, so that nobody else is given it while the hub is down."""
        port = ReservedPort()
        self._stack.callback(port.release)
        return str(port.port)

    def _start_mixer(self, name: str) -> Child:
        ports = ("--listen", f"127.0.0.1:{self._snake_port}", "--enrol", f"127.0.0.1:{self._enrol_port}")
        where = ("--data", self._plan.folder / "mixer", *ports)
        return self._child(name, console_script("mixer", "up", *where, "--commit-every", "1s", "--json"))

    def _join_token(self) -> str:
        """Have the Mixer make a token that lets in the demo's Rack, which then makes its own keys."""
        from mixer.enrolment.client import ask
        from mixer.folder import Folder

        order = {"verb": "token-create", "rack": "demo", "approve": True, "by": "fluxrig demo"}
        made = asyncio.run(ask(Folder(self._plan.folder / "mixer"), order))
        return str(made["token"])

    def _start_rack(self) -> Child:
        file = write_rack_file(self._plan.folder, live=self._plan.live)
        state = self._plan.folder / "rack"
        return self._child(
            "rack", console_script("fluxrig", "run", file, "--state", state, "--report", self._report)
        )

    def _kill_hub(self) -> None:
        # The hub's nats-server is tied to the Mixer: kill -9 takes both, and the writer of Parquet with them.
        self._running.remove(self._mixer)
        self._mixer.kill()
        self._killed_s = self._progress.elapsed_s
        self._progress.hub = "killed"
        self._view.say("kill -9: the Mixer and its hub are gone; the Rack keeps what it reads")

    def _bring_hub_back(self) -> None:
        self._mixer = self._start_mixer("mixer-again")
        self._progress.hub = "starting"
        self._view.say("the Mixer starts again on the same data")
        self._watch(self._mixer.first_line)
        self._back_s = self._progress.elapsed_s
        self._progress.hub = UP
        accepted = self._progress.accepted
        self._view.say(f"the hub is back, {self._progress.backlog} messages behind")
        self._watch(lambda: self._progress.stored >= accepted)
        self._view.say("the hub has what the Rack kept for it")

    def _stop(self) -> None:
        self._view.say("stopping: the Rack drains, and leaves when the Mixer has it all in Parquet")
        self._rack.stop()
        self._refresh()
        self._mixer.stop()

    def _watch_until(self, elapsed_s: float) -> None:
        self._watch(lambda: self._progress.elapsed_s >= elapsed_s)

    def _watch(self, has_happened: Callable[[], object]) -> None:
        """Show what happens until something has; an error when a process ends, or after much too long."""
        deadline_s = time.monotonic() + self._plan.duration_s + PATIENCE_S
        while not has_happened():
            if time.monotonic() > deadline_s:
                raise FluxrigError(f"the demo does not get on; see {self._plan.folder / 'logs'}")
            for child in self._running:
                child.check()
            self._refresh()
            time.sleep(TICK_S)

    def _refresh(self) -> None:
        progress, report = self._progress, self._read_report() or {}
        gears = report.get("gears", {})
        progress.elapsed_s = time.monotonic() - self._started_s
        progress.polled = gears.get("press", {}).get("out", 0)
        progress.sniffed = gears.get("tap", {}).get("out", 0)
        progress.accepted = report.get("accepted", 0)
        progress.stored = report.get("committed") or 0
        progress.readings = self._plant.last_line()
        self._view.update()

    def _snake_is_up(self) -> bool | None:
        report = self._read_report() or {}
        return True if report.get("snake") == "up" else None

    def _read_report(self) -> dict[str, Any] | None:
        try:
            report: dict[str, Any] = json.loads(self._report.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return report

    def _child(self, name: str, command: list[str]) -> Child:
        child = Child(name, command, self._plan.folder / "logs", self._env)
        self._running.append(child)
        return self._stack.enter_context(child)

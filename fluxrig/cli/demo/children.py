"""Processes of the demo: each writes into a log of its own, and none outlives the demo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from fluxrig.bus.child import die_with_us
from fluxrig.errors import FluxrigError

T = TypeVar("T")
POLL_S = 0.05
PATIENCE_S = 30.0
LONGEST_LINE = 4096


def python_module(module: str, *options: object) -> list[str]:
    """The command that runs a module with this Python."""
    return [sys.executable, "-m", module, *map(str, options)]


def console_script(name: str, *options: object) -> list[str]:
    """The command that runs `fluxrig` or `mixer` with this Python, whatever PATH says."""
    module = {"fluxrig": "fluxrig.cli.main", "mixer": "fluxrig.cli.mixer"}[name]
    return [sys.executable, "-c", f"from {module} import main; main()", *map(str, options)]


class Child:
    """One process, running from the start. `log_dir` gets `<name>.out` (stdout) and `<name>.log` (stderr)."""

    def __init__(
        self, name: str, command: Sequence[str], log_dir: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.out = log_dir / f"{name}.out"
        self.log = log_dir / f"{name}.log"
        with self.out.open("ab") as out, self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env={**os.environ, **(env or {})},
                # Ctrl-C on the terminal is for the demo, which ends its children in order.
                start_new_session=True,
                preexec_fn=die_with_us(),  # noqa: PLW1509 - the demo has one thread
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raise when the process ended though nobody asked it to."""
        if (code := self._process.poll()) is not None:
            raise FluxrigError(f"{self.name} ended with {code}; {self._last_words()}")

    def first_line(self) -> Any:
        """Give the first JSON line that the process printed, or None."""
        with self.out.open("rb") as out:
            line = out.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def last_line(self, longest: int = LONGEST_LINE) -> Any:
        """Give the last whole JSON line that the process printed, of at most `longest` bytes, or None."""
        with self.out.open("rb") as out:
            out.seek(max(0, self.out.stat().st_size - longest))
            lines = out.read().rpartition(b"\n")[0].splitlines()
        return json.loads(lines[-1]) if lines else None

    def wait_for(self, what: str, look: Callable[[], T | None], timeout_s: float = PATIENCE_S) -> T:
        """Wait until `look` finds something, and give it. An error when the process ends or time is up."""
        deadline_s = time.monotonic() + timeout_s
        while (found := look()) is None:
            self.check()
            if time.monotonic() > deadline_s:
                raise FluxrigError(f"{self.name}: no {what} within {timeout_s:g} s; {self._last_words()}")
            time.sleep(POLL_S)
        return found

    def stop(self, timeout_s: float = PATIENCE_S) -> None:
        """Ask the process to end (SIGTERM) and wait for it; an error when it does not, or not with 0."""
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise FluxrigError(f"{self.name} did not stop within {timeout_s:g} s; see {self.log}") from None
        if code != 0:
            raise FluxrigError(f"{self.name} stopped with {code}; {self._last_words()}")

    def kill(self) -> None:
        """End the process and what it started at once (SIGKILL). Twice is fine."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return f"its last words: {lines[-1]} (all in {self.log})" if lines else f"see {self.log}"

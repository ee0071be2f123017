"""What the terminal shows: a live view that redraws itself, or plain lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

PLAIN_EVERY_S = 2.0
UP = "up"


@dataclass(slots=True)
class Progress:
    """What is known at one moment."""

    duration_s: float
    elapsed_s: float = 0.0
    hub: str = "starting"
    polled: int = 0
    """Messages out of the Modbus gear."""
    sniffed: int = 0
    """Messages out of the sniffer."""
    accepted: int = 0
    """Messages that the leaf has stored."""
    stored: int = 0
    """Messages in Parquet."""
    readings: Mapping[str, Any] = field(default_factory=dict)
    """What the press says of itself."""

    @property
    def backlog(self) -> int:
        """Messages that the Rack keeps until the Mixer has them."""
        return max(0, self.accepted - self.stored)


class View:
    """Shows progress on `console` while it is entered."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self.console = console
        self.progress = progress
        self._next_line_s = 0.0
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a line that stays: something happened."""
        self.console.print(f"{self.progress.elapsed_s:5.1f} s  {text}", highlight=False, soft_wrap=True)

    def update(self) -> None:
        """Show the progress as it is now."""
        if self._live:
            self._live.update(live_panel(self.progress), refresh=True)
        elif self.progress.elapsed_s >= self._next_line_s:
            self._next_line_s = self.progress.elapsed_s + PLAIN_EVERY_S
            self.say(plain_line(self.progress))


def plain_line(progress: Progress) -> str:
    return (
        f"polled {progress.polled}, sniffed {progress.sniffed}, accepted {progress.accepted}, "
        f"in Parquet {progress.stored}, backlog {progress.backlog}, hub {progress.hub}"
    )


def live_panel(progress: Progress) -> RenderableType:
    columns = Table.grid(padding=(0, 4))
    columns.add_row(_readings(progress), _path(progress))
    bar = ProgressBar(total=progress.duration_s, completed=progress.elapsed_s, width=64)
    return Panel(Group(columns, Text(), bar), title="fluxrig demo", expand=False, padding=(1, 2))


def _readings(progress: Progress) -> Table:
    table = Table("the press", "", box=None, header_style="bold")
    for name, value in progress.readings.items():
        table.add_row(name, f"{value:.2f}" if isinstance(value, float) else str(value))
    return table


def _path(progress: Progress) -> Table:
    table = Table("along the path", "", box=None, header_style="bold")
    table.columns[1].justify = "right"
    for name, count in (
        ("polled", progress.polled),
        ("sniffed", progress.sniffed),
        ("accepted", progress.accepted),
        ("in Parquet", progress.stored),
        ("backlog", progress.backlog),
    ):
        table.add_row(name, f"{count:,}")
    table.add_row("hub", Text(progress.hub, style="green" if progress.hub == UP else "bold red"))
    return table

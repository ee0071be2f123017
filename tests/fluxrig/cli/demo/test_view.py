"""The demo says what happens, on a terminal and without one."""

from __future__ import annotations

import io

from rich.console import Console

from fluxrig.cli.demo.view import Progress, View


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)


def text_of(used: Console) -> str:
    assert isinstance(used.file, io.StringIO)
    return used.file.getvalue()


def test_without_a_terminal_lines_are_plain_and_few() -> None:
    """One line in two seconds, no control codes, each with the counters along the path."""
    used, progress = console(terminal=False), Progress(duration_s=10, polled=7, accepted=9, stored=4)
    with View(used, progress) as view:
        for progress.elapsed_s in (0.0, 0.5, 1.9, 2.1):
            view.update()
    lines = text_of(used).splitlines()
    assert lines == [
        "  0.0 s  polled 7, sniffed 0, accepted 9, in Parquet 4, backlog 5, hub starting",
        "  2.1 s  polled 7, sniffed 0, accepted 9, in Parquet 4, backlog 5, hub starting",
    ]


def test_a_terminal_shows_the_press_the_counters_and_the_hub() -> None:
    """Readings, counters and the state of the hub stand in the live view."""
    used = console(terminal=True)
    progress = Progress(
        duration_s=10, sniffed=1234, hub="killed", readings={"pressure_bar": 6.5, "strokes": 12}
    )
    with View(used, progress) as view:
        view.update()
    for shown in ("pressure_bar", "6.50", "strokes", "12", "1,234", "killed"):
        assert shown in text_of(used)


def test_the_backlog_is_never_negative() -> None:
    """The two counters are read one after the other, so the later one may be ahead."""
    assert Progress(duration_s=1, accepted=3, stored=5).backlog == 0

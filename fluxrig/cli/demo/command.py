"""`fluxrig demo`: the command line."""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from fluxrig.cli.console import JsonOption, print_json
from fluxrig.cli.options import seconds
from fluxrig.errors import FluxrigError

SHORTEST_S = 2.0
LONGEST_S = 3600.0


def demo(
    for_: Annotated[
        float,
        typer.Option("--for", parser=seconds, metavar="DURATION", help="How long the Rack runs: 2s to 1h."),
    ] = "12s",  # type: ignore[assignment]
    keep: Annotated[
        Path | None,
        typer.Option(
            help="Folder for all files; new or empty.", file_okay=False, show_default="a new temporary folder"
        ),
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Replay the recorded capture, also where capturing is allowed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """See the whole path at work: a press, a SCADA station, a Rack and a Mixer, in real processes.

    The Rack polls the press over Modbus TCP and listens in on the SCADA station: live where this process may
    capture, else from a recording. In the middle the hub is killed with -9 and started again. At the end a
    ledger holds what the Rack accepted against what stands in Parquet. Exits 1 when it does not balance.
    """
    from rich.console import Console

    from fluxrig.cli.demo.capture import may_capture
    from fluxrig.cli.demo.closing import show
    from fluxrig.cli.demo.story import Plan, play

    if not SHORTEST_S <= for_ <= LONGEST_S:
        raise typer.BadParameter("the demo runs for 2s to 1h", param_hint="--for")
    # A demo that is told to end stops its processes as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(stderr=as_json)
    plan = Plan(_folder(keep), for_, live=may_capture() and not replay)
    try:
        outcome = play(plan, console)
    except KeyboardInterrupt:
        if keep is None:
            shutil.rmtree(plan.folder, ignore_errors=True)
        raise
    if as_json:
        print_json(outcome.as_json())
    else:
        show(console, outcome)
    if not outcome.is_good:
        raise FluxrigError(f"the ledger does not balance; look into {plan.folder / 'logs'}")


def _folder(keep: Path | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="fluxrig-demo-"))
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise typer.BadParameter(f"{keep} is not empty; name a new folder", param_hint="--keep")
    return keep.resolve()

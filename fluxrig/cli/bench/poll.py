"""`fluxrig bench poll`: what polling costs, from devices to the leaf's stream, in real processes."""

from __future__ import annotations

import shutil
import signal
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxrig.cli.console import JsonOption, print_json
from fluxrig.errors import FluxrigError

if TYPE_CHECKING:
    from fluxrig.cli.bench.poll_run import Measured


class CaseName(StrEnum):
    """The cases of `CASES`."""

    PLAIN = "plain"
    HOLES = "holes"
    FAST = "fast"


def poll(
    as_json: JsonOption = False,
    seconds: Annotated[
        float, typer.Option(min=1, max=3600, help="How long to measure each case, after its start.")
    ] = 10.0,
    case: Annotated[
        list[CaseName] | None,
        typer.Option(help="Measure this case alone; may be given again.", show_default="all of them"),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="Keep logs, Rack files and streams in this new folder.", show_default=False),
    ] = None,
) -> None:
    """Measure polling, from Modbus devices to the leaf's stream.

    plain: 10 devices of 1,000 float32 tags, every 100 ms. holes: the same with 30 % of the addresses between
    the tags unused. fast: 100 tags every 10 ms. Devices, Rack and leaf are processes of their own; the
    devices go before all others where that is allowed (CAP_SYS_NICE), as if each had a CPU of its own. CPU
    and memory are those of Rack and leaf together, schedule and jitter those that the devices saw. Every
    value in the leaf's stream is held against what its device had; exits 1 when one is wrong.

    With --json `tags_per_s`, `cores`, `rss_mib` and `overrun_ratio` are those of the first case measured,
    `jitter_ms` that of `fast` if it was measured; `cases` has all of each.
    """
    from fluxrig.cli.bench.poll_case import CASES

    if not Path("/proc/self/stat").exists():
        raise FluxrigError("the benchmark reads CPU and memory from /proc, which only Linux has")
    # A benchmark that is told to end stops its processes as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = _folder(keep)
    try:
        results = _run([CASES[name] for name in dict.fromkeys(case or CaseName)], seconds, folder)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        print_json(as_document(results))
    else:
        _show(results)
    if wrong := sum(result.wrong_values for result in results):
        raise FluxrigError(f"{wrong} values in the leaf's stream are not what the devices had")


def _folder(keep: Path | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="fluxrig-bench-"))
    if keep.exists():
        raise typer.BadParameter(f"{keep} exists; name a new folder", param_hint="--keep")
    keep.mkdir(parents=True)
    return keep.resolve()


def _run(cases: list[Any], seconds: float, folder: Path) -> list[Measured]:
    from rich.console import Console

    from fluxrig.cli.bench.poll_run import run_case

    results = []
    console = Console(stderr=True)
    for case in cases:
        with console.status(f"{case}, {seconds:g} s"):
            results.append(run_case(case, seconds, folder / case.name))
    return results


def as_document(results: list[Measured]) -> dict[str, Any]:
    """Give the figures of the first case, the jitter of the fast one, and all of each."""
    whole = {result.case.name: figures(result) for result in results}
    first = next(iter(whole.values()))
    jitter = whole.get("fast", first)["jitter_ms"]
    top = ("tags_per_s", "cores", "rss_mib", "overrun_ratio")
    return {**{name: first[name] for name in top}, "jitter_ms": jitter, "cases": whole}


def figures(result: Measured) -> dict[str, Any]:
    """Give what programs read of one case."""
    return {
        "tags_per_s": round(result.tags_per_s, 1),
        "cores": round(result.cores, 4),
        "rss_mib": round(result.rss_mib, 1),
        "overrun_ratio": round(result.timing.overrun_ratio, 6),
        "jitter_ms": result.timing.jitter_ms(),
        "cpu_s_per_million_tags": round(result.cpu_s_per_million_tags, 3),
        "polls": result.timing.ticks,
        "wrong_values": result.wrong_values,
        "missing_values": result.missing_values,
        "rack_cores": round(result.rack_cpu_s / result.seconds, 4),
        "leaf_cores": round(result.leaf_cpu_s / result.seconds, 4),
        "device_cores": round(result.device_cores, 4),
        "rack_rss_mib": round(result.rack_rss_mib, 1),
        "leaf_rss_mib": round(result.leaf_rss_mib, 1),
        "seconds": round(result.seconds, 2),
    }


def _show(results: list[Measured]) -> None:
    for result in results:
        jitter = result.timing.jitter_ms()
        typer.echo(f"{result.case.name}: {result.case}, for {result.seconds:.0f} s")
        typer.echo(
            f"  {result.tags_per_s:,.0f} tags/s of {result.case.all_tags / result.case.every_s:,.0f} in the"
            f" leaf's stream, {result.wrong_values} wrong, {result.missing_values} missing"
        )
        typer.echo(
            f"  {result.cores:.2f} cores: Rack {result.rack_cpu_s / result.seconds:.2f},"
            f" leaf {result.leaf_cpu_s / result.seconds:.2f} (the devices {result.device_cores:.2f} beside);"
            f" {result.cpu_s_per_million_tags:.1f} CPU seconds per million tags"
        )
        typer.echo(
            f"  {result.rss_mib:.0f} MiB: Rack {result.rack_rss_mib:.0f}, leaf {result.leaf_rss_mib:.0f}"
        )
        typer.echo(
            f"  {result.timing.overruns} of {result.timing.ticks} polls overrun"
            f" ({result.timing.overrun_ratio:.3%});"
            f" jitter {jitter['p50']:.2f} ms p50, {jitter['p99']:.2f} p99, {jitter['p999']:.2f} p99.9"
        )

"""`fluxrig bench neighbour`: what a poller feels of a sniffer in the same Rack."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from fluxrig.cli.console import JsonOption, print_json


def neighbour(
    as_json: JsonOption = False,
    seconds: Annotated[
        float, typer.Option(min=1, max=3600, help="How long to measure each case, all rounds together.")
    ] = 50.0,
    rounds: Annotated[
        int, typer.Option(min=1, max=100, help="How often the cases take turns: others use the machine, too.")
    ] = 5,
    packets: Annotated[
        int, typer.Option(min=100, max=1_000_000, metavar="PER_SECOND", help="Packets a second to sniff.")
    ] = 20_000,
) -> None:
    """Measure how punctually a Rack polls every 10 ms: alone, beside a sniffer, beside an isolated sniffer.

    The sniffer replays Modbus traffic at its pace: 20,000 packets a second unless told otherwise. The device
    notes when each request comes; jitter is how far the time between two polls is from 10 ms. Rack, leaf and
    worker are processes of their own; the device is a thread of this one, which goes before all others where
    that is allowed (CAP_SYS_NICE). The cases take turns; `ratio` is p99 to p99 of the poller alone, and the
    median of the rounds.
    """
    from fluxrig.cli.bench.neighbour_run import CASES, Found, make_traffic, measure, ratios

    found = {case: Found() for case in CASES}
    with tempfile.TemporaryDirectory(prefix="fluxrig-neighbour-", ignore_cleanup_errors=True) as name:
        traffic = make_traffic(Path(name), packets)
        for turn in range(rounds):
            for case in CASES:
                if not as_json:
                    typer.echo(f"round {turn + 1} of {rounds}: {case.replace('_', ' ')}", err=True)
                measure(case, traffic, Path(name), seconds / rounds, found[case])
    cases = {case: part.figures() for case, part in found.items()}
    rounds_ratios = {case: ratios(part, found["alone"]) for case, part in found.items()}
    ratio = {case: round(median(each), 2) for case, each in rounds_ratios.items()}
    if as_json:
        print_json({"packets_per_s": packets, "cases": cases, "ratio": ratio, "ratios": rounds_ratios})
    else:
        _print_table(cases, ratio, rounds_ratios)


def _print_table(
    cases: dict[str, dict[str, Any]], ratio: dict[str, float], ratios: dict[str, list[float]]
) -> None:
    heads = f"{'p50 µs':>9} {'p99 µs':>9} {'p99.9 µs':>9} {'packets/s':>10} ratio  of each round"
    typer.echo(f"{'poller every 10 ms':18} {heads}")
    for case, found in cases.items():
        figures = " ".join(f"{found[key]:9,.0f}" for key in ("p50_us", "p99_us", "p999_us"))
        each = " ".join(f"{one:.2f}" for one in ratios[case])
        title = case.replace("_", " ")
        typer.echo(f"{title:18} {figures} {found['sniffed_packets_per_s']:10,} {ratio[case]:5.2f}  {each}")

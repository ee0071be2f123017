"""`fluxrig bench sniff`: how many packets a second the sniffer takes, beside tshark in the same run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from fluxrig.cli.bench import tshark
from fluxrig.cli.console import JsonOption, print_json
from fluxrig.errors import FluxrigError


def sniff(
    file: Annotated[
        Path, typer.Argument(help="A capture: pcap or pcapng, also in gzip.", exists=True, dir_okay=False)
    ],
    rounds: Annotated[
        int, typer.Option(min=1, max=100, help="Rounds; the figures are those of the best.")
    ] = 3,
    as_json: JsonOption = False,
) -> None:
    """Measure the whole way of packets: from the file to events of every kind, encoded, in one process.

    Where tshark is installed, it prints 14 Modbus fields of the same file, in turns with us. Neither figure
    has the time in which the program itself starts. Memory is the peak of a process that does nothing else.
    """
    figures = measure(file, rounds)
    if as_json:
        print_json(figures)
        return
    typer.echo(f"{file.name}: {figures['packets']:,} packets, {figures['adus']:,} ADUs, best of {rounds}")
    typer.echo(f"  fluxrig   {figures['packets_per_s']:>10,} packets/s  {figures['adus_per_s']:>10,} ADUs/s")
    if "tshark_packets_per_s" in figures:
        ratio = figures["packets_per_s"] / figures["tshark_packets_per_s"]
        typer.echo(
            f"  tshark    {figures['tshark_packets_per_s']:>10,} packets/s  we are {ratio:.2f} times as fast"
        )
    else:
        typer.echo("  tshark is not installed, so there is nothing to compare with")
    typer.echo(f"  memory    {figures['rss_mib']:>10} MiB at its peak")


def measure(file: Path, rounds: int) -> dict[str, float | int]:
    """Give the figures of the best round of each contender."""
    contender = tshark.find()
    ours: list[Mapping[str, float]] = []
    theirs: list[float] = []
    for _ in range(rounds):
        ours.append(_run(file))
        if contender is not None:
            theirs.append(tshark.seconds(contender, file))
    best = min(ours, key=lambda one: one["seconds"])
    figures: dict[str, float | int] = {
        "packets": int(best["packets"]),
        "adus": int(best["adus"]),
        "messages": int(best["messages"]),
        "packets_per_s": round(best["packets"] / best["seconds"]),
        "adus_per_s": round(best["adus"] / best["seconds"]),
        "rss_mib": round(max(one["rss_mib"] for one in ours), 1),
    }
    if theirs:
        figures["tshark_packets_per_s"] = round(best["packets"] / min(theirs))
    return figures


def _run(file: Path) -> Mapping[str, float]:
    command = [sys.executable, "-m", "fluxrig.cli.bench.sniff_run", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2]
        raise FluxrigError(f"the run over {file} failed: {reason}")
    figures: Mapping[str, float] = json.loads(done.stdout)
    return figures

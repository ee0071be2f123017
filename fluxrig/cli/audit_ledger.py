"""`mixer audit ledger`: whether every number that the leaves gave out has its row."""

from __future__ import annotations

import typer

from fluxrig.cli.audit import AuditOption, DataOption, MemoryOption, TimeoutOption, place
from fluxrig.cli.console import JsonOption, print_json

SHOWN = 20


def ledger(
    data: DataOption = None,
    audit: AuditOption = "",
    memory: MemoryOption = 1024,
    timeout: TimeoutOption = "5m",  # type: ignore[assignment]
    as_json: JsonOption = False,
) -> None:
    """Count what each leaf accepted against what stands in Parquet: missing, doubled, out of order.

    A gap in a leaf's numbers is explained where the Rack told of it: `dropped` by the policy in its file,
    `lost` by its disk; `set aside` is in the table quarantine. Exits 1 when something is missing, doubled or
    out of order.
    """
    from rich import print as show
    from rich.table import Table

    from mixer.audit.ledger import ledger as reckon
    from mixer.audit.query import Limits

    found = reckon(place(data, audit), Limits(memory_mib=memory, time_s=timeout))
    if as_json:
        print_json(found)
    else:
        whys = ("missing", "dropped", "lost", "set aside", "pruned")
        table = Table("Rack", "stream", "leaf", "accepted", "rows", "doubled", "out of order", *whys)
        for one in found:
            counts = (one["last"] + 1, one["rows"], one["doubled"], one["out_of_order"])
            numbers = (f"{number:,}" for number in (*counts, *(one["counts"].get(why, 0) for why in whys)))
            table.add_row(one["rack"], one["stream"], one["leaf"], *numbers)
        show(table)
        for one in found:
            for first, last, why in one["gaps"][:SHOWN]:
                typer.echo(f"{one['rack']} {one['stream']} {one['leaf']}: {first} to {last} {why}")
    if not all(one["balances"] for one in found):
        raise typer.Exit(1)

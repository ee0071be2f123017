"""`mixer join-token`: strings by which new Racks may ask to be let in."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from fluxrig.cli.audit import DataOption
from fluxrig.cli.console import JsonOption, print_json
from fluxrig.cli.options import seconds
from fluxrig.cli.racks import order
from fluxrig.durable import write_durably

app = typer.Typer(help="Join tokens, by which new Racks may ask to be let in.", no_args_is_help=True)


@app.command()
def create(
    project: Annotated[str, typer.Option(help="The project that the Rack joins.")] = "default",
    rack: Annotated[
        str, typer.Option(help="Only for the Rack of this name; needed for a name that was let in before.")
    ] = "",
    uns: Annotated[str, typer.Option(metavar="PREFIX", help="Only for UNS paths at or below this one.")] = "",
    uses: Annotated[int, typer.Option(min=1, max=10_000, help="How many Racks it is for.")] = 1,
    expires: Annotated[
        float, typer.Option(parser=seconds, metavar="DURATION", help="How long it is good for.")
    ] = "1h",  # type: ignore[assignment]
    approve: Annotated[
        bool, typer.Option("--approve", help="Let in whoever shows it, without `mixer racks approve`.")
    ] = False,
    mixer: Annotated[
        str,
        typer.Option(
            metavar="HOST[:PORT]",
            help="Where the Rack reaches the Mixer's enrolment port.",
            show_default="as `mixer up` says",
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the token into this file, which only you can read.",
            dir_okay=False,
            show_default="standard output",
        ),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a join token and print it. Whoever has it may ask to be let in: pass it on like a password.

    It holds the Mixer's address, the fingerprint of its authority, and a secret of which the Mixer keeps only
    the digest: it can't be shown again.
    """
    made = order(
        data,
        verb="token-create",
        project=project,
        rack=rack,
        uns=uns,
        uses=uses,
        life_s=expires,
        approve=approve,
        address=mixer,
    )
    if out is not None:
        write_durably(out, f"{made.pop('token')}\n".encode())
    if as_json:
        print_json(made)
        return
    who = f"Rack {rack}" if rack else "any Rack" if uses == 1 else f"{uses} Racks"
    then = "lets it in at once" if approve else f"then: mixer racks approve {rack or 'NAME'}"
    typer.echo(f"join token {made['id']} for {who}, until {_time(made['expires_s'])}; {then}", err=True)
    if out is None:
        print(made["token"])


@app.command("list")
def list_(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List join tokens with their uses. Their secrets are not known any more."""
    tokens = order(data, verb="token-list")
    if as_json:
        print_json(tokens)
        return
    from rich import print as show
    from rich.table import Column, Table

    names = ("state", "for", "used", "approves", "expires")
    table = Table(Column("id", no_wrap=True), *(Column(name, overflow="fold") for name in names))
    for one in tokens:
        table.add_row(*_row(one))
    show(table)


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id.", show_default=False)],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a join token before its time. Racks that it has let in stay."""
    revoked = order(data, verb="token-revoke", id=token_id)
    if as_json:
        print_json(revoked)
    else:
        print(f"join token {token_id} is revoked")


def _row(one: dict[str, Any]) -> list[str]:
    used, approves = f"{one['used']} of {one['uses']}", "yes" if one["approve"] else "no"
    whom = f"{one['rack'] or 'any Rack'} of {one['project']}{' in ' + one['uns'] if one['uns'] else ''}"
    return [one["id"], one["state"], whom, used, approves, _time(one["expires_s"])]


def _time(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%SZ}"

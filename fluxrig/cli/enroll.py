"""`fluxrig enroll`: have the Mixer let this Rack in."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fluxrig.cli.console import JsonOption, print_json
from fluxrig.cli.options import seconds
from fluxrig.cli.run import default_state

if TYPE_CHECKING:
    from fluxrig.identity.folder import Identity
    from fluxrig.identity.join import JoinToken
    from fluxrig.identity.joining import Joining


def enroll(
    token: Annotated[
        str | None,
        typer.Argument(
            help="The join token, a file with it, or - to read it from standard input.",
            envvar="FLUXRIG_JOIN",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            help="The Rack file, for the Rack's name and UNS path.",
            exists=True,
            dir_okay=False,
            show_default="as the token says",
        ),
    ] = None,
    rack: Annotated[str, typer.Option(help="The Rack's name, without a file.", show_default=False)] = "",
    uns: Annotated[str, typer.Option(help="The Rack's UNS path, without a file.", show_default=False)] = "",
    state: Annotated[
        Path | None,
        typer.Option(
            help="The Rack's state folder, as given to `fluxrig run`.",
            envvar="FLUXRIG_STATE",
            show_default="~/.local/state/fluxrig/RACK",
        ),
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option(
            parser=seconds,
            metavar="DURATION",
            help="How long to wait for the operator.",
            show_default="until it is decided",
        ),
    ] = None,
    new_keys: Annotated[
        bool, typer.Option("--new-keys", help="Replace the identity that is there, such as a revoked one.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make this Rack's keys, have the Mixer let it in, and keep what it issues.

    The private keys stay here. The key shown is compared with the one in `mixer racks list` before it is
    approved. Ctrl-C does no harm: the same command goes on with the same keys. A Rack that runs renews its
    certificate by itself.
    """
    from fluxrig.identity.folder import IdentityFolder
    from fluxrig.identity.join import JoinToken, find
    from fluxrig.identity.joining import Joining

    join = JoinToken.decode(find(token))
    name, path, host = _names(join, file, rack, uns)
    folder = IdentityFolder(state or default_state(name))
    joining = Joining(folder, join, rack=name, uns=path, host=host, new_keys=new_keys)
    typer.echo(f"asking the Mixer at {joining.address} to let in Rack {name} for {path}", err=True)
    typer.echo(f"this Rack's key is {joining.keys.public.fingerprint}", err=True)
    identity = _wait(joining, wait)
    expires = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(identity.expires_s))
    typer.echo(
        f"Rack {identity.rack} is enrolled for {identity.uns}; its certificate holds until {expires}",
        err=True,
    )
    if as_json:
        print_json(_shown(identity))


def _names(join: JoinToken, file: Path | None, rack: str, uns: str) -> tuple[str, str, str]:
    """Give name, UNS path and the Mixer's host, "" if the token's: from options, the Rack file, the token."""
    from fluxrig.identity.names import rack_fault
    from fluxrig.uns import path_fault

    host = ""
    if file is not None:
        from fluxrig.catalog import installed
        from fluxrig.rackfile import load

        spec = load(file, installed(), os.environ, secrets=False)
        rack, uns = rack or spec.name, uns or spec.uns
        host = spec.snake.host if spec.snake else ""
    rack, uns = rack or join.rack, uns or join.uns
    if not rack or not uns:
        missing = "--uns" if rack else "--rack" if uns else "--rack and --uns"
        raise typer.BadParameter(f"the token does not say which Rack this is; give --file FILE, or {missing}")
    if fault := rack_fault(rack) or path_fault(uns):
        raise typer.BadParameter(fault)
    return rack, uns, host


def _wait(joining: Joining, limit_s: float | None) -> Identity:
    async def wait() -> Identity:
        async with asyncio.timeout(limit_s):
            return await joining.wait(lambda news: typer.echo(news, err=True))

    try:
        return asyncio.run(wait())
    except KeyboardInterrupt:
        typer.echo("not decided yet; the same command goes on with the same keys", err=True)
        raise
    except TimeoutError:
        typer.echo("error: not decided in time; the same command goes on with the same keys", err=True)
        raise typer.Exit(1) from None


def _shown(identity: Identity) -> dict[str, object]:
    return {
        "rack": identity.rack,
        "project": identity.project,
        "uns": identity.uns,
        "mixer": ", ".join(map(str, identity.dials)),
        "key": identity.keys().public.fingerprint,
        "expires": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(identity.expires_s)),
        "folder": str(identity.folder),
    }

"""The options of `mixer up` for a NATS server or cluster that is there already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mixer.external_hub import External

_PANEL = "An existing NATS server or cluster"
_FILE: dict[str, Any] = {
    "metavar": "FILE",
    "exists": True,
    "dir_okay": False,
    "rich_help_panel": _PANEL,
    "show_default": False,
}

NatsOption = Annotated[
    str,
    typer.Option(
        "--nats",
        metavar="URL[,URL…]",
        help="Keep the streams there, not in a hub of this Mixer's own; needs --creds.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
CredsOption = Annotated[
    Path | None, typer.Option("--creds", help="Credentials of a user of the account to use.", **_FILE)
]
AccountKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--account-key",
        help="The seed of a signing key of that account, or its own: signs what lets Racks in. Without it "
        "none can be.",
        **_FILE,
    ),
]
NatsCaOption = Annotated[
    Path | None,
    typer.Option(
        "--nats-ca",
        help="The authority of the servers' certificates (PEM), if this machine does not trust it.",
        **_FILE,
    ),
]
LeafOption = Annotated[
    list[str] | None,
    typer.Option(
        "--leaf",
        metavar="HOST:PORT",
        help="A leaf port for Racks to dial. May be given again; they take any one that answers.",
        rich_help_panel=_PANEL,
        show_default="the hosts of --nats, port 7422",
    ),
]
LeafCaOption = Annotated[
    Path | None,
    typer.Option(
        "--leaf-ca", help="The authority of the leaf ports' certificates (PEM), if not --nats-ca.", **_FILE
    ),
]
ReplicasOption = Annotated[
    int | None,
    typer.Option(
        "--replicas",
        min=1,
        max=5,
        help="How many servers keep each message.",
        rich_help_panel=_PANEL,
        show_default="3 where --nats names three servers or more, else 1",
    ),
]


def external(
    context: typer.Context,
    nats: str,
    creds: Path | None,
    *,
    account_key: Path | None,
    nats_ca: Path | None,
    leaves: list[str] | None,
    leaf_ca: Path | None,
    replicas: int | None,
) -> External | None:
    """Give what is asked for, None for a hub of the Mixer's own. BadParameter, FluxrigError: it can't be."""
    from mixer.external_hub import External

    _check(context, nats)
    if not nats:
        return None
    if creds is None:
        raise typer.BadParameter("--nats needs --creds FILE, the credentials of a user there")
    wanted = replicas or (3 if len(nats.split(",")) >= 3 else 1)
    return External.load(
        nats,
        creds,
        account_key=account_key,
        ca=nats_ca,
        leaves=leaves or (),
        leaf_ca=leaf_ca,
        replicas=wanted,
    )


def _check(context: typer.Context, nats: str) -> None:
    """Refuse options that belong to the other kind of hub."""
    own, others = ("listen", "sync"), ("creds", "account_key", "nats_ca", "leaf", "leaf_ca", "replicas")
    for name in own if nats else others:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = f"--{name.replace('_', '-')}"
            why = "is of a hub of the Mixer's own, not of --nats" if nats else "goes with --nats alone"
            raise typer.BadParameter(f"{option} {why}")

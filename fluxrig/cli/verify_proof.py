"""`fluxrig verify-proof`: check, with a public key and nothing else, that a message is in an audit store."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from fluxrig.cli.console import JsonOption, print_json

if TYPE_CHECKING:
    from fluxrig.evidence import Proven


def verify_proof(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="What `mixer audit prove` printed; - reads it from standard input.",
        ),
    ],
    key: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE", help="The Mixer's signing.pub; several are tried.", exists=True, dir_okay=False
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Check a proof that a message is in an audit store as it was written, and show the message.

    Needs the Mixer's public key alone: no folder, no network. Exits 1 when the proof does not hold.
    """
    from fluxrig.evidence import Proof, PublicKeys

    text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8", errors="replace")
    proven = Proof.parse(text).check(PublicKeys.load(key))
    if as_json:
        print_json({"ok": True, **_described(proven)})
        return
    typer.echo("the proof holds")
    for name, value in _described(proven).items():
        typer.echo(f"  {name:11} {value}")


def _described(proven: Proven) -> dict[str, object]:
    from fluxrig.cbor import diagnose

    stream, seq, received_ns, leaf, leaf_seq = proven.place
    received = datetime.fromtimestamp(received_ns // 10**9, UTC)
    return {
        "message": diagnose(proven.message.fields),
        "id": str(UUID(bytes=proven.message.id)),
        "stream": stream,
        "stream_seq": seq,
        "received": f"{received:%Y-%m-%dT%H:%M:%S}.{received_ns % 10**9:09}Z",
        "leaf": leaf,
        "leaf_seq": leaf_seq,
        "file": proven.file,
        "row": proven.position,
        "commit": proven.commit,
        "signed": proven.at,
        "key": proven.key_id,
    }

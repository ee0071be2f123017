"""The headers that fluxrig puts on a NATS message.

Within one (stream, Fluxrig-Leaf), `Fluxrig-Seq` of a message is `Fluxrig-Seq` + `Fluxrig-Count` of the one
before, so a reader counts what is lost, doubled or out of order from the data alone.
"""

from __future__ import annotations

from typing import Final

RACK: Final = "Fluxrig-Rack"
LEAF: Final = "Fluxrig-Leaf"  # the id of the leaf's stream: a store made anew numbers from 0 under another id
SEQ: Final = "Fluxrig-Seq"  # the number of the first fluxMsg in the message
COUNT: Final = "Fluxrig-Count"  # how many fluxMsgs it holds
MESSAGE_ID: Final = "Nats-Msg-Id"  # "<run of a publisher>.<parcel>", never used again
AFTER_ID: Final = "Nats-Expected-Last-Msg-Id"
AFTER_SEQ: Final = "Nats-Expected-Last-Sequence"


def parse_block(block: bytes) -> dict[str, str]:
    """Read a NATS header block (ADR-4): a status line, then `Name: value` lines."""
    headers = {}
    for line in block.decode(errors="replace").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip()] = value.strip()
    return headers

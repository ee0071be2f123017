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
SOURCE: Final = "Nats-Stream-Source"  # by the hub: which of its sources brought the message
CLAIMED: Final = f"{SOURCE} "  # by us: whoever made the message wrote such a header of its own


_SOURCE_START: Final = f"{SOURCE}: ".encode()
_CRLF: Final = b"\r\n"


def parse_block(block: bytes) -> dict[str, str]:
    """Read a NATS header block (ADR-4): a status line, then `Name: value` lines. Whatever it holds, no error.

    A Rack may have made it, all but `SOURCE`: that one the hub appends, byte by byte, to what there is. So
    its value is what stands behind the last occurrence of its name, and nothing else counts as this header,
    also where the Rack's part has an early end, or none.
    """
    status, *lines = block.split(_CRLF)
    headers = _status(status)
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon:
            headers[_text(name)] = _text(value)
    headers.pop(SOURCE, None)
    at = block.rfind(_SOURCE_START)
    if block.count(_SOURCE_START) > 1:
        headers[CLAIMED] = "1"
    if at >= 0:
        headers[SOURCE] = _text(block[at + len(_SOURCE_START) :].partition(_CRLF)[0])
    return headers


def _status(line: bytes) -> dict[str, str]:
    """Read `NATS/1.0 404 No Messages`, of which only the version is always there."""
    _, _, rest = line.partition(b" ")
    code, _, description = rest.partition(b" ")
    found = {"Status": _text(code), "Description": _text(description)}
    return {name: value for name, value in found.items() if value}


def _text(value: bytes) -> str:
    return value.decode(errors="replace").strip()

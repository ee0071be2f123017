"""Messages that are bytes already, and stay so until somebody looks into them.

Most go to the uplink or into another process, which want bytes alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fluxrig.codec import encoder
from fluxrig.codec.decoder import decode
from fluxrig.message import FluxMsg


class Carried(FluxMsg):
    """A message as it was encoded, and its UNS path beside it."""

    __slots__ = ("encoded", "uns")

    encoded: bytes
    uns: str

    def __init__(self, encoded: bytes, uns: str) -> None:
        self.encoded = encoded
        self.uns = uns

    def __getattr__(self, name: str) -> Any:
        """Decode when `fields` is first asked for; Python asks here for what is not set."""
        if name != "fields":
            raise AttributeError(name)
        self.fields = decode(self.encoded).fields
        return self.fields


def encode(message: FluxMsg) -> bytes:
    """Encode a message, or give the bytes that it is; EncodeError names the field that has no encoding."""
    return message.encoded if type(message) is Carried else encoder.encode(message)


def encode_sequence(batch: Iterable[FluxMsg]) -> bytes:
    """Encode messages as a CBOR sequence (RFC 8742): one after another."""
    return b"".join(map(encode, batch))

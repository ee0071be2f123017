"""Messages that came from another process, and stay bytes until somebody looks into them."""

from __future__ import annotations

from typing import Any

from fluxrig.codec import decode, encode
from fluxrig.message import FluxMsg


class Carried(FluxMsg):
    """A message as it crossed. Most go to the uplink or into another worker, which want bytes alone."""

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


def encoded(message: FluxMsg) -> bytes:
    """Encode a message, or give the bytes that it came in. Raises EncodeError."""
    return message.encoded if isinstance(message, Carried) else encode(message)

"""Messages to bytes and back, as `fluxmsg.cddl` defines them.

`decode` is for bytes that are trusted (a wire, our own bus). `decode_strict` is for bytes that will be
hashed, signed or kept: it accepts exactly what `encode` makes. Arrays come back as lists, also where tuples
went in. Maps nested in `data` may have keys other than text; they take the slow way.
"""

from fluxrig.codec.carried import Carried, encode, encode_flagged, encode_sequence
from fluxrig.codec.decoder import (
    decode,
    decode_sequence,
    decode_sequence_strict,
    decode_strict,
    iterate_strict,
)

CONTENT_TYPE = "application/cbor-seq"
"""What a NATS message that carries fluxMsgs says of itself (RFC 8742)."""

__all__ = [
    "CONTENT_TYPE",
    "Carried",
    "decode",
    "decode_sequence",
    "decode_sequence_strict",
    "decode_strict",
    "encode",
    "encode_flagged",
    "encode_sequence",
    "iterate_strict",
]

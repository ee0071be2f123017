"""Deterministic CBOR: RFC 8949 §4.2.1, core deterministic encoding requirements, and nothing else.

`encode` gives the one encoding of a value; `decode_strict` accepts exactly what `encode` makes. Values are
None, bool, int (beyond 64 bits as tag 2 or 3), float, str, bytes, list or tuple, dict, and for what Python
has no type: `cbor2.CBORTag`, `cbor2.CBORSimpleValue` and `cbor2.undefined`. A tag never becomes another type.

Map keys are in bytewise order of their encoding. That is cbor2's canonical order (length first) too as long
as all keys of a map are of one major type; with mixed keys the two differ, and RFC 8949 §4.2.1 holds here.
A key is a scalar: arrays, maps, tags and bignums as keys are refused both ways, because a peer could choose
them so that their Python hashes collide.
"""

from fluxrig.cbor.decoder import decode_next, decode_strict
from fluxrig.cbor.diagnostic import diagnose
from fluxrig.cbor.encoder import Fixed, encode
from fluxrig.cbor.limits import MAX_DEPTH, MAX_SIZE
from fluxrig.cbor.template import OPEN, pieces

__all__ = [
    "MAX_DEPTH",
    "MAX_SIZE",
    "OPEN",
    "Fixed",
    "decode_next",
    "decode_strict",
    "diagnose",
    "encode",
    "pieces",
]

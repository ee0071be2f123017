"""The head of every item: major type and argument (RFC 8949 §3)."""

from struct import Struct
from typing import Final

_U16: Final = Struct(">BH").pack
_U32: Final = Struct(">BI").pack
_U64: Final = Struct(">BQ").pack


def head(major: int, argument: int) -> bytes:
    """Encode major type and argument in as few bytes as they need."""
    first = major << 5
    if argument < 24:
        return bytes((first | argument,))
    if argument < 1 << 8:
        return bytes((first | 24, argument))
    if argument < 1 << 16:
        return _U16(first | 25, argument)
    if argument < 1 << 32:
        return _U32(first | 26, argument)
    return _U64(first | 27, argument)

"""Values to bytes.

Each type has one encoder, found by exact type; subclasses (IntEnum, StrEnum, OrderedDict …) are encoded as
what they derive from. `room` is how many levels of nesting are still allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from struct import Struct
from typing import Any, Final, TypeAlias

from cbor2 import CBORSimpleValue, CBORTag, undefined

from fluxrig.cbor.cache import Shapes, Texts
from fluxrig.cbor.head import head
from fluxrig.cbor.limits import MAX_DEPTH, MAX_SIZE
from fluxrig.errors import EncodeError

Encoder: TypeAlias = Callable[[Any, int], bytes]

TEXTS: Final = Texts()
SHAPES: Final = Shapes()

_SMALL: Final = tuple(head(0, number) for number in range(256))
_FIXED_ROOM: Final = 8
_U16: Final = Struct(">BH").pack
_U32: Final = Struct(">BI").pack
_U64: Final = Struct(">BQ").pack
_NAN: Final = b"\xf9\x7e\x00"
_HALF: Final = Struct(">Be").pack
_SINGLE: Final = Struct(">Bf").pack
_UNHALF: Final = Struct(">xe").unpack
_UNSINGLE: Final = Struct(">xf").unpack
_DOUBLE: Final = Struct(">Bd").pack


def encode(value: Any) -> bytes:
    """Give the one deterministic encoding of `value`; EncodeError says where there is none."""
    try:
        data = encode_item(value, MAX_DEPTH)
    except EncodeError as error:
        path = fault_path(value, MAX_DEPTH).removeprefix(".")
        raise EncodeError(f"{path}: {error}" if path else str(error)) from None
    if len(data) > MAX_SIZE:
        raise EncodeError(f"{len(data)} bytes encoded, more than the {MAX_SIZE} allowed")
    return data


def encode_item(value: Any, room: int) -> bytes:
    """Encode without the bound on size, and without saying where a fault is."""
    return ENCODERS[type(value)](value, room)


def _null(_value: None, _room: int) -> bytes:
    return b"\xf6"


def _bool(value: bool, _room: int) -> bytes:
    return b"\xf5" if value else b"\xf4"


def integer(value: int, _room: int = 0) -> bytes:
    if 0 <= value < 65_536:
        return _SMALL[value] if value < 256 else _U16(0x19, value)
    if value < 0:
        return head(1, -1 - value) if value >= -1 << 64 else _bignum(3, -1 - value)
    if value >> 32:
        return _U64(0x1B, value) if value < 1 << 64 else _bignum(2, value)
    return _U32(0x1A, value)


def _bignum(tag: int, magnitude: int) -> bytes:
    """Encode what does not fit 64 bits (RFC 8949 §3.4.3)."""
    content = magnitude.to_bytes((magnitude.bit_length() + 7) // 8)
    return head(6, tag) + head(2, len(content)) + content


class _Integers(dict[int, bytes]):
    """Integers by value. Those of 16 bits, as registers hold them, are encoded once."""

    def __missing__(self, value: int) -> bytes:
        encoded = integer(value)
        if 0 <= value < 1 << 16:
            self[value] = encoded
        return encoded


INTEGERS: Final = _Integers()
_ALL_INT: Final = {int}
_MANY: Final = 8
"""From so many items on it pays to look whether all are integers."""


def _float(value: float, _room: int) -> bytes:
    """Encode in the shortest of 16, 32 and 64 bits that keeps the value (RFC 8949 §4.2.2, rule 1)."""
    try:
        single = _SINGLE(0xFA, value)
    except OverflowError:
        return _DOUBLE(0xFB, value)
    if _UNSINGLE(single)[0] == value:
        return single if single[4] else _half_or(single, value)
    return _DOUBLE(0xFB, value) if value == value else _NAN  # noqa: PLR0124 - only NaN differs from itself


def _half_or(single: bytes, value: float) -> bytes:
    try:
        half = _HALF(0xF9, value)
    except OverflowError:
        return single
    return half if _UNHALF(half)[0] == value else single


def _text(value: str, _room: int) -> bytes:
    return TEXTS[value]


def _bytes(value: bytes, _room: int) -> bytes:
    return head(2, len(value)) + value


def _array(value: Sequence[Any], room: int) -> bytes:
    if not room:
        raise EncodeError(f"nested more than {MAX_DEPTH} deep")
    if len(value) >= _MANY and set(map(type, value)) == _ALL_INT:
        return head(4, len(value)) + b"".join(map(INTEGERS.__getitem__, value))
    room -= 1
    return head(4, len(value)) + b"".join([ENCODERS[type(item)](item, room) for item in value])


def _map(value: Mapping[Any, Any], room: int) -> bytes:
    if not room:
        raise EncodeError(f"nested more than {MAX_DEPTH} deep")
    room -= 1
    shape = SHAPES[tuple(value)]
    if shape is None:
        return _map_of_any_keys(value, room)
    template, values = shape
    parts = template.copy()
    parts[1::2] = [ENCODERS[type(item)](item, room) for item in values(value)]
    return b"".join(parts)


def _map_of_any_keys(value: Mapping[Any, Any], room: int) -> bytes:
    entries = {_key(key): encode_item(item, room) for key, item in value.items()}
    if len(entries) < len(value):
        raise EncodeError("two keys of a map have the same encoding")
    return head(5, len(entries)) + b"".join([key + entries[key] for key in sorted(entries)])


def _key(key: object) -> bytes:
    encoded = encode_item(key, 1)
    if encoded[0] >> 5 in {4, 5, 6}:
        raise EncodeError(f"{key!r:.64} as a map key: use text, bytes or an integer of at most 64 bits")
    return encoded


def _tag(value: CBORTag, room: int) -> bytes:
    if value.tag in {2, 3}:
        raise EncodeError("a bignum as a tag: give it as an int")
    if not room:
        raise EncodeError(f"nested more than {MAX_DEPTH} deep")
    return head(6, value.tag) + encode_item(value.value, room - 1)


def _simple(value: CBORSimpleValue, _room: int) -> bytes:
    number = value.value
    if 20 <= number < 32:
        raise EncodeError(
            f"simple value {number}: 20-23 are False, True, None, undefined; 24-31 are reserved"
        )
    return head(7, number)


def _undefined(_value: object, _room: int) -> bytes:
    return b"\xf7"


class Fixed(dict[str, Any]):
    """A small map that goes into many messages and keeps its encoding. Nothing in it may change."""

    __slots__ = ("encoding",)

    def __init__(self, entries: Mapping[str, Any]) -> None:
        """Raises EncodeError for what has no encoding, or is nested more than `_FIXED_ROOM` deep."""
        super().__init__(entries)
        self.encoding = _map(self, _FIXED_ROOM)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Fixed, (dict(self),))


def _fixed(value: Fixed, room: int) -> bytes:
    return value.encoding if room >= _FIXED_ROOM else _map(value, room)


class _ByType(dict[type, Encoder]):
    """Encoders by exact type. Subclasses are looked up each time: types come and go, the table stays."""

    def __missing__(self, kind: type) -> Encoder:
        for base, encoder in _BASES:
            if issubclass(kind, base):
                return encoder
        raise EncodeError(f"{kind.__module__}.{kind.__qualname__} has no place in a message")


ENCODERS: Final = _ByType(
    {
        type(None): _null,
        bool: _bool,
        int: integer,
        float: _float,
        str: _text,
        bytes: _bytes,
        list: _array,
        tuple: _array,
        dict: _map,
        Fixed: _fixed,
        CBORTag: _tag,
        CBORSimpleValue: _simple,
        type(undefined): _undefined,
    }
)
_BASES: Final[tuple[tuple[type[Any], Encoder], ...]] = (
    (int, lambda value, room: integer(int(value), room)),
    (float, lambda value, room: _float(float(value), room)),
    (str, lambda value, room: _text(str.__str__(value), room)),
    (bytes, lambda value, room: _bytes(bytes(value), room)),
    (bytearray, lambda value, room: _bytes(bytes(value), room)),
    (memoryview, lambda value, room: _bytes(bytes(value), room)),
    (list, _array),
    (tuple, _array),
    (Mapping, _map),
)


def fault_path(value: Any, room: int) -> str:
    """Say where in a value that can't be encoded the fault is: `data.pressure`, `path[0][1]`."""
    for label, child in _children(value) if room else ():
        try:
            encode_item(child, room - 1)
        except EncodeError:
            return label + fault_path(child, room - 1)
    return ""


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return ((f".{key}" if isinstance(key, str) else f"[{key!r}]", item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return ((f"[{index}]", item) for index, item in enumerate(value))
    return iter([("", value.value)] if isinstance(value, CBORTag) else [])

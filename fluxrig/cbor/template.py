"""Maps that are the same again and again but for a few values: encoded once, around what is left open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fluxrig.cbor.encoder import ENCODERS, SHAPES
from fluxrig.cbor.limits import MAX_DEPTH
from fluxrig.errors import EncodeError

OPEN: Final = object()
"""In place of a value that is not known yet."""


def pieces(value: Mapping[str, Any]) -> list[bytes]:
    """Give what stands before, between and behind the open values of a map, also of maps in it.

    Joined with the encodings of those values, in the order of the keys' encodings, that is the encoding of
    the whole. Raises EncodeError for keys that are not text, and for what has no encoding.
    """
    found = [b""]
    _add(value, found, MAX_DEPTH)
    return found


def _add(value: Mapping[str, Any], found: list[bytes], room: int) -> None:
    shape = SHAPES[tuple(value)]
    if shape is None or not room:
        raise EncodeError("a template is a map with text as keys, and not nested too deep")
    template, values = shape
    if not value:
        found[-1] += template[0]
    for key, item in zip(template[::2], values(value), strict=False):
        found[-1] += key
        if item is OPEN:
            found.append(b"")
        elif type(item) is dict:
            _add(item, found, room - 1)
        else:
            found[-1] += ENCODERS[type(item)](item, room - 1)

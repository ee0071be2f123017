"""Messages to bytes and back. (First cut over cbor2; the fast codec replaces it.)"""

from __future__ import annotations

import io
from collections.abc import Iterable

import cbor2

from fluxrig.message import FluxMsg

CONTENT_TYPE = "application/cbor-seq"


def encode(message: FluxMsg) -> bytes:
    return cbor2.dumps(message.fields, canonical=True)


def encode_sequence(batch: Iterable[FluxMsg]) -> bytes:
    return b"".join(map(encode, batch))


def decode(data: bytes) -> FluxMsg:
    return FluxMsg.from_fields(cbor2.loads(data))


def decode_sequence(data: bytes) -> list[FluxMsg]:
    stream, messages = io.BytesIO(data), []
    decoder = cbor2.CBORDecoder(stream)
    while stream.tell() < len(data):
        messages.append(FluxMsg.from_fields(decoder.decode()))
    return messages


def decode_strict(data: bytes) -> list[tuple[FluxMsg, bytes]]:
    return [(message, encode(message)) for message in decode_sequence(data)]

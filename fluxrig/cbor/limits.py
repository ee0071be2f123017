"""How much one item may be, the same for encoding and decoding."""

from typing import Final

MAX_DEPTH: Final = 32
"""Arrays, maps and tags within each other. Signals nest three or four deep; Python's own limit is far."""

MAX_SIZE: Final = 1 << 20
"""Bytes of one encoded item: the default `max_payload` of nats-server, so a larger one could not travel.

Decoded, the worst case (a million empty arrays) takes about 64 MiB.
"""

"""Every error fluxrig raises on purpose, as one tree.

FluxrigError
├── ConfigError              a Rack file or option is wrong: carries every fault found
├── CborError                bytes or values outside deterministic CBOR
│   ├── EncodeError          this value has no place in a message
│   └── DecodeError          these bytes are refused: carries the offset
├── GearError                what a gear tells the engine to do
│   ├── NotReady             call me again later (retry with back-off)
│   ├── Disconnected         the peer is gone (close, reopen with back-off)
│   ├── EndOfStream          no more will come (drain what is under way)
│   ├── BadMessage           this one message cannot be taken (error port or dead letter, go on)
│   └── Fatal                stop this gear, keep the others
├── Dropped                  a full wire let go of a batch, as its `when_full: drop_oldest` asks
├── Stopped                  the engine stopped before a batch was settled
├── BusError                 the NATS side
│   ├── ServerError          nats-server cannot start or stay up: binary, port, disk, lock
│   └── BusUnavailable       no connection within the time allowed
├── IdentityError            a key, a token or a certificate is not what it should be
└── AuditError               the Parquet side
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class FluxrigError(Exception):
    """Base of all: its text is one line that says what happened and what to do."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing wrong in one file. `line` and `column` count from 1; 0 means the whole file."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class ConfigError(FluxrigError):
    """One or more faults in a configuration, in the order of the file."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


class CborError(FluxrigError):
    """A value or bytes that deterministic CBOR (RFC 8949 §4.2.1) does not allow."""


class EncodeError(CborError):
    """A value that has no deterministic encoding."""


class DecodeError(CborError):
    """Bytes that are refused. `offset` is where, in bytes from the start of the input."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(f"{reason} at offset {offset}")
        self.reason = reason
        self.offset = offset


class GearError(FluxrigError):
    """Base of what a gear raises to say what the engine should do."""


class NotReady(GearError):
    """Not yet: call again after a back-off. The batch at hand is kept."""


class Disconnected(GearError):
    """The peer is gone: close and reopen after a back-off. The batch at hand is kept."""


class EndOfStream(GearError):
    """The source is at its end: nothing more will be emitted."""


class BadMessage(GearError):
    """One message cannot be taken: it goes to the error port or the dead letters, the rest go on."""


class Fatal(GearError):
    """This gear can't go on, and trying again will not help. The others keep running."""


class Dropped(FluxrigError):
    """A full wire let go of a batch, as its `when_full: drop_oldest` asks."""


class Stopped(FluxrigError):
    """The engine stopped before a batch was settled."""


class BusError(FluxrigError):
    """Base of what goes wrong on the NATS side."""


class ServerError(BusError):
    """nats-server can't start or stay up."""


class BusUnavailable(BusError):
    """The bus did not answer within the time allowed."""


class BusRefused(BusUnavailable):
    """The server lets us not in, or can't be trusted. Trying again does not help."""


class IdentityError(FluxrigError):
    """A key, a token or a certificate is broken, missing, or not the one it should be."""


class AuditError(FluxrigError):
    """The audit store can't be written or read as asked."""

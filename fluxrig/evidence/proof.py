"""The proof that one message is in the audit store, for someone who has the public key and nothing else.

It holds the message, its place, the Merkle path to the root of the file, and the signed line of the manifest
that names this root. A line is one JSON object; what is signed is the line without its last member,
`signature`, and the newline (see `unsigned`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from fluxrig import cbor
from fluxrig.codec import decode_strict
from fluxrig.errors import CborError, FluxrigError
from fluxrig.evidence.keys import PublicKeys
from fluxrig.evidence.merkle import leaf_hash, root_of_path
from fluxrig.message import FluxMsg

_BEFORE: Final = b',"signature":"'
_MAX_SIZE: Final = 16 << 20

Place = tuple[str, int, int, str | None, int | None]
"""Stream, its sequence, when the hub stored it (ns), the leaf's store, the message's number there."""


class Proven(NamedTuple):
    """What a proof proves."""

    message: FluxMsg
    place: Place
    file: str
    position: int
    commit: int
    at: str
    key_id: str


@dataclass(frozen=True, slots=True)
class Proof:
    """One message, and how it leads to a signature. Bytes are hex."""

    message: str
    place: Sequence[str | int | None]
    file: str
    position: int
    size: int
    path: Sequence[str]
    line: str

    def text(self) -> str:
        """Give the proof as JSON."""
        return json.dumps({"fluxrig_proof": 1, **asdict(self)}, indent=1)

    @classmethod
    def parse(cls, text: str) -> Proof:
        """Read a proof. Raises FluxrigError when it is none."""
        try:
            fields: dict[str, Any] = json.loads(text[:_MAX_SIZE])
            version = fields.pop("fluxrig_proof")
            if version != 1:
                raise FluxrigError(f"this is a proof of version {version}; a newer fluxrig can check it")
            return cls(**fields)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise FluxrigError("this is no proof; `mixer audit prove ID` prints one") from None

    def check(self, keys: PublicKeys) -> Proven:
        """Follow the proof to the signature. Raises FluxrigError that says where it breaks."""
        try:
            return self._check(keys)
        except CborError as error:
            raise FluxrigError(f"the proof does not hold: the message is not canonical: {error}") from None
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise FluxrigError(f"the proof does not hold: {error}") from None

    def _check(self, keys: PublicKeys) -> Proven:
        encoded, line = bytes.fromhex(self.message), self.line.encode()
        message = decode_strict(encoded)
        place: Place = tuple(self.place)  # type: ignore[assignment]
        if len(place) != 5:
            raise ValueError("the place has not five parts")
        signed, signature = unsigned(line)
        commit: dict[str, Any] = json.loads(line)
        if not keys.checks(commit["key"], signature, signed):
            raise ValueError("the signature is not that of the public key given")
        found = root_of_path(
            leaf_hash(place_bytes(place) + encoded),
            self.position,
            self.size,
            [*map(bytes.fromhex, self.path)],
        ).hex()
        named = (self.file, "messages", self.size, found)
        signed_for = ((file["path"], file["table"], file["rows"], file["root"]) for file in commit["files"])
        if named not in signed_for:
            raise ValueError("message, place or path was changed: they lead to no root that was signed")
        return Proven(message, place, self.file, self.position, commit["number"], commit["at"], commit["key"])


def place_bytes(place: Place) -> bytes:
    """Encode a place: a CBOR array. An entry of the tree is this, followed by the message's own bytes."""
    return cbor.encode(list(place))


def unsigned(line: bytes) -> tuple[bytes, bytes]:
    """Give what was signed of a line, and the signature. Raises ValueError when there is none."""
    before, found, rest = line.rstrip(b"\n").rpartition(_BEFORE)
    if not found or not rest.endswith(b'"}'):
        raise ValueError("the line carries no signature")
    return before + b"}", bytes.fromhex(rest[:-2].decode("ascii"))


def signed(line: bytes, signature: bytes) -> bytes:
    """Put a signature to a line, which is a JSON object, and end it."""
    return line[:-1] + _BEFORE + signature.hex().encode() + b'"}\n'

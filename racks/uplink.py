"""`uplink`: the built-in sink. A message is accepted once the leaf's stream has stored it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import ClassVar, Final, TypeAlias

from fluxrig.bus import MAX_PARCEL_BYTES, Parcel
from fluxrig.codec import encode, encode_flagged
from fluxrig.errors import BadMessage, EncodeError
from fluxrig.gear import IN, Batch, Context, Gear, GearConfig, Manifest, Outputs
from fluxrig.message import OFFLINE, FluxMsg
from fluxrig.rackfile.model import UPLINK
from fluxrig.uns import path_fault, to_subject

MANIFEST: Final = Manifest(
    kind=UPLINK,
    summary="Stores messages in the leaf's stream, from where they flow to the Mixer.",
    config=GearConfig,
    gear="racks.uplink:Uplink",
    inputs=(IN,),
    outputs=(),
)

KNOWN_PATHS: Final = 4096
SLICE: Final = 64
"""Messages encoded at a time, before the other gears get their turn."""

Store: TypeAlias = Callable[[Sequence[Parcel]], Awaitable[None]]
"""Returns when all parcels are stored, in order."""


class Uplink(Gear[GearConfig]):
    """Encodes messages, packs them by asset and stores them; what waits meanwhile goes together next time."""

    max_batch: ClassVar[int] = 8192

    def __init__(
        self,
        context: Context,
        store: Store,
        *,
        is_online: Callable[[], bool] = lambda: True,
        on_newest: Callable[[str, bytes], None] | None = None,
    ) -> None:
        """`context.uns` is the Rack's own path: messages of assets outside of it are refused.

        What comes while `is_online` says no is marked. `on_newest` hears of the last message of each batch
        and subject, encoded.
        """
        super().__init__(GearConfig(), context)
        self.accepted = 0
        self._store = store
        self._is_online = is_online
        self._on_newest = on_newest
        self._subjects: dict[str, str] = {}

    async def process(self, batch: Batch, port: str) -> Outputs:
        outputs = Outputs()
        items: dict[str, list[bytes]] = {}
        together: list[bytes] = []
        asset = None
        flags = 0 if self._is_online() else OFFLINE
        for start in range(0, len(batch), SLICE):
            if start:
                await asyncio.sleep(0)
            for message in batch[start : start + SLICE]:
                try:
                    if message.uns != asset:
                        together = items.setdefault(self._subject(message.uns), [])
                        asset = message.uns
                    together.append(_encode(message, flags))
                except BadMessage as error:
                    outputs.reject(message, str(error))
        if self._on_newest is not None:
            for subject, encoded in items.items():
                self._on_newest(subject, encoded[-1])
        if items:
            await self._store(list(pack(items.items())))
        self.accepted += len(batch) - len(outputs.rejected)
        return outputs

    def _subject(self, uns: str) -> str:
        subject = self._subjects.get(uns)
        if subject is None:
            subject = self._checked_subject(uns)
            if len(self._subjects) >= KNOWN_PATHS:
                self._subjects.clear()
            self._subjects[uns] = subject
        return subject

    def _checked_subject(self, uns: str) -> str:
        if fault := path_fault(uns):
            raise BadMessage(fault)
        own = self.context.uns
        if uns != own and not uns.startswith(f"{own}/"):
            raise BadMessage(f"the asset {uns!r} is outside of this Rack's {own!r}")
        return to_subject(uns)


def _encode(message: FluxMsg, flags: int) -> bytes:
    try:
        data = encode_flagged(message, flags) if flags else encode(message)
    except EncodeError as error:
        raise BadMessage(f"the message has no encoding: {error}") from error
    if len(data) > MAX_PARCEL_BYTES:
        raise BadMessage(f"the message takes {len(data)} bytes; at most {MAX_PARCEL_BYTES} can be stored")
    return data


def pack(encoded: Iterable[tuple[str, Sequence[bytes]]], limit: int = MAX_PARCEL_BYTES) -> Iterator[Parcel]:
    """Make CBOR sequences (RFC 8742) of at most `limit` bytes, in order within each subject."""
    for subject, items in encoded:
        first, size = 0, 0
        for index, item in enumerate(items):
            if size + len(item) > limit and index > first:
                yield Parcel(subject, b"".join(items[first:index]), index - first)
                first, size = index, 0
            size += len(item)
        yield Parcel(subject, b"".join(items[first:]), len(items) - first)

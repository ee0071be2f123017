"""Follow a running Mixer: each message as soon as the hub has it, before it is in the audit store."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from fluxrig.bus import Bus, Consumer, Stored, stream_state
from fluxrig.codec import decode_sequence_strict
from fluxrig.errors import AuditError, BusError, CborError
from fluxrig.identity.names import DEFAULT_PROJECT
from mixer.audit.belonging import claim_fault, message_fault
from mixer.audit.origin import origin
from mixer.audit.source import source
from mixer.audit.state import load
from mixer.audit.tail import Filter, Row, newest, row_of
from mixer.folder import Folder
from mixer.project import STREAMS

_CONNECT_S: Final = 3.0
_LISTEN_S: Final = 0.5
_AGAIN_S: Final = 0.5
_FORGET_S: Final = 30.0
_AT_ONCE: Final = 500


async def follow(folder: Folder, wanted: Filter, last: int) -> AsyncIterator[Row]:
    """Give the `last` messages of the store, those that are not in it yet, and each new one, without end.

    While no Mixer runs on the folder it waits for one, and goes on behind what it gave last.
    Raises AuditError when there is no store.
    """
    store = source(folder.store)
    if not store.exists():
        raise AuditError(f"there is no audit store at {store}; start `mixer up`, or give its --data folder")
    with store.reading():
        state = load(store)
        for row in newest(store, state, wanted, last):
            yield row
    project = wanted.project or DEFAULT_PROJECT
    after = {stream: state.progress(project, stream).last for stream in STREAMS}
    epochs = {stream: state.progress(project, stream).epoch for stream in STREAMS}
    while True:
        found = folder.running()
        with suppress(BusError):
            if found is not None:
                async with await folder.reach("mixer tail", _CONNECT_S, project) as bus:
                    async for row in _of_hub(bus, folder, found, after, epochs):
                        if wanted.takes(row):
                            yield row
        await asyncio.sleep(_AGAIN_S)


async def _of_hub(
    bus: Bus, folder: Folder, found: dict[str, Any], after: dict[str, int], epochs: dict[str, str]
) -> AsyncIterator[Row]:
    """Give what comes until this Mixer ends; `after` moves on."""
    consumers = {}
    for stream in STREAMS:
        state = await stream_state(bus, stream)
        if epochs[stream] != state.created:
            after[stream] = 0 if epochs[stream] else after[stream]
        first = min(after[stream], state.last_seq) + 1
        name = f"tail-{secrets.token_hex(4)}"
        consumers[stream] = Consumer(bus, stream, name, first, forget_after_s=_FORGET_S)
        epochs[stream] = state.created
    try:
        while folder.running() == found:
            for stream, consumer in consumers.items():
                for stored in await consumer.fetch(_AT_ONCE, _LISTEN_S / len(consumers)):
                    for row in _rows(stored):
                        yield row
                    after[stream] = stored.seq
                await consumer.ack_through(after[stream])
    finally:
        for consumer in consumers.values():
            await consumer.close()


def _rows(stored: Stored) -> list[Row]:
    """Give the rows that a stored message will have; those for the table quarantine are left out."""
    of = origin(stored)
    try:
        messages = [message for message, _ in decode_sequence_strict(stored.payload)]
    except CborError:
        return []
    if claim_fault(stored, of) or any(message_fault(stored.subject, of, one.fields) for one in messages):
        return []
    return [row_of(stored, message) for message in messages]

"""Store parcels in a leaf's stream: each exactly once, in order, whatever happens to the server meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from fluxrig.bus.connection import ApiError, Bus, raise_if_cancelled
from fluxrig.bus.examine import Place, examine, place
from fluxrig.bus.headers import AFTER_ID, AFTER_SEQ, COUNT, LEAF, MESSAGE_ID, RACK, SEQ
from fluxrig.bus.leaf_record import LeafRecord, boot_id
from fluxrig.bus.streams import LEAF_ID, SUBJECTS, renew_leaf_id
from fluxrig.bus.streams import RACK as RACK_KEY
from fluxrig.codec import CONTENT_TYPE
from fluxrig.errors import BusError, BusUnavailable

MAX_PARCEL_BYTES: Final = 512 << 10
_WINDOW_PARCELS: Final = 1000
_WINDOW_BYTES: Final = 8 << 20
_ACK_TIMEOUT_S: Final = 10.0
_BACKOFF_S: Final = (0.02, 2.0)
_WRONG_LAST: Final = (10070, 10071)  # wrong last message id, wrong last sequence

_NOWHERE: Final = "$skipped"  # no UNS path and no Rack's name has a "$", so no source of the hub takes it

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parcel:
    """One NATS message to be: a CBOR sequence of `count` fluxMsgs."""

    subject: str
    payload: bytes
    count: int


class _Interrupted(Exception):
    """Something came between a window and its acknowledgements: look at the stream, then go on."""


class _OutOfStep(_Interrupted):
    """The stream is not where we thought; no need to wait before looking."""


@dataclass(slots=True)
class _Position:
    """Where the stream ends, and the number of the fluxMsg that comes next.

    `last_id` is known once a message of ours was acknowledged there.
    """

    last_seq: int
    next_number: int
    last_id: str = ""


class Publisher:
    """The one writer of a leaf's stream.

    Each parcel names the message that it must follow, so the server refuses whatever is stale, doubled or out
    of turn: also what an earlier, abandoned call left in some buffer. After any trouble the end of the stream
    is read again: it tells which parcels are in. `on_wait` hears why nothing can be stored at the moment, and
    None when it goes on.

    With a `record` it also sees when the stream lost some of what it held, notes that there, and goes on
    under a new leaf id above every sequence that was given out. `synced` says that each message is on the
    disk before it counts as stored.
    """

    def __init__(
        self,
        bus: Bus,
        stream: str,
        on_wait: Callable[[str | None], None] | None = None,
        *,
        record: LeafRecord | None = None,
        synced: bool = True,
    ) -> None:
        self.stream = stream
        self._bus = bus
        self._on_wait = on_wait
        self._record = record
        self._synced = synced
        self.damaged = False
        """Whether files of the stream were found damaged: see `stream_files.drop_index`."""
        self._waiting: str | None = None
        self._lock = asyncio.Lock()
        self._run = secrets.token_hex(6)
        self._parcels = 0
        self._position: _Position | None = None
        self._headers: dict[str, str] = {}
        self._inbox = bus.nats.new_inbox()
        self._replies: Subscription | None = None
        self._window = _Window(0)
        self.next_number = 0
        """The number of the next fluxMsg: how many this leaf's stream has accepted since it was made."""

    @property
    def waiting(self) -> str | None:
        """Why nothing can be stored at the moment."""
        return self._waiting

    @property
    def leaf(self) -> str:
        """The id of the leaf's store; "" before `open` or the first `store`."""
        return self._headers.get(LEAF, "")

    async def open(self) -> None:
        """Read where the stream ends: `leaf` and `next_number` are known from then on."""
        async with self._lock:
            await self._look(0, 0)
        await self.oldest()

    async def store(self, parcels: Sequence[Parcel]) -> None:
        """Return when all are stored, in order. Waits as long as it takes; calls take turns.

        BusError, with nothing stored, for a parcel larger than MAX_PARCEL_BYTES. When cancelled, a first part
        of the parcels may be stored.
        """
        for parcel in parcels:
            if len(parcel.payload) > MAX_PARCEL_BYTES:
                raise BusError(
                    f"a parcel of {len(parcel.payload)} bytes is over the limit of {MAX_PARCEL_BYTES}"
                )
        async with self._lock:
            try:
                await self._store(parcels)
            except BaseException:
                self._position = None
                raise

    async def release(self, number: int, keep_bytes: int = 0) -> None:
        """Let the stream forget what comes before fluxMsg `number`, because it is safe elsewhere.

        Nothing is forgotten while the stream holds less than `keep_bytes`, or an eighth of its limit where
        that is less. It always keeps its last message, which says where numbers go on.
        """
        info = await self._bus.api(f"STREAM.INFO.{self.stream}")
        state, limit = info["state"], info["config"]["max_bytes"]
        if not number or state["bytes"] < (min(keep_bytes, limit // 8) if limit > 0 else keep_bytes):
            return
        found = await self._behind(number, state["first_seq"], state["last_seq"])
        if found is not None and found.seq > state["first_seq"]:
            await self._bus.api(f"STREAM.PURGE.{self.stream}", {"seq": found.seq})

    async def find(self, number: int) -> Place | None:
        """Give the oldest message with a fluxMsg of this leaf at or behind `number`; None if there's none."""
        state = (await self._bus.api(f"STREAM.INFO.{self.stream}"))["state"]
        found = await self._behind(number, state["first_seq"], state["last_seq"])
        return found if found is not None and self._end(found) > number else None

    async def oldest(self) -> Place | None:
        """Give the oldest message that can be read, and let go of what can't be before it.

        A source of the hub does not get past a message that can't be read and is the first of the stream.
        """
        first_seq = (await self._bus.api(f"STREAM.INFO.{self.stream}"))["state"]["first_seq"]
        found = await place(self._bus, self.stream, first_seq)
        if found is not None and found.seq > first_seq:
            await self._bus.api(f"STREAM.PURGE.{self.stream}", {"seq": found.seq})
        return found

    async def _behind(self, number: int, low: int, high: int) -> Place | None:
        """Give the first message whose fluxMsgs are not all before `number`; the last one if all are."""
        while low < high:
            middle = (low + high) // 2
            found = await place(self._bus, self.stream, middle)
            if found is None or self._end(found) > number:
                high = middle
            else:
                low = max(middle, min(found.seq, high - 1)) + 1
        return await place(self._bus, self.stream, low)

    def _end(self, found: Place) -> int:
        """What an earlier leaf id has numbered stands before all numbers of this one."""
        return found.after if found.leaf == self.leaf else 0

    async def close(self) -> None:
        """Give up the subscription for acknowledgements, and note that this was an orderly end."""
        if self._record is not None:
            self._record.boot = ""
            with suppress(OSError):
                await asyncio.to_thread(self._record.save, sync=True)
        replies, self._replies = self._replies, None
        if replies is not None and not self._bus.nats.is_closed:
            await replies.unsubscribe()

    async def _store(self, parcels: Sequence[Parcel]) -> None:
        first_id = self._parcels
        self._parcels += len(parcels)
        done, delay = 0, _BACKOFF_S[0]
        while done < len(parcels):
            try:
                if self._position is None:
                    done = max(done, await self._look(first_id, len(parcels)))
                if fillers := self._fillers():
                    self._parcels += len(fillers)
                    await self._send(fillers, self._parcels - len(fillers))
                    continue
                done += await self._send(parcels[done:], first_id + done)
                delay = _BACKOFF_S[0]
                self._tell(None)
            except _OutOfStep:
                self._position = None
            except (_Interrupted, BusUnavailable, ApiError) as trouble:
                self._position = None
                self._tell(str(trouble))
                await asyncio.sleep(delay)
                delay = min(2 * delay, _BACKOFF_S[1])
                await self._bus.wait_connected()

    def _tell(self, trouble: str | None) -> None:
        if trouble == self._waiting:
            return
        self._waiting = trouble
        if trouble is None:
            _log.info("stream %s takes messages again", self.stream)
        else:
            _log.warning("stream %s takes nothing, waiting: %s", self.stream, trouble)
        if self._on_wait is not None:
            self._on_wait(trouble)

    async def _look(self, first_id: int, count: int) -> int:
        """Read the end of the stream, and give how many of the parcels of this call are in."""
        info = await self._examined(await self._bus.api(f"STREAM.INFO.{self.stream}"))
        last_seq = info["state"]["last_seq"]
        last = await place(self._bus, self.stream, last_seq) if info["state"]["messages"] else None
        if last is None and last_seq >= info["config"].get("first_seq", 1):
            info = await renew_leaf_id(self._bus, info)
        metadata = info["config"].get("metadata", {})
        self._headers = {
            "Content-Type": CONTENT_TYPE,
            RACK: metadata.get(RACK_KEY, ""),
            LEAF: metadata.get(LEAF_ID, ""),
        }
        self.next_number = self._end(last) if last else 0
        self._position = _Position(last_seq, self.next_number)
        self._note()
        run, _, number = (last.headers if last else {}).get(MESSAGE_ID, "").partition(".")
        index = int(number) - first_id if run == self._run else -1
        return index + 1 if 0 <= index < count else 0

    async def _examined(self, info: dict[str, Any]) -> dict[str, Any]:
        """Note what the stream lost; where its end went back, go on under another id."""
        record = self._record
        if record is None:
            return info
        found = await examine(self._bus, self.stream, info, record, synced=self._synced)
        for loss in found.losses:
            _log.error(
                "stream %s lost messages %d to %d of leaf %s on the disk",
                self.stream,
                loss.first,
                loss.last,
                loss.leaf,
            )
            record.add(loss)
        record.holes += found.holes
        self.damaged = self.damaged or bool(found.losses or found.holes)
        if found.went_back:
            record.skip_to = max(record.skip_to, record.reserved)
            info = await renew_leaf_id(self._bus, info)
            _log.warning("stream %s goes on under a new leaf id: its end may have gone back", self.stream)
        leaf = info["config"].get("metadata", {}).get(LEAF_ID, "")
        if leaf != record.leaf:
            record.begin(leaf)
        record.last_seq = info["state"]["last_seq"]
        record.boot = boot_id()
        await self._save(record.save)
        return info

    def _fillers(self) -> list[Parcel]:
        """Give empty parcels, which no hub takes, up to the sequence from which on none was given out."""
        record, position = self._record, self._position
        if record is None or position is None or not record.skip_to:
            return []
        left = record.skip_to - position.last_seq
        if left <= 0:
            record.skip_to = 0
        return [Parcel(f"{SUBJECTS[self.stream]}.{_NOWHERE}", b"", 0)] * min(left, _WINDOW_PARCELS)

    def _note(self) -> None:
        if self._record is not None and self._position is not None:
            self._record.last_seq, self._record.next_number = self._position.last_seq, self.next_number

    async def _save(self, save: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(save)
        except OSError as error:
            raise _Interrupted(f"the leaf's record can't be written: {error.strerror}") from error

    async def _send(self, parcels: Sequence[Parcel], first_id: int) -> int:
        """Publish as many as fit a window, wait for their acknowledgements, and give their number."""
        position = self._position
        assert position is not None  # noqa: S101 - _store looked
        if (record := self._record) is not None:
            ends = position.last_seq + min(len(parcels), _WINDOW_PARCELS)
            if ends > record.reserved:
                await self._save(lambda: record.reserve(ends))
        if self._replies is None:
            self._replies = await self._bus.nats.subscribe(f"{self._inbox}.*", cb=self._take_ack)
        window = self._window = _Window(self._window.number + 1)
        unwatch = self._bus.watch_loss(
            lambda: window.fail(_Interrupted("the connection to nats-server was lost"))
        )
        try:
            size, number, last_id = 0, position.next_number, position.last_id
            # A sequence does not say which message is there: after a look, one parcel goes alone.
            for parcel in parcels[: _WINDOW_PARCELS if last_id else 1]:
                if size > _WINDOW_BYTES or window.failed:
                    break
                after = {AFTER_ID: last_id} if last_id else {AFTER_SEQ: str(position.last_seq)}
                last_id = f"{self._run}.{first_id + window.sent}"
                await self._publish(parcel, after | {MESSAGE_ID: last_id, SEQ: str(number)})
                window.sent += 1
                number += parcel.count
                size += len(parcel.payload)
            await window.complete()
        except (nats.errors.Error, OSError) as error:
            raise _Interrupted(str(error) or type(error).__name__) from error
        finally:
            unwatch()
        position.last_seq += window.sent
        position.last_id = last_id
        position.next_number = self.next_number = number
        self._note()
        return window.sent

    async def _publish(self, parcel: Parcel, place: dict[str, str]) -> None:
        if not self._bus.connected:
            raise _Interrupted("there is no connection to nats-server")
        headers = self._headers | place | {COUNT: str(parcel.count)}
        reply = f"{self._inbox}.{self._window.number}"
        await self._bus.nats.publish(parcel.subject, parcel.payload, reply=reply, headers=headers)
        raise_if_cancelled()

    async def _take_ack(self, message: Msg) -> None:
        window = self._window
        if not message.subject.endswith(f".{window.number}"):
            return  # of a window that was given up
        if b'"error"' in message.data:
            window.fail(_refusal(message.data))
        elif not message.data:
            window.fail(_Interrupted("no stream takes the subject"))
        else:
            window.take()


class _Window:
    """Parcels under way together: they are stored when as many acknowledgements came."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.sent = 0
        self._taken = 0
        self._failure: _Interrupted | None = None
        self._changed = asyncio.Event()

    @property
    def failed(self) -> bool:
        return self._failure is not None

    def take(self) -> None:
        self._taken += 1
        self._changed.set()

    def fail(self, failure: _Interrupted) -> None:
        if self._failure is None:
            self._failure = failure
            self._changed.set()

    async def complete(self) -> None:
        """Return when all are acknowledged; raise the first failure, or when none comes for a while."""
        while self._failure is None and self._taken < self.sent:
            self._changed.clear()
            try:
                async with asyncio.timeout(_ACK_TIMEOUT_S):
                    await self._changed.wait()
            except TimeoutError:
                self.fail(_Interrupted(f"nats-server acknowledged nothing for {_ACK_TIMEOUT_S:g} s"))
        if self._failure is not None:
            raise self._failure


def _refusal(answer: bytes) -> _Interrupted:
    error = json.loads(answer).get("error", {})
    kind = _OutOfStep if error.get("err_code") in _WRONG_LAST else _Interrupted
    said = error.get("description", "no reason given")
    if said == "maximum bytes exceeded":
        return kind(f"the store is full ({said}); it goes on when the Mixer has some of it")
    return kind(f"nats-server says: {said}")

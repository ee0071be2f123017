"""Read a stream from a position that the caller keeps: every message once, in order, across outages."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from fluxrig.bus.connection import MAX_PAYLOAD_BYTES, ApiError, Bus
from fluxrig.bus.headers import SOURCE
from fluxrig.bus.source_header import Source, parse_source
from fluxrig.errors import BusUnavailable

MAX_ACK_PENDING: Final = 1_000_000
_ACK_WAIT_S: Final = 3600
_PULL_EXPIRES_S: Final = 5.0
_PULL_BYTES: Final = MAX_PAYLOAD_BYTES + (64 << 10)
"""What is held for the caller at most. A message that was larger, with its headers, would never be sent."""
_BACKOFF_S: Final = (0.02, 2.0)
_CONSUMER_NOT_FOUND: Final = 10014
_ENDED: Final = ("404", "408")  # nothing there, or its time is over

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """One message of a stream. `time_ns` is when this stream stored it, ns since the Unix epoch.

    `source`, the source of the stream that brought it, is the server's word; `headers` are its maker's.
    """

    seq: int
    subject: str
    payload: bytes
    headers: Mapping[str, str]
    time_ns: int
    source: Source | None = None


class Consumer:
    """A durable pull consumer whose position is the caller's.

    It starts at `start_seq` (0: at the first message), whatever the server recalls. Messages come in strictly
    increasing sequence, none twice in the life of this object, and none left out that the stream still holds.
    When the server's own consumer falls out of step (a lost connection, a redelivery, a hole) it is made anew
    at the next sequence needed. At most MAX_ACK_PENDING messages may wait for `ack_through`.
    """

    def __init__(
        self, bus: Bus, stream: str, durable: str, start_seq: int, *, forget_after_s: float = 0.0
    ) -> None:
        """With `forget_after_s` the server drops its consumer when nobody has asked for so long."""
        self._bus = bus
        self._stream = stream
        self._durable = durable
        self._forget_after_s = forget_after_s
        self._next_seq = max(1, start_seq)
        self._ready: deque[tuple[Stored, str]] = deque()
        self._unacked: deque[tuple[int, str]] = deque()
        self._arrived = asyncio.Event()
        self._replies: Subscription | None = None
        self._inbox = ""
        self._pull = _Pull(0, 0.0)
        self._delivery = 0
        self._epoch = -1
        self._trouble = ""
        self._unwatch = bus.watch_loss(lambda: self._fail("the connection was lost"))

    async def fetch(self, max_messages: int, wait_s: float) -> list[Stored]:
        """Give up to `max_messages`, as soon as there are any, also after an outage; none after `wait_s`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        delay = _BACKOFF_S[0]
        while not self._ready and (left := deadline - loop.time()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._fill(max_messages)
            except TimeoutError:
                break
            except (BusUnavailable, ApiError, nats.errors.Error, OSError) as trouble:
                self._epoch = -1
                _log.debug("consumer %s of %s waits: %s", self._durable, self._stream, trouble)
                await asyncio.sleep(min(delay, max(0.0, deadline - loop.time())))
                delay = min(2 * delay, _BACKOFF_S[1])
        return self._take(max_messages)

    async def ack_through(self, seq: int) -> None:
        """Say that everything up to `seq` is safe. Never fails: the caller's own position is what counts."""
        reply = ""
        while self._unacked and self._unacked[0][0] <= seq:
            reply = self._unacked.popleft()[1]
        if reply and self._bus.connected:
            try:
                await self._bus.nats.publish(reply, b"+ACK")
            except (nats.errors.Error, OSError) as error:
                _log.debug("consumer %s of %s can't acknowledge: %s", self._durable, self._stream, error)

    async def close(self) -> None:
        """Stop listening; the durable stays on the server. What was fetched is not affected."""
        self._unwatch()
        await self._leave()

    async def _leave(self) -> None:
        replies, self._replies = self._replies, None
        self._epoch = -1
        if replies is not None and not self._bus.nats.is_closed:
            await replies.unsubscribe()

    def _take(self, max_messages: int) -> list[Stored]:
        batch: list[Stored] = []
        while self._ready and len(batch) < max_messages:
            stored, reply = self._ready.popleft()
            self._unacked.append((stored.seq, reply))
            batch.append(stored)
        return batch

    async def _fill(self, max_messages: int) -> None:
        """Return when something is ready, or the server has nothing for now."""
        await self._bus.wait_connected()
        if self._epoch != self._bus.epoch:
            await self._reset()
        loop = asyncio.get_running_loop()
        self._arrived.clear()
        if self._pull.left <= 0 or loop.time() >= self._pull.ends:
            await self._ask(max_messages, loop.time())
        try:
            async with asyncio.timeout_at(self._pull.ends + 1.0):
                await self._arrived.wait()
        except TimeoutError:
            self._fail("the server did not end its answer")
        if self._trouble:
            trouble, self._trouble = self._trouble, ""
            raise BusUnavailable(trouble)

    async def _ask(self, max_messages: int, now: float) -> None:
        self._pull = _Pull(max_messages, now + _PULL_EXPIRES_S)
        body = {"batch": max_messages, "max_bytes": _PULL_BYTES, "expires": int(_PULL_EXPIRES_S * 1e9)}
        verb = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._durable}"
        await self._bus.nats.publish(verb, json.dumps(body).encode(), reply=self._inbox)

    async def _reset(self) -> None:
        """Make the server's consumer anew, at the next sequence that has not arrived."""
        epoch = self._bus.epoch
        await self._leave()  # what is still on its way to the old inbox is of the old consumer
        self._pull, self._delivery, self._trouble = _Pull(0, 0.0), 0, ""
        self._unacked.clear()
        name = f"{self._stream}.{self._durable}"
        try:
            await self._bus.api(f"CONSUMER.DELETE.{name}")
        except ApiError as error:
            if error.code != _CONSUMER_NOT_FOUND:
                raise
        await self._bus.api(
            f"CONSUMER.CREATE.{name}", {"stream_name": self._stream, "config": self._config()}
        )
        self._inbox = self._bus.nats.new_inbox()
        self._replies = await self._bus.nats.subscribe(self._inbox, cb=self._receive, pending_bytes_limit=0)
        self._epoch = epoch

    def _config(self) -> dict[str, Any]:
        return {
            "name": self._durable,
            "durable_name": self._durable,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._next_seq,
            "ack_policy": "all",
            "ack_wait": _ACK_WAIT_S * 10**9,
            "max_ack_pending": MAX_ACK_PENDING,
            "max_deliver": -1,
            "replay_policy": "instant",
            **({"inactive_threshold": int(self._forget_after_s * 1e9)} if self._forget_after_s else {}),
        }

    async def _receive(self, message: Msg) -> None:
        if self._epoch < 0:
            return
        if message.reply.startswith("$JS.ACK."):
            self._accept(message)
        else:
            self._end_pull(message)

    def _accept(self, message: Msg) -> None:
        seq, delivery, time_ns, pending = _position(message.reply)
        self._delivery += 1
        self._pull.left -= 1
        if delivery != self._delivery or seq < self._next_seq:
            self._fail(f"delivery {delivery} of message {seq} came where {self._delivery} was due")
            return
        self._next_seq = seq + 1
        headers = message.headers or {}
        source = parse_source(headers.get(SOURCE, ""))
        stored = Stored(seq, message.subject, message.data, headers, time_ns, source)
        self._ready.append((stored, message.reply))
        if pending == 0 or self._pull.left == 0:
            self._arrived.set()

    def _end_pull(self, message: Msg) -> None:
        headers = message.headers or {}
        status, reason = headers.get("Status", ""), headers.get("Description", "").strip()
        self._pull.left = 0
        if status not in _ENDED and "MaxBytes" not in reason:
            self._fail(f"the pull ended: {status} {reason}")
        self._arrived.set()

    def _fail(self, trouble: str) -> None:
        self._epoch = -1
        self._trouble = trouble
        self._arrived.set()


@dataclass(slots=True)
class _Pull:
    """One request for messages: how many it may still bring, and when the server forgets it."""

    left: int
    ends: float


def _position(reply: str) -> tuple[int, int, int, int]:
    """Give stream sequence, consumer sequence, time (ns) and pending of an acknowledgement subject (ADR-15).

    `$JS.ACK.<stream>.<consumer>.<delivered>.<seq>.<delivery>.<time>.<pending>`, or with
    `<domain>.<account hash>` before the stream and a token at the end.
    """
    fields = reply.split(".")
    start = 5 if len(fields) == 9 else 7
    return int(fields[start]), int(fields[start + 1]), int(fields[start + 2]), int(fields[start + 3])

"""One end of the socket pair: calls the other end, and answers its calls. Both ends are the same."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, cast

from fluxrig.message import FluxMsg
from racks.worker.frames import Frame, Piece, Splitter, Trouble, messages, to_bytes, to_error, trouble

READ_BYTES: Final = 32 << 10
SILENCE_S: Final = 5.0
"""How long the other end may take to give up a call that was cancelled."""

Parts: TypeAlias = dict[str, list[FluxMsg]]
"""Messages by port, in order."""
Settled: TypeAlias = Callable[[int, Trouble], None]


class LinkLost(Exception):
    """The other end is gone. What was under way has no answer."""


class Ended(NamedTuple):
    """How a call ended: what it raised or the value it gave, or that nobody knows."""

    trouble: Trouble = None
    value: Any = None
    lost: bool = False


@dataclass(slots=True)
class Answer:
    """What comes of a call."""

    end: asyncio.Future[Ended]
    parts: Parts = field(default_factory=lambda: defaultdict(list))


@dataclass(slots=True)
class Call:
    """A call of the other end."""

    number: int
    method: str
    arguments: list[Any]
    parts: Parts


class Callee(Protocol):
    """What answers the other end's calls."""

    async def __call__(self, call: Call) -> Any:
        """Do it, and give a value that CBOR can say; or raise what went wrong."""


class Link(asyncio.BufferedProtocol):
    """Carries calls. A call that is cancelled is cancelled at the other end, and waits for its word."""

    def __init__(
        self, callee: Callee, *, settled: Settled | None = None, silent: Callable[[], None] | None = None
    ) -> None:
        """`settled` takes the receipts that come in: the ticket of the emit, and its error.

        `silent` is called when the other end leaves a cancelled call without an answer for SILENCE_S.
        """
        self.lost = asyncio.Event()
        self._callee = callee
        self._settled = settled
        self._silent = silent
        self._numbers = count(1)
        self._answers: dict[int, Answer] = {}
        self._arriving: defaultdict[int, Parts] = defaultdict(lambda: defaultdict(list))
        self._tasks: dict[int, asyncio.Task[Ended]] = {}
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._splitter = Splitter()
        self._room = asyncio.Event()
        self._room.set()
        self._transport: asyncio.Transport | None = None

    # --- calling ----------------------------------------------------------------------------------

    async def call(
        self, method: str, *arguments: Any, port: str = "", pieces: Iterable[Piece] = ()
    ) -> tuple[Any, Parts]:
        """Call the other end with messages for a port; give the value and the messages that came of it.

        Raises what the call raised there, and LinkLost.
        """
        number = next(self._numbers)
        answer = self._answers[number] = Answer(asyncio.get_running_loop().create_future())
        asked = False
        try:
            for piece in pieces:
                await self.send("part", number, port, *piece)
                await asyncio.sleep(0)
            await self.send("call", number, method, *arguments)
            asked = True
            end = await asyncio.shield(answer.end)
        except BaseException:
            self._write("cancel", number)
            if asked:
                await self._last_word(answer)
            raise
        finally:
            del self._answers[number]
            answer.end.cancel()
        if end.lost:
            raise LinkLost
        if end.trouble is not None:
            raise to_error(end.trouble)
        return end.value, answer.parts

    async def _last_word(self, answer: Answer) -> None:
        """Wait until the other end has stopped working on a call that is cancelled here."""
        with suppress(asyncio.CancelledError):
            await asyncio.wait([answer.end], timeout=SILENCE_S if self._silent else None)
        if self._silent is not None and not answer.end.done():
            self._silent()

    async def send(self, *frame: Any) -> None:
        """Send a frame when there is room for it."""
        await self._room.wait()
        if self.lost.is_set():
            raise LinkLost
        self._write(*frame)

    def _write(self, *frame: Any) -> None:
        if self._transport is not None and not self.lost.is_set():
            self._transport.write(to_bytes(*frame))

    def close(self) -> None:
        """Hang up, and cancel what the other end had asked for."""
        if self._transport is not None:
            self._transport.abort()

    # --- answering --------------------------------------------------------------------------------

    async def _answer(self, call: Call) -> Ended:
        try:
            return Ended(value=await self._callee(call))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the caller is to know
            return Ended(trouble(error))

    def _report(self, number: int, task: asyncio.Task[Ended]) -> None:
        """Say how a call ended, also one that was cancelled before it began."""
        del self._tasks[number]
        end = Ended(trouble(asyncio.CancelledError())) if task.cancelled() else task.result()
        try:
            self._write("done", number, end.trouble, end.value)
        except (ValueError, TypeError) as error:
            self._write("done", number, trouble(error), None)

    def _take(self, frame: Frame) -> None:
        match frame:
            case ["part", number, port, data, runs]:
                self._arriving[number][port] += messages(data, runs)
            case ["call", number, method, *arguments]:
                call = Call(number, method, arguments, self._arriving.pop(number, {}))
                task = asyncio.get_running_loop().create_task(self._answer(call), name=f"worker {method}")
                self._tasks[number] = task
                task.add_done_callback(partial(self._report, number))
            case ["cancel", number]:
                self._arriving.pop(number, None)
                if number in self._tasks:
                    self._tasks[number].cancel()
            case ["out", number, port, data, runs]:
                if answer := self._answers.get(number):
                    answer.parts[port] += messages(data, runs)
            case ["done", number, found, value]:
                self._end(number, found, value)
            case ["receipt", number, found] if self._settled is not None:
                self._settled(number, found)
            case _:
                raise ValueError(f"the frame {str(frame)[:80]} means nothing here")

    def _end(self, number: int, found: Trouble, value: Any) -> None:
        answer = self._answers.get(number)
        if answer is not None and not answer.end.done():
            answer.end.set_result(Ended(found, value))

    # --- what the transport says ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for frame in self._splitter.feed(self._buffer[:nbytes]):
                self._take(frame)
        except (ValueError, LookupError, TypeError):
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()
        self._room.set()
        for task in self._tasks.values():
            task.cancel()
        for answer in self._answers.values():
            if not answer.end.done():
                answer.end.set_result(Ended(lost=True))

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

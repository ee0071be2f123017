"""One line to an endpoint, one request under way at a time. Opens when asked, and again when it was lost.

Every answer must be exactly the one that was asked for. One that is late, or to something else, ends the
connection: skipping what does not fit and going on is how answers come to be taken for each other's. A serial
line can't be ended; it is listened to until whatever is late has passed. And where there are no transaction
ids (RTU, ASCII), a device that owes an answer is first asked something that tells late answers from new ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from fluxrig.clock import Clock
from fluxrig.duration import format_duration
from fluxrig.modbus.framing import FRAMINGS, BadChecksum, Question
from fluxrig.modbus.pdu import READ_INPUT, Refusal, Request, WrongAnswer, payload_of
from fluxrig.modbus.quality import DISCONNECTED, TIMEOUT, WRONG_ANSWER
from gears.io_modbus.debts import Debts
from gears.io_modbus.dialer import Dialer
from gears.io_modbus.endpoint import Endpoint
from gears.io_modbus.link import Link
from gears.io_modbus.terms import Answer, Lost, Terms

FORGOTTEN_AFTER: Final = 10
"""Time-outs after which an answer is not expected any more,"""
FORGOTTEN_AFTER_S: Final = 10.0
"""but no sooner than this."""


class Line:
    """Speaks to the first of the endpoints, or after a failure to the next, and so on in turn."""

    def __init__(self, endpoints: Sequence[Endpoint], terms: Terms, clock: Clock) -> None:
        self.connects = 0
        """Links opened so far."""
        self.ended = 0
        """Links that the other side ended."""
        self._dialer = Dialer(endpoints)
        self.terms = terms
        self._clock = clock
        self._link: Link | None = None
        self._answers = 0
        self._transaction = 0
        self._question: Question | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._answered_ns = 0
        """When the last answer was whole, on a clock that never steps."""
        self._buffer = b""
        self._last_datagram = b""
        self._last_s = 0.0
        self._quiet_until_s = 0.0
        self._idle: asyncio.TimerHandle | None = None
        self._debts = Debts()
        self._answering: set[int] = set()
        """The units that answered when they were last asked."""

    @property
    def endpoint(self) -> Endpoint:
        """The one that is spoken to now."""
        return self._dialer.endpoint

    @property
    def is_open(self) -> bool:
        return self._link is not None

    def return_to_first(self) -> None:
        """Speak to the first endpoint from now on."""
        self.close()
        self._dialer.first()

    def close(self) -> None:
        """Close at once; the next `ask` opens again."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._link is not None:
            self._link.close()
            self._link = None
        self._buffer = b""

    async def ask(self, unit: int, request: Request, timeout_s: float) -> Answer:
        """Send a request and wait for its answer. Raises Refusal, or Lost.

        A read is asked once more that met a connection which the device had closed meanwhile, or what another
        unit of a serial line said late.
        """
        started_s, answers = self._now_s(), self._answers
        stale = self.is_open and answers > 0
        try:
            try:
                return await self._ask(unit, request, timeout_s)
            except Lost as lost:
                closed = stale and lost.reason == DISCONNECTED and self._answers == answers
                others = lost.reason == WRONG_ANSWER and self._debts.owed_by_others(unit, self._now_s())
                if request.function > READ_INPUT or not (closed or others):
                    raise
            return await self._ask(unit, request, timeout_s)
        except Lost as lost:
            lost.held_s = self._now_s() - started_s
            raise

    async def _ask(self, unit: int, request: Request, timeout_s: float) -> Answer:
        if self._debts.doubtful(unit, request, self._now_s()):
            await self._settle(unit, request, timeout_s)
        return await self._ask_once(unit, request, timeout_s)

    async def _settle(self, unit: int, request: Request, timeout_s: float) -> None:
        """Make sure that no answer is owed which could be taken for the one to this request. Raises Lost."""
        settling = self._debts.settling(unit, request, self._now_s())
        try:
            await self._ask_once(unit, settling, timeout_s)
        except Refusal:
            pass
        except Lost:
            self._debts.not_settled(unit)
            raise

    async def _ask_once(self, unit: int, request: Request, timeout_s: float) -> Answer:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        link = self._link or await self._open()
        await self._quiet(unit, timeout_s)
        if self._link is not link:
            raise Lost(DISCONNECTED, f"{self.endpoint} unit {unit}: the device closed the connection")
        self._transaction = self._transaction % 0xFFFF + 1
        question = Question(unit, self._transaction, request)
        pdu, sent_ns, answered_ns = await self._exchange(link, question, timeout_s)
        self._answers += 1
        self._answering.add(unit)
        self._after_answer()
        return Answer(payload_of(pdu, request), sent_ns, answered_ns)

    async def _exchange(self, link: Link, question: Question, timeout_s: float) -> tuple[bytes, int, int]:
        """Send, and wait for the answer, the end of the link or the time-out, whichever is first."""
        self._question = question
        self._answer = asyncio.get_running_loop().create_future()
        self._buffer = b""
        sent_ns, started_ns = self._clock.now_ns(), self._clock.monotonic_ns()
        listen_s: float | None = timeout_s
        hurt = False
        try:
            link.send(FRAMINGS[self.endpoint.framing].frame(question))
            async with asyncio.timeout(timeout_s):
                pdu = await self._answer
            self._must_be_its_own(question, pdu)
            listen_s = None
            return pdu, sent_ns, sent_ns + self._answered_ns - started_ns
        except TimeoutError:
            # A unit that was silent before is taken for dead, not for late: others wait for the line.
            listen_s = timeout_s if question.unit in self._answering else 0.0
            limit = format_duration(timeout_s)
            raise self._lost(TIMEOUT, question, f"no answer within {limit}") from None
        except WrongAnswer as error:
            hurt = isinstance(error, BadChecksum)
            listen_s = 0.0 if hurt else timeout_s
            raise self._lost(WRONG_ANSWER, question, str(error)) from None
        except ConnectionError as error:
            listen_s = 0.0
            raise self._lost(DISCONNECTED, question, str(error)) from None
        finally:
            self._question = self._answer = None
            if listen_s is not None:
                self._answering.discard(question.unit)
                self._note_debt(question, timeout_s, hurt=hurt)
                self._drop(listen_s)

    def _must_be_its_own(self, question: Question, pdu: bytes) -> None:
        """Raise WrongAnswer where an answer could as well be one to an earlier request."""
        if self._has_ids or self._debts.proves(question.unit, question.request, pdu, self._now_s()):
            return
        raise WrongAnswer("the answer may be one to an earlier request")

    def _note_debt(self, question: Question, timeout_s: float, *, hurt: bool) -> None:
        """Note that the answer may still come, unless it came `hurt`, and no other was owed."""
        now_s = self._now_s()
        if self._has_ids or (hurt and not self._debts.owes(question.unit, now_s)):
            return
        until_s = now_s + max(FORGOTTEN_AFTER_S, FORGOTTEN_AFTER * timeout_s)
        self._debts.owe(question.unit, question.request, until_s)

    @property
    def _has_ids(self) -> bool:
        """Whether answers say which request they are for."""
        return self.endpoint.framing == "mbap"

    def _lost(self, reason: str, question: Question, detail: str) -> Lost:
        return Lost(reason, f"{self.endpoint} unit {question.unit}: {detail}")

    async def _open(self) -> Link:
        link = self._link = await self._dialer.open(self.terms, self._received, self._ended)
        self._answers = 0
        self.connects += 1
        self._last_s = 0.0
        if self.terms.pause_after_connect_s:
            await asyncio.sleep(self.terms.pause_after_connect_s)
        return link

    # --- around a request -------------------------------------------------------------------------

    async def _quiet(self, unit: int, timeout_s: float) -> None:
        """Wait until the line is quiet, and the device has had its rest. Raises Lost when it never is."""
        rest_s = self.terms.pause_between_requests_s
        if self.endpoint.is_serial:
            rest_s = max(rest_s, self.endpoint.serial.silence_s)
        give_up_s = max(self._now_s(), self._quiet_until_s) + rest_s + timeout_s
        while (wait_s := max(self._last_s + rest_s, self._quiet_until_s) - self._now_s()) > 0:
            if self._now_s() > give_up_s:
                raise Lost(WRONG_ANSWER, f"{self.endpoint} unit {unit}: somebody talks there without a pause")
            await asyncio.sleep(wait_s)

    def _after_answer(self) -> None:
        self._last_s = self._now_s()
        if self.terms.close_after_request:
            self.close()
        elif self.terms.idle_timeout_s is not None:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self.terms.idle_timeout_s, self.close)

    def _drop(self, listen_s: float) -> None:
        """Let go of a connection that may still bring what is not wanted any more."""
        if not self._has_ids:
            self._quiet_until_s = self._now_s() + listen_s
        if not self.endpoint.is_serial or self._link is None:
            self.close()
        if self._answers == 0:
            self._dialer.next()

    def _received(self, data: bytes) -> None:
        self._last_s = self._now_s()
        is_datagram = self.endpoint.transport == "udp"
        if is_datagram and data == self._last_datagram:
            return  # the network doubled it
        question, waiting = self._question, self._answer
        if question is None or waiting is None or waiting.done():
            self._unasked()
            return
        self._buffer += data
        try:
            pdu = FRAMINGS[self.endpoint.framing].answer(self._buffer, question)
        except WrongAnswer as error:
            waiting.set_exception(error)
            return
        if pdu is not None:
            self._last_datagram = data if is_datagram else b""
            self._answered_ns = self._clock.monotonic_ns()
            waiting.set_result(pdu)
        elif is_datagram:
            waiting.set_exception(WrongAnswer("the datagram is cut short"))

    def _unasked(self) -> None:
        """Bytes that nobody asked for: what they belong to is over, on a new connection they are gone.

        Not so those of a serial line, whatever connection they come by: they are waited for until they end.
        """
        if self._has_ids:
            self.close()

    def _ended(self, why: str) -> None:
        self.ended += 1
        self._link = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(why))

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

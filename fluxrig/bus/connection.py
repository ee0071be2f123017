"""One connection to a NATS server, which comes back by itself for as long as it takes."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from fluxrig.bus.auth import Auth
from fluxrig.bus.headers import parse_block
from fluxrig.errors import BusError, BusRefused, BusUnavailable
from fluxrig.tasks import end

MAX_PAYLOAD_BYTES: Final = 8 << 20
CONNECT_TIMEOUT_S: Final = 10.0
API_TIMEOUT_S: Final = 5.0
DEFAULT_INBOX: Final = "_INBOX"
_REFUSED: Final = re.compile("authorization violation|user authentication|expired|revoked", re.I)
RACK_INBOXES: Final = "_INBOX.mixer"
"""Below it, by Rack, is where a Rack may answer the Mixer."""
_NO_RESPONDERS: Final = "503"
_UNAVAILABLE: Final = 10008  # of a cluster that has no leader for the moment
_ERROR_HEADER: Final = "Fluxrig-Error"

Handler = Callable[[str, bytes], Awaitable[bytes]]

_log = logging.getLogger(__name__)


class ApiError(BusError):
    """JetStream refused. `code` is its error code (nats-server, server/errors.json)."""

    def __init__(self, verb: str, error: dict[str, Any]) -> None:
        super().__init__(f"JetStream refused {verb}: {error.get('description', 'no reason given')}")
        self.code = int(error.get("err_code", 0))


class _Client(Client):
    """Reads headers by itself: nats-py ends its connection, for good, over some that a Rack can make."""

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        return parse_block(headers) if headers else None


class Bus:
    """A connection. Made by `connect`, ended by `close`; it also closes as `async with`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nats: Client = _Client()
        self.epoch = 0
        self._up = asyncio.Event()
        self._refused = asyncio.Event()
        self._last_error = ""
        self._wants_tls = False
        self._on_lost: set[Callable[[], object]] = set()

    @classmethod
    async def connect(
        cls,
        url: str,
        auth: Auth,
        name: str,
        timeout_s: float = CONNECT_TIMEOUT_S,
        *,
        inbox: str = DEFAULT_INBOX,
        ca: Path | None = None,
    ) -> Bus:
        """Connect, trying again for `timeout_s`, then BusUnavailable. `name` shows in the server's log.

        `url` may be several with commas between them: the servers of a cluster, of which any will do. `ca` is
        the authority of their certificates, where they speak TLS; else those that the machine trusts. Answers
        come to subjects below `inbox`: on a leaf it is the Rack's own part of them.
        """
        bus = cls(name)
        try:
            async with asyncio.timeout(timeout_s):
                await bus._open(url, auth, inbox, ca)
        except (TimeoutError, nats.errors.Error, OSError) as error:
            await bus.close()
            why = bus._last_error or str(error)
            raise BusUnavailable(
                f"no connection to the bus at {url} within {timeout_s:g} s: {why}"
            ) from error
        except BaseException:
            await bus.close()
            raise
        return bus

    async def _open(self, url: str, auth: Auth, inbox: str, ca: Path | None) -> None:
        """Connect, or raise BusUnavailable at once when it is refused for a reason that stays."""
        dialling = asyncio.create_task(self._dial(url, auth, inbox, ca))
        refusal = asyncio.create_task(self._refused.wait())
        try:
            await asyncio.wait([dialling, refusal], return_when=asyncio.FIRST_COMPLETED)
            if not dialling.done():
                raise BusRefused(f"no connection to the bus at {url}: {self._last_error}")
            await dialling
        finally:
            await end([dialling, refusal])

    async def _dial(self, url: str, auth: Auth, inbox: str, ca: Path | None) -> None:
        self._wants_tls = "tls://" in url or ca is not None
        await self.nats.connect(
            url.split(","),
            name=self.name,
            inbox_prefix=inbox,
            tls=ssl.create_default_context(cafile=ca) if ca else None,
            **auth.options(),
            error_cb=self._note_error,
            disconnected_cb=self._note_lost,
            reconnected_cb=self._note_back,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,  # type: ignore[arg-type]
            ping_interval=10,
            pending_size=2 * MAX_PAYLOAD_BYTES,
            flush_timeout=API_TIMEOUT_S,
            skip_subject_validation=False,
        )
        self._check_tls()
        self._up.set()

    def _check_tls(self) -> None:
        """Raise BusRefused where TLS was asked for, and nats-py goes on without it as the server does."""
        if self._wants_tls and not self.nats._server_info.get("tls_required"):
            raise BusRefused("no connection to the bus: it speaks no TLS, which is asked for")

    @property
    def connected(self) -> bool:
        return self._up.is_set() and self.nats.is_connected

    async def wait_connected(self) -> None:
        """Return when there is a connection. BusUnavailable when it was closed for good."""
        while not self.connected:
            if self.nats.is_closed:
                raise BusUnavailable(f"the bus connection {self.name!r} is closed")
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await self._up.wait()
                    if not self.connected:
                        await asyncio.sleep(0.01)

    def watch_loss(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Have `callback` run each time the connection is lost; the answer ends that."""
        self._on_lost.add(callback)
        return lambda: self._on_lost.discard(callback)

    async def close(self) -> None:
        """Twice is fine, and so is a connection that never was."""
        self._up.clear()
        with suppress(nats.errors.Error, OSError, asyncio.TimeoutError):
            if not self.nats.is_closed and self.nats._flush_queue is not None:
                await self.nats.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def request(
        self, subject: str, payload: bytes = b"", timeout_s: float = API_TIMEOUT_S, *, inbox: str = ""
    ) -> bytes:
        """Ask whoever serves `subject`. BusUnavailable: no answer; BusError: the handler failed.

        The answer comes to a subject below `inbox` where one is given: a Rack may answer on its own alone.
        """
        if inbox:
            asked = self._ask_at(inbox, subject, payload, timeout_s)
        else:
            asked = self.nats.request(subject, payload, timeout=timeout_s)
        task = asyncio.ensure_future(asked)
        unwatch = self.watch_loss(task.cancel)
        try:
            answer = await task
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is not None and caller.cancelling():
                raise
            raise BusUnavailable(f"the connection was lost before {subject} answered") from None
        except nats.errors.NoRespondersError as error:
            raise BusUnavailable(f"nobody answers on {subject}") from error
        except (TimeoutError, nats.errors.Error, OSError) as error:
            raise BusUnavailable(f"no answer on {subject} within {timeout_s:g} s") from error
        finally:
            unwatch()
            raise_if_cancelled()
        if answer.headers and (failure := answer.headers.get(_ERROR_HEADER)):
            raise BusError(f"{subject}: {failure}")
        return answer.data

    async def _ask_at(self, inbox: str, subject: str, payload: bytes, timeout_s: float) -> Msg:
        reply = f"{inbox}.{secrets.token_hex(12)}"
        replies = await self.nats.subscribe(reply, max_msgs=1)
        try:
            await self.nats.publish(subject, payload, reply=reply)
            answer = await replies.next_msg(timeout_s)
        finally:
            with suppress(nats.errors.Error):
                await replies.unsubscribe()
        if (answer.headers or {}).get("Status") == _NO_RESPONDERS:
            raise nats.errors.NoRespondersError
        return answer

    async def publish(self, subject: str, payload: bytes) -> None:
        """Send to whoever listens now, if anybody does. BusUnavailable while there is no connection."""
        if not self.connected:
            raise BusUnavailable("there is no connection to nats-server")
        try:
            await self.nats.publish(subject, payload)
        except (nats.errors.Error, OSError) as error:
            raise BusUnavailable(str(error) or type(error).__name__) from error
        raise_if_cancelled()

    async def serve(self, subject: str, handler: Handler) -> None:
        """Answer requests on `subject` (wildcards allowed), one after the other, until the bus closes."""

        async def answer(message: Msg) -> None:
            try:
                reply, headers = await handler(message.subject, message.data), None
            except Exception as error:  # noqa: BLE001 - whatever failed, the asker must hear of it
                _log.warning("request on %s failed: %s", message.subject, error)
                reply, headers = b"", {_ERROR_HEADER: f"{type(error).__name__}: {error}"}
            if message.reply:
                await self.nats.publish(message.reply, reply, headers=headers)

        await self.nats.subscribe(subject, cb=answer)
        await self.nats.flush()

    async def api(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the JetStream API of this server, e.g. `STREAM.INFO.UNS`. ApiError when it refuses.

        A restart of the server is waited out for API_TIMEOUT_S, then BusUnavailable. It may be asked twice,
        so it must be such that the second time does no harm.
        """
        request = json.dumps(body).encode() if body is not None else b""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + API_TIMEOUT_S
        while True:
            try:
                answer = await self._asked(verb, request)
            except BusUnavailable:
                if loop.time() >= deadline or self.nats.is_closed:
                    raise
                await asyncio.sleep(0.05)
            else:
                break
        return answer

    async def _asked(self, verb: str, request: bytes) -> dict[str, Any]:
        """Ask once. BusUnavailable also when a cluster says that it has no leader now."""
        answer: dict[str, Any] = json.loads(await self.request(f"$JS.API.{verb}", request))
        if error := answer.get("error"):
            if error.get("err_code") == _UNAVAILABLE:
                raise BusUnavailable(f"JetStream can't do {verb} now: {error.get('description')}")
            raise ApiError(verb, error)
        return answer

    async def _note_error(self, error: Exception) -> None:
        _log.debug("bus %s: %s", self.name, str(error) or type(error).__name__)
        self._last_error = _told(error)
        if isinstance(error, ssl.SSLError) or _REFUSED.search(self._last_error):
            self._refused.set()

    async def _note_lost(self) -> None:
        if not self._up.is_set():
            return
        self._up.clear()
        self.epoch += 1
        _log.warning("bus %s: connection lost; trying again", self.name)
        for callback in tuple(self._on_lost):
            callback()

    async def _note_back(self) -> None:
        try:
            self._check_tls()
        except BusRefused as error:
            _log.error("bus %s: %s; it is closed", self.name, error)
            await self.nats.close()
            return
        _log.info("bus %s: connected again", self.name)
        self._up.set()


def _told(error: Exception) -> str:
    """Say in one line why a server could not be reached."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with it: {(error.reason or 'the handshake failed').replace('_', ' ').lower()}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).removeprefix("nats: ").strip("'").split()) or type(error).__name__


def raise_if_cancelled() -> None:
    """Be cancelled now if nats-py has swallowed a cancellation, as its flush and its request may."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError

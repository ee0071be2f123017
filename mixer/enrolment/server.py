"""Takes enrolments on one TCP port: TLS 1.3, one short talk a connection, within limits before anything else.

Whoever comes is counted before its handshake is begun, has TIMEOUT_S for all it wants to say, and costs one
line in the log however often it comes.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import logging
import os
import secrets
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Self

from pydantic import ValidationError

from fluxrig.errors import FluxrigError, IdentityError
from fluxrig.identity import certificates
from fluxrig.identity.enrol import MAX_LINE_BYTES, NONCE_BYTES, TIMEOUT_S, Answer, Hello, Signed, opened
from fluxrig.tasks import end
from mixer.enrolment.desk import Desk
from mixer.enrolment.limits import Gate
from mixer.enrolment.refusal import Refusal
from mixer.refusals import Refusals

SERVER_LIFE_S: Final = 30 * 86_400
_RENEW_EVERY_S: Final = 86_400.0
_BACKLOG: Final = 256
_ACCEPT_PAUSE_S: Final = 0.5

_log = logging.getLogger("fluxrig.mixer")


class EnrolmentServer:
    """Listens from `start` to `stop`. `names` are those that Racks reach it by, for its certificate."""

    def __init__(
        self,
        desk: Desk,
        ca: certificates.Authority,
        *,
        host: str,
        port: int,
        names: Sequence[str],
        gate: Gate | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._desk = desk
        self._ca = ca
        self._ca_pem = certificates.to_pem(ca.certificate).decode("ascii")
        self._host, self._port = host, port
        self._names = names
        self._gate = gate or Gate()
        self._timeout_s = timeout_s
        self._refusals = Refusals("an enrolment")
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self._tls.num_tickets = 0  # every talk stands alone
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket: socket.socket | None = None

    @property
    def port(self) -> int:
        """The port, once it listens."""
        assert self._socket is not None  # noqa: S101 - set by start()
        return int(self._socket.getsockname()[1])

    async def start(self) -> None:
        """Listen. FluxrigError when the address can't be had."""
        self._show_new_certificate()
        try:
            self._socket = _listen(self._host, self._port)
        except OSError as error:
            reason = error.strerror or error
            raise FluxrigError(f"can't take enrolments on {self._host}:{self._port}: {reason}") from None
        self._socket.setblocking(False)
        for work in (self._accept(self._socket), self._renew()):
            self._keep(asyncio.create_task(work))

    async def stop(self) -> None:
        """Stop listening and end all talks. Twice is fine."""
        await end(list(self._tasks))
        if self._socket is not None:
            self._socket.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _show_new_certificate(self) -> None:
        certificate, key = certificates.issue_server(self._ca, self._names, SERVER_LIFE_S)
        pem = certificates.to_pem(certificate) + self._ca_pem.encode() + certificates.key_to_pem(key)
        descriptor = os.memfd_create("server.pem")  # OpenSSL reads keys from files alone: one without a disk
        try:
            os.write(descriptor, pem)
            self._tls.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_EVERY_S)
            self._show_new_certificate()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, (address, *_) = await loop.sock_accept(listener)
            except OSError as error:  # no descriptor left, or the peer is gone again
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}:
                    self._refusals.log("everyone", f"out of resources: {error.strerror}")
                    await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            if objection := self._gate.enter(address):
                self._refusals.log(address, objection.partition(";")[0])
                connection.close()
                await asyncio.sleep(0)  # a flood must not keep the loop
            else:
                self._keep(asyncio.create_task(self._attend(connection, address)))

    async def _attend(self, connection: socket.socket, address: str) -> None:
        """Have the talk with one who came, and end it whatever happens."""
        phase = "the TLS handshake"
        close = connection.close
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await self._connected(connection)
                close = writer.transport.abort
                phase = "the request"
                await self._talk(reader, writer, address)
        except TimeoutError:
            self._refusals.log(address, f"{phase} took longer than {self._timeout_s:g} s")
        except ssl.SSLError as error:
            self._refusals.log(address, f"no TLS 1.3: {(error.reason or 'failed').replace('_', ' ').lower()}")
        except OSError:
            self._refusals.log(address, f"went away during {phase}")
        except Exception as error:  # noqa: BLE001 - whatever a stranger sends, the others are served
            self._refusals.log(address, f"internal error, please report it ({type(error).__name__}: {error})")
        finally:
            self._gate.leave(address)
            close()

    async def _connected(
        self, connection: socket.socket
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, connection, ssl=self._tls, ssl_handshake_timeout=self._timeout_s
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        nonce = base64.b64encode(secrets.token_bytes(NONCE_BYTES)).decode()
        await _say(writer, Hello(ca=self._ca_pem, nonce=nonce, time_ns=time.time_ns()))
        try:
            line = await reader.readline()
        except ValueError:
            self._gate.strange(address)
            self._refusals.log(address, f"a request of more than {MAX_LINE_BYTES} bytes")
            return
        if not line:  # it only wanted to see who we are
            return
        await _say(writer, self._answer(line, nonce, address))
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    def _answer(self, line: bytes, nonce: str, address: str) -> Answer:
        who = address
        try:
            request = opened(Signed.model_validate_json(line), nonce)
            who = f"{address} (Rack {request.rack})"
            wait_s = self._gate.strangers_wait_s()
            if wait_s and not self._desk.is_known(request):
                self._refusals.log("many", "too many failed tries in all")
                retry_s = min(60.0, max(1.0, wait_s))
                return Answer(state="busy", error="too many failed tries", retry_s=retry_s)
            return self._desk.answer(request, address)
        except Refusal as refusal:
            return self._refused(who, address, refusal)
        except ValidationError:
            malformed = Refusal("bad-request", "not a request of this version", stranger=True)
            return self._refused(who, address, malformed)
        except IdentityError as error:
            return self._refused(who, address, Refusal("bad-request", str(error), stranger=True))

    def _refused(self, who: str, address: str, refusal: Refusal) -> Answer:
        if refusal.stranger:
            self._gate.strange(address)
        self._refusals.log(who, str(refusal))
        return Answer(state="refused", error=str(refusal), code=refusal.code)


def _listen(host: str, port: int) -> socket.socket:
    """Listen; `::` takes IPv4 as well."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server(
        (host, port),
        family=family,
        backlog=_BACKLOG,
        dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6(),
    )


async def _say(writer: asyncio.StreamWriter, message: Hello | Answer) -> None:
    writer.write(message.model_dump_json().encode() + b"\n")
    await writer.drain()

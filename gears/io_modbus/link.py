"""Bytes to and from a device: streams, datagrams, serial lines. What the bytes mean is the line's."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import ssl
import termios
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from gears.io_modbus.endpoint import Endpoint, Serial

Received = Callable[[bytes], None]
Ended = Callable[[str], None]
"""Is told why, once, when the other side or the system ends a link."""

_CHUNK: Final = 4096
_PARITY: Final = {"N": 0, "E": termios.PARENB, "O": termios.PARENB | termios.PARODD}
_CLOSED: Final = "the device closed the connection"


class Link(Protocol):
    """An open way to a device."""

    def send(self, data: bytes) -> None:
        """Send at once; what can't be sent ends the link."""

    def close(self) -> None:
        """Close at once; twice is fine, and `Ended` is not called."""


async def open_link(
    endpoint: Endpoint, received: Received, ended: Ended, tls: ssl.SSLContext | None, server_name: str | None
) -> Link:
    """Open a link. Raises OSError (ssl.SSLError is one) when the device can't be reached."""
    loop = asyncio.get_running_loop()
    if endpoint.transport == "serial":
        return SerialLink(endpoint.address, endpoint.serial, received, ended)
    place = (endpoint.address, endpoint.port)
    if endpoint.transport == "udp":
        _, datagrams = await loop.create_datagram_endpoint(
            lambda: DatagramLink(received, ended), remote_addr=place
        )
        return datagrams
    name = (server_name or endpoint.address) if tls else None
    _, stream = await loop.create_connection(
        lambda: StreamLink(received, ended), *place, ssl=tls, server_hostname=name
    )
    return stream


class _Asyncio(asyncio.BaseProtocol):
    """What streams and datagrams share: an asyncio transport."""

    def __init__(self, received: Received, ended: Ended) -> None:
        self._received = received
        self._ended: Ended | None = ended
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(_CLOSED if exc is None else f"the connection broke: {_reason(exc)}")

    def close(self) -> None:
        self._ended = None
        if self._transport is not None:
            self._transport.abort()

    def _take(self, data: bytes) -> None:
        if self._ended is not None:
            self._received(data)

    def _end(self, why: str) -> None:
        if self._ended is not None:
            ended, self._ended = self._ended, None
            ended(why)


class StreamLink(_Asyncio, asyncio.Protocol):
    """TCP, or TLS over it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if (plain := transport.get_extra_info("socket")) is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        self._take(data)

    def send(self, data: bytes) -> None:
        self._transport.write(data)


class DatagramLink(_Asyncio, asyncio.DatagramProtocol):
    """UDP to one peer. A new link has a new port, so what comes late for an old one reaches nobody."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._take(data)

    def error_received(self, exc: Exception) -> None:
        self._end(f"the device can't be reached: {_reason(exc)}")
        self._transport.abort()

    def send(self, data: bytes) -> None:
        self._transport.sendto(data)


class SerialLink:
    """A serial device of the system, set raw."""

    def __init__(self, path: str, serial: Serial, received: Received, ended: Ended) -> None:
        self._received = received
        self._ended: Ended | None = ended
        self._loop = asyncio.get_running_loop()
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            _own(self._fd)
            _set(self._fd, serial)
        except BlockingIOError as error:
            os.close(self._fd)
            raise OSError(error.errno, "another program uses it") from None
        except (termios.error, OSError) as error:
            os.close(self._fd)
            raise OSError(f"{path} can't be set as a serial line: {error.args[-1]}") from None
        self._loop.add_reader(self._fd, self._read)

    def send(self, data: bytes) -> None:
        try:
            sent = os.write(self._fd, data)
        except OSError as error:
            self._end(f"the serial line broke: {_reason(error)}")
            return
        if sent < len(data):
            self._end("the serial line does not take a whole request; check its flow control")

    def close(self) -> None:
        self._ended = None
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(f"the serial line broke: {_reason(error)}")
            return
        if data:
            self._received(data)
        else:
            self._end("the serial line hung up; is the adapter plugged in?")

    def _end(self, why: str) -> None:
        ended = self._ended
        self.close()
        if ended is not None:
            ended(why)


def _own(fd: int) -> None:
    """Keep others from the line who ask first, as we do: two masters spoil each other's answers."""
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _set(fd: int, serial: Serial) -> None:
    """Raw bytes both ways, no echo, no flow control; throw away what came before."""
    *_, control = termios.tcgetattr(fd)
    baud = getattr(termios, f"B{serial.baud}")
    size = termios.CS8 if serial.bits == 8 else termios.CS7
    stop = termios.CSTOPB if serial.stop == 2 else 0
    flags = size | stop | _PARITY[serial.parity] | termios.CREAD | termios.CLOCAL
    control = list(control)
    control[termios.VMIN], control[termios.VTIME] = 1, 0
    checks = termios.INPCK if serial.parity != "N" else 0
    try:
        termios.tcsetattr(fd, termios.TCSANOW, cast("Any", [checks, 0, flags, 0, baud, baud, control]))
    except termios.error:
        # A pseudo-terminal has no parity, and says so when nothing else is left to be changed.
        if not os.ttyname(fd).startswith("/dev/pts/"):
            raise
    termios.tcflush(fd, termios.TCIOFLUSH)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()

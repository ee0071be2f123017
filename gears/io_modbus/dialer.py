"""Opening links: to the first of the endpoints, or after a failure to the next, and so on in turn."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Final

from fluxrig.duration import format_duration
from fluxrig.modbus.quality import DISCONNECTED, TIMEOUT
from gears.io_modbus.endpoint import Endpoint
from gears.io_modbus.link import Ended, Link, Received, open_link
from gears.io_modbus.terms import Lost, Terms
from gears.io_modbus.tls import TlsFileError

MAX_BACKOFF_S: Final = 1.0
"""Keeps the units of an endpoint that can't be reached from trying in a row; each waits by itself, too."""
FIRST_BACKOFF_S: Final = 0.1


class Dialer:
    """Knows which endpoint is to be spoken to, and leaves one alone for a while that can't be reached."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = tuple(endpoints)
        self._at = 0
        self._backoff_s = 0.0
        self._closed_until_s = 0.0
        self._why_closed: Lost | None = None

    @property
    def endpoint(self) -> Endpoint:
        """The one that is spoken to now."""
        return self._endpoints[self._at]

    def first(self) -> None:
        """Take the first endpoint from now on."""
        self._at = 0

    def next(self) -> None:
        """Take the next endpoint from now on."""
        self._at = (self._at + 1) % len(self._endpoints)

    async def open(self, terms: Terms, received: Received, ended: Ended) -> Link:
        """Open a link to the endpoint. Raises Lost, at once where that failed a moment ago."""
        loop = asyncio.get_running_loop()
        if self._why_closed is not None and loop.time() < self._closed_until_s:
            raise self._why_closed
        try:
            link = await _open(self.endpoint, terms, received, ended)
        except Lost as lost:
            self._backoff_s = min(MAX_BACKOFF_S, self._backoff_s * 2 or FIRST_BACKOFF_S)
            self._closed_until_s = loop.time() + self._backoff_s
            self._why_closed = lost
            self.next()
            raise
        self._backoff_s, self._why_closed = 0.0, None
        return link


async def _open(endpoint: Endpoint, terms: Terms, received: Received, ended: Ended) -> Link:
    limit = format_duration(terms.connect_timeout_s)
    try:
        tls = terms.tls() if terms.tls is not None and endpoint.transport == "tls" else None
        async with asyncio.timeout(terms.connect_timeout_s):
            return await open_link(endpoint, received, ended, tls, terms.server_name)
    except TimeoutError:
        detail = f"{endpoint} does not take a connection within {limit}; check address, cable and firewall"
        raise Lost(TIMEOUT, detail) from None
    except TlsFileError as error:
        raise Lost(DISCONNECTED, f"{endpoint}: {error}") from None
    except ssl.SSLError as error:
        raise Lost(DISCONNECTED, f"{endpoint} and we do not agree on TLS: {_tls_reason(error)}") from None
    except OSError as error:
        raise Lost(DISCONNECTED, _unreachable(endpoint, error)) from None


def _unreachable(endpoint: Endpoint, error: OSError) -> str:
    if endpoint.is_serial:
        reason = (error.strerror or str(error)).lower()
        return f"{endpoint} can't be opened: {reason}; check the device and its rights"
    return f"{endpoint} refuses the connection or can't be reached; check address, port and device"


def _tls_reason(error: ssl.SSLError) -> str:
    return getattr(error, "verify_message", "") or (error.reason or str(error)).lower().replace("_", " ")

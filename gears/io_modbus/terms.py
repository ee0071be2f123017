"""How a line treats its endpoint, and what comes of a request: an answer, or none."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from fluxrig.errors import Disconnected


@dataclass(frozen=True, slots=True)
class Terms:
    """How a line treats its endpoint."""

    connect_timeout_s: float = 3.0
    idle_timeout_s: float | None = None
    pause_after_connect_s: float = 0.0
    pause_between_requests_s: float = 0.0
    close_after_request: bool = False
    return_after_s: float | None = None
    tls: Callable[[], ssl.SSLContext] | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device said. `payload` is what could not be known beforehand: the values of a read."""

    payload: bytes
    sent_ns: int
    answered_ns: int


class Lost(Disconnected):
    """There was no answer, or not the right one. `reason` is what the tags' quality says."""

    held_s = 0.0
    """For how long the line was held by what came to nothing."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

"""Loopback ports that stay ours while nats-server is down between two of its lives."""

from __future__ import annotations

import socket

from fluxrig.errors import ServerError


class ReservedPort:
    """A bound socket that never listens.

    Linux lets a second socket with SO_REUSEADDR bind and listen on the same port as long as the first does
    not listen, and Go sets SO_REUSEADDR on what it listens on. So nobody else is given the port, and the
    child gets it.
    """

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self.host = host
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise ServerError(
                f"can't listen on {host}:{port}: {error.strerror}; stop what uses the port, or choose another"
            ) from error
        self.port: int = self._socket.getsockname()[1]

    def release(self) -> None:
        self._socket.close()

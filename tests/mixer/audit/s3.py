"""An S3 server in a process of its own, and a way to it that a test can cut, stall or make refuse."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Literal

import boto3

from tests.processes import free_port

BUCKET: Final = "plant"
_CHUNK: Final = 1 << 16
_REFUSAL: Final = (
    b"HTTP/1.1 507 Insufficient Storage\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: 70\r\n\r\n<Error><Code>QuotaExceeded</Code><Message>it is full</Message></Error>"
)

Mood = Literal["well", "away", "stalled", "full"]


class Server:
    """moto's server, reached through a proxy. `mood` says how the proxy treats connections."""

    def __init__(self) -> None:
        self.mood: Mood = "well"
        self.refused = 0
        self._origin = free_port()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._origin)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, prefix: str) -> str:
        return f"s3://{BUCKET}/{prefix}?region=us-east-1&scheme=http&endpoint_override=127.0.0.1:{self.port}"

    def ready(self) -> None:
        """Wait until it answers, and make the bucket."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self._origin), 1).close()
                break
            time.sleep(0.05)
        client = boto3.client(
            "s3",
            region_name="us-east-1",
            endpoint_url=f"http://127.0.0.1:{self._origin}",
            aws_access_key_id="made-up",
            aws_secret_access_key="made-up",
        )
        client.create_bucket(Bucket=BUCKET)
        client.close()

    def close(self) -> None:
        self._listener.close()
        self._process.kill()
        self._process.wait()

    def set(self, mood: Mood) -> None:
        """Change how it is; connections that are open are cut."""
        self.mood = mood
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        try:
            with client, suppress(OSError):
                if self.mood == "well":
                    self._forward(client)
                elif self.mood == "full":
                    client.recv(_CHUNK)
                    client.sendall(_REFUSAL)
                elif self.mood == "stalled":
                    while client.recv(_CHUNK):
                        pass
                self.refused += self.mood != "well"
        finally:
            self._open.discard(client)

    def _forward(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._origin)) as origin:
            back = threading.Thread(target=_pump, args=(origin, client), daemon=True)
            back.start()
            _pump(client, origin)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextmanager
def server() -> Iterator[Server]:
    """A server for some tests; each takes a prefix of its own."""
    one = Server()
    try:
        one.ready()
        yield one
    finally:
        one.close()

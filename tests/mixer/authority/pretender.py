"""A Rack that owns its leaf: what its stream gives to the hub is whatever it likes."""

from __future__ import annotations

import json
from typing import Any

from fluxrig.bus import UNS

from .raw_leaf import RawLeaf
from .site import until

CREATED = "2026-01-01T00:00:00Z"


class Pretender:
    """Answers for the JetStream of Rack `rack`, without having one."""

    def __init__(self, leaf: RawLeaf, rack: str) -> None:
        self._leaf = leaf
        self._rack = rack
        self._sent = 0
        self._asked: dict[str, Any] = {}

    async def be_sourced(self) -> None:
        """Register, and tell the hub that there is a stream to take from."""
        leaf, rack = self._leaf, self._rack
        for subject in (f"$JS.{rack}.API.>", f"_INBOX.{rack}.>", "$JS.FC.UNS.>"):
            leaf.subscribe(subject)
        self.register("x")
        await until(self._asked_for)
        config = self._asked["config"]
        info = {
            "type": "io.nats.jetstream.api.v1.consumer_create_response",
            "stream_name": UNS,
            "name": config["name"],
            "created": CREATED,
            "config": config,
            "delivered": {"consumer_seq": 0, "stream_seq": 0},
            "ack_floor": {"consumer_seq": 0, "stream_seq": 0},
            "num_pending": 0,
        }
        leaf.publish(self._asked["reply"], json.dumps(info).encode())
        await leaf.flushed()

    def register(self, store: str) -> None:
        request = json.dumps({"leaves": {UNS: store}, "version": "1"}).encode()
        self._leaf.publish(f"fluxrig.mixer.{self._rack}.register", request, f"_INBOX.{self._rack}.x")

    def deliver(self, subject: str, payload: bytes, headers: bytes) -> None:
        """Have the hub's stream take a message as if it were the next one of this Rack's."""
        self._sent += 1
        name, to = self._asked["config"]["name"], self._asked["config"]["deliver_subject"]
        place = f"$JS.ACK.{UNS}.{name}.1.{self._sent}.{self._sent}.{1_700_000_000_000_000_000 + self._sent}.0"
        self._leaf.publish(to, payload, f"{place}@{subject}", headers)

    def _asked_for(self) -> bool:
        for line, (subject, message) in zip(self._calls(), self._leaf.messages, strict=True):
            if subject == f"$JS.{self._rack}.API.CONSUMER.CREATE.{UNS}":
                body = json.loads(message.partition(b"\r\n\r\n")[2])
                self._asked = body | {"reply": line.split()[2]}
        return bool(self._asked)

    def _calls(self) -> list[str]:
        return [line for line in self._leaf.told if line.startswith(("LMSG ", "HMSG "))]


def header_block(**headers: str) -> bytes:
    """Give a NATS header block; `_` in a name is written as `-`."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode()

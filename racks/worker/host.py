"""The worker's side: builds the gear, and does with it what the Rack asks for."""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import socket
import sys
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

from fluxrig.errors import Fatal
from fluxrig.gear import MAX_REASON, Batch, Context, Gear, Manifest, Outputs
from fluxrig.message import FluxMsg
from racks.receipt import Receipt
from racks.worker.frames import Piece, Trouble, encode_or_say, pieces, to_error
from racks.worker.isolated import REJECTED
from racks.worker.link import Call, Link


class Host:
    """Answers the Rack's calls with one gear."""

    def __init__(self) -> None:
        self.link = Link(self._answer, settled=self._settle)
        self._gear: Gear[Any] | None = None
        self._tickets = count(1)
        self._receipts: dict[int, Receipt] = {}

    @property
    def gear(self) -> Gear[Any]:
        if self._gear is None:
            raise Fatal("there is no gear yet")
        return self._gear

    async def _answer(self, call: Call) -> Any:
        match call.method, call.arguments:
            case "build", [built]:
                return self._build(built)
            case "open", []:
                return await self.gear.open()
            case "close", []:
                return await self.gear.close()
            case "run", []:
                return await self.gear.run(self._emit)
            case "process", [port]:
                return await self._process(call, port)
        raise Fatal(f"a worker has no {call.method!r}")

    def _build(self, built: bytes) -> int:
        """Build the gear, and give how many messages it takes at a time."""
        try:
            manifest, config, context, levels = pickle.loads(built)  # noqa: S301 - from our own Rack
            _set_up_logs(*levels)
            self._gear = _make(manifest, config, context)
        except Exception as error:
            raise Fatal(f"can't be built in a worker: {type(error).__name__}: {error}") from error
        return self._gear.max_batch

    async def _process(self, call: Call, port: str) -> list[tuple[int, str]]:
        """Send what came of a batch, and give what was rejected: where it is in the batch, and why."""
        batch = tuple(call.parts.get(port, ()))
        outputs = await self.gear.process(batch, port)
        rejected, made = _rejections(outputs, batch)
        for name, messages in (*outputs.ports.items(), (REJECTED, made)):
            for piece in self._pieces(messages):
                await self.link.send("out", call.number, name, *piece)
        return rejected

    async def _emit(self, port: str, batch: Iterable[FluxMsg]) -> Receipt:
        ticket, receipt = next(self._tickets), Receipt()
        self._receipts[ticket] = receipt
        try:
            await self.link.call("emit", port, ticket, port=port, pieces=self._pieces(tuple(batch)))
        except BaseException:
            self._receipts.pop(ticket, None)
            raise
        return receipt

    def _settle(self, ticket: int, found: Trouble) -> None:
        if receipt := self._receipts.pop(ticket, None):
            receipt.settle(to_error(found) if found else None)  # type: ignore[arg-type]

    def _pieces(self, messages: Iterable[FluxMsg]) -> Iterator[Piece]:
        context = self.gear.context
        return pieces(encode_or_say(message, context) for message in messages)


def _make(manifest: Manifest, config: Any, context: Context) -> Gear[Any]:
    gear: Gear[Any] = manifest.load()(config, context)
    gc.freeze()
    return gear


def _rejections(outputs: Outputs, batch: Batch) -> tuple[list[tuple[int, str]], list[FluxMsg]]:
    """Give rejections by their place in the batch; messages that are not of it count on after its end."""
    places = {id(message): index for index, message in enumerate(batch)} if outputs.rejected else {}
    made: list[FluxMsg] = []
    rejected = []
    for message, reason in outputs.rejected:
        index = places.get(id(message))
        if index is None:
            index = len(batch) + len(made)
            made.append(message)
        rejected.append((index, str(reason)[:MAX_REASON].encode("utf-8", "backslashreplace").decode()))
    return rejected, made


async def serve(theirs: socket.socket) -> None:
    """Work until the Rack hangs up."""
    host = Host()
    await asyncio.get_running_loop().create_unix_connection(lambda: host.link, sock=theirs)
    await host.link.lost.wait()


class _Marked(logging.Formatter):
    """Marks each line with level and logger, so that the Rack logs it as its own."""

    def format(self, record: logging.LogRecord) -> str:
        lines = super().format(record).splitlines() or [""]
        return "\n".join(f"<{record.levelno}>{record.name}: {line}" for line in lines)


def _set_up_logs(general: int, ours: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Marked())
    logging.basicConfig(level=general, handlers=[handler], force=True)
    logging.getLogger("fluxrig").setLevel(ours)

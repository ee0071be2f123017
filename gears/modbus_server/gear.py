"""The gear: keeps the image up to date with what comes in, and lets clients read and write it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Final

from fluxrig.gear import ERROR_PORT, OUT, Batch, Context, Emit, Gear, Outputs
from fluxrig.message import TAGS, FluxMsg
from fluxrig.modbus.tag import Value
from gears.modbus_server.config import Config
from gears.modbus_server.image import Image, Refused
from gears.modbus_server.listener import Listener
from gears.modbus_server.outbox import Outbox
from gears.modbus_server.pdu import NAMES, WRITES
from gears.modbus_server.session import Session
from gears.modbus_server.writing import Bound

ACCOUNT: Final = "fluxrig.write/1"
"""What a gear that writes to devices says of each write."""


class ModbusServer(Gear[Config]):
    """Serves the tags of `fluxrig.tags/1` messages."""

    max_batch = 1000

    def __init__(self, config: Config, context: Context) -> None:
        super().__init__(config, context)
        self.image = Image(
            config.to_serve().values(),
            keep_last=config.when_bad == "last",
            zero_holes=config.holes == "zero",
            max_age_ns=None if config.max_age is None else round(config.max_age * 1e9),
        )
        self._bounds = {name: Bound(tag.min, tag.max) for name, tag in config.all_tags.items() if tag.write}
        self._names: dict[str, list[tuple[str, str | None]]] = defaultdict(list)
        for name, tag in config.all_tags.items():
            self._names[tag.tag or name].append((name, tag.source))
        self._by_asset = any("/" in tag for tag in self._names)
        self._outbox = Outbox(context.log)
        self._listener = Listener(
            self._serve,
            max_clients=config.max_clients,
            allow=config.allow,
            clock=context.clock,
            log=context.log,
        )

    @property
    def port(self) -> int:
        """Where it listens while it is open."""
        return self._listener.port

    async def open(self) -> None:
        await self.close()
        host, port = self.config.address
        await self._listener.open(host, port)
        self.context.log.info("serving %d tags on %s port %d", len(self.config.all_tags), host, self.port)

    async def close(self) -> None:
        await self._listener.close()

    async def run(self, emit: Emit) -> None:
        """Emit what clients write."""
        await self._outbox.run(emit)

    # --- values in --------------------------------------------------------------------------------

    async def process(self, batch: Batch, port: str) -> Outputs:
        now_ns = self.context.clock.monotonic_ns()
        for message in batch:
            if message.schema == TAGS:
                self._take(message, now_ns)
            elif message.schema == ACCOUNT:
                self._outbox.account(message.ref, message.data)
        return Outputs()

    def _take(self, message: FluxMsg, now_ns: int) -> None:
        gear, asset = message.src.rpartition("/")[2], message.uns.rpartition("/")[2]
        for tag, value in message.data.items():
            served = self._names.get(tag, [])
            if self._by_asset:
                served = served + self._names.get(f"{asset}/{tag}", [])
            for name, source in served:
                if source is None or source == gear:
                    self._update(name, value, message.meta.get(f"quality.{tag}", "good"), now_ns)

    def _update(self, name: str, value: object, quality: str, now_ns: int) -> None:
        if value is None or quality != "good":
            self.image.spoil(name, quality if quality != "good" else "null")
            return
        before = self.image.cells[name].fault
        try:
            self.image.put(name, value, now_ns)
        except ValueError as error:
            if str(error) != before:
                self.context.log.warning("%s can't be served: %s", name, error)

    # --- clients ----------------------------------------------------------------------------------

    async def _serve(self, client: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        session = Session(
            reader,
            writer,
            image=self.image,
            bounds=self._bounds,
            unit=self.config.unit,
            idle_s=self.config.idle_timeout,
            clock=self.context.clock,
            write=partial(self._write, client),
            refused=partial(self._refused, client),
        )
        return await session.serve()

    async def _write(self, client: str, values: Mapping[str, Value], function: int) -> int | None:
        """Hand on what a client wrote; give the exception that it is answered with, or None."""
        data, meta = {}, {"client": client, "function": NAMES[function]}
        for name, value in values.items():
            tag = self.config.all_tags[name]
            data[tag.tag or name] = value
            if tag.unit:
                meta[f"unit.{tag.tag or name}"] = tag.unit
        message = self.context.message(data, meta=meta)
        return await self._outbox.deliver(OUT, message, self.config.write_timeout)

    def _refused(self, client: str, function: int, refused: Refused) -> None:
        """Tell of a write that was refused; a read that is refused shows at the client."""
        self.context.log.debug("%s, function %d: exception %d, %s", client, function, refused.code, refused)
        if function in WRITES:
            detail = f"{NAMES[function]} by {client} was refused: {refused}"
            event = self.context.event("write_refused", detail, client=client, exception=refused.code)
            self._outbox.put(ERROR_PORT, event)

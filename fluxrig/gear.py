"""The gear contract: all that a gear, ours or a third party's, has to know.

A gear changes messages (`process`), makes them (`run`), or both. The engine in `racks` decides when each is
called, what waits and what happens after a failure; a gear says what it needs through `fluxrig.errors`.
`fluxrig.testing.check_gear` holds any gear to this contract.
"""

from __future__ import annotations

import importlib
import logging
from abc import ABC
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, Self, TypeAlias, TypeVar, cast

from pydantic import BaseModel, ConfigDict

from fluxrig.clock import Clock, SystemClock
from fluxrig.codec import encode
from fluxrig.errors import BadMessage, EncodeError
from fluxrig.message import ERROR, EVENT, TAGS, FluxMsg, new_id

Batch: TypeAlias = tuple[FluxMsg, ...]

OUT = "out"
IN = "in"
ERROR_PORT = "error"

MAX_REJECTED_BYTES = 256 << 10
MAX_REASON = 1024


class GearConfig(BaseModel):
    """Base of every gear's configuration: strict, immutable, documented by its own docstrings."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def clashes(self, other: Self, name: str, *, apart: bool) -> Iterable[tuple[str, str]]:
        """Give what can't be beside another gear of the kind in one Rack: a key, and what to do about it.

        The other gear stands before this one in the file, and is called `name`; `apart` says that the two do
        not run in the same process.
        """
        return ()


C = TypeVar("C", bound=GearConfig)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of a kind of gear without importing its driver."""

    kind: str
    """The name used in Rack files; the folder's name."""
    summary: str
    """One line for `fluxrig gears`."""
    config: type[GearConfig]
    gear: str
    """Where the class is: `gears.io_modbus.gear:IoModbus`. Imported only when a Rack builds the gear."""
    inputs: tuple[str, ...] = ()
    """Input ports; none for a pure source."""
    outputs: tuple[str, ...] = (OUT,)
    """Output ports; none for a sink. Every gear has `error` besides."""
    source: bool = False
    """Whether it makes messages by itself, that is, has a `run`."""

    def load(self) -> type[Gear[Any]]:
        """Import the gear's class, and with it its driver."""
        module, _, name = self.gear.partition(":")
        return cast("type[Gear[Any]]", getattr(importlib.import_module(module), name))


@dataclass(frozen=True, slots=True)
class Context:
    """What a gear is given besides its configuration."""

    rack: str
    gear: str
    uns: str
    """The UNS path of the asset the gear stands for: the Rack's path and the gear's own."""
    clock: Clock = field(default_factory=SystemClock)
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("fluxrig.gear"))

    @property
    def src(self) -> str:
        return f"{self.rack}/{self.gear}"

    def message(
        self,
        data: Mapping[str, Any],
        *,
        schema: str = TAGS,
        meta: Mapping[str, str] | None = None,
        ts: int | None = None,
        uns: str | None = None,
        **fields: Any,
    ) -> FluxMsg:
        """Make a message of this gear: by default true now, of the gear's own asset, with a new UUIDv7."""
        now = self.clock.now_ns()
        return FluxMsg(
            id=fields.pop("id", None) or new_id(now),
            ts=now if ts is None else ts,
            src=self.src,
            uns=uns or self.uns,
            schema=schema,
            data=data,
            meta=meta,
            **fields,
        )

    def event(self, event: str, detail: str, **data: Any) -> FluxMsg:
        """Make a `fluxrig.event/1`: something worth knowing that is no reading."""
        return self.message({"event": event, "detail": detail, **data}, schema=EVENT)

    def rejection(self, message: FluxMsg, reason: str) -> FluxMsg:
        """Make the `fluxrig.error/1` that carries a message no gear could take, with the reason.

        `raw` is the message as encoded, cut at MAX_REJECTED_BYTES; a message that has no encoding is shown
        as Python prints it. `meta.raw` says so where `raw` is not the whole message.
        """
        try:
            raw, form = encode(message), "whole"
        except EncodeError:
            raw, form = repr(message.fields).encode("utf-8", "backslashreplace"), "printed"
        if len(raw) > MAX_REJECTED_BYTES:
            raw, form = raw[:MAX_REJECTED_BYTES], f"{form}, cut from {len(raw)} bytes"
        return self.message(
            {"reason": reason[:MAX_REASON], "src": message.src, "schema": message.schema},
            schema=ERROR,
            meta=None if form == "whole" else {"raw": form},
            uns=message.uns,
            ref=message.id,
            raw=raw,
        )


class Outputs:
    """What came of one batch: messages by port, and messages that could not be taken, with the reason."""

    __slots__ = ("ports", "rejected")

    def __init__(self, out: Iterable[FluxMsg] = ()) -> None:
        self.ports: dict[str, list[FluxMsg]] = {OUT: list(out)}
        self.rejected: list[tuple[FluxMsg, str]] = []

    def add(self, message: FluxMsg, port: str = OUT) -> None:
        self.ports.setdefault(port, []).append(message)

    def reject(self, message: FluxMsg, reason: str) -> None:
        self.rejected.append((message, reason))

    @classmethod
    def each(cls, batch: Batch, step: Callable[[FluxMsg], FluxMsg | None]) -> Outputs:
        """Apply `step` to each message: None filters it, BadMessage rejects it alone."""
        outputs = cls()
        out = outputs.ports[OUT]
        for message in batch:
            try:
                result = step(message)
            except BadMessage as error:
                outputs.reject(message, str(error))
            else:
                if result is not None:
                    out.append(result)
        return outputs


Receipt: TypeAlias = Awaitable[None]
"""Resolves when all that came of an emitted batch is stored or filtered on purpose; raises what failed."""


class Emit(Protocol):
    """How a source hands on what it has."""

    async def __call__(self, port: str, batch: Iterable[FluxMsg]) -> Receipt:
        """Wait until every wire of the port has room, hand the batch over, and give its receipt."""


class Gear(ABC, Generic[C]):
    """Base of all gears. Subclasses override what they need; `__init__` does no I/O."""

    max_batch: ClassVar[int] = 0
    """Up to how many waiting messages the engine may join into one `process` call; 0: none."""

    def __init__(self, config: C, context: Context) -> None:
        self.config = config
        self.context = context

    async def open(self) -> None:
        """Connect. `NotReady` asks to be called again; `Fatal` gives up."""

    async def close(self) -> None:
        """Release everything. Called twice is fine, also after an `open` that failed."""

    async def run(self, emit: Emit) -> None:
        """Make messages until cancelled. Returning, or `EndOfStream`, says that no more will come."""

    async def process(self, batch: Batch, port: str) -> Outputs:
        """Take a batch that came in on `port` and give what came of it.

        All or nothing: a call that raises has kept no trace of the batch, so the engine may offer it again.
        """
        raise NotImplementedError(f"{type(self).__name__} has no input {port!r} ({len(batch)} messages)")

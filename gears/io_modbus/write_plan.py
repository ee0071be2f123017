"""Values to the requests that write them: in order, and in one where they stand side by side. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fluxrig.message import FluxMsg
from fluxrig.modbus.address import Span
from fluxrig.modbus.encode import WHOLE, Encoded
from fluxrig.modbus.pdu import (
    MAX_WRITE_BITS,
    MAX_WRITE_REGISTERS,
    Request,
    mask_write,
    write_coil,
    write_coils,
    write_register,
    write_registers,
)
from fluxrig.modbus.plan import LAWFUL, Limits
from fluxrig.modbus.tag import Tag


@dataclass(frozen=True, slots=True)
class Wish:
    """A value that a message asks to be written."""

    message: FluxMsg
    tag: Tag
    value: Any
    encoded: Encoded
    read_back: bool

    @property
    def partial(self) -> bool:
        """Whether it writes only a part of a register."""
        return self.encoded.mask != WHOLE

    def collides(self, other: Wish) -> bool:
        """Whether the two write the same bits."""
        return self.tag.span.meets(other.tag.span) and bool(self.encoded.mask & other.encoded.mask)


@dataclass(frozen=True, slots=True)
class Write:
    """One request, and the wishes that it fulfils."""

    span: Span
    wishes: tuple[Wish, ...]
    request: Request
    single: bool

    @property
    def partial(self) -> bool:
        """Whether it writes only a part of a register."""
        return self.wishes[0].partial

    def whole(self, old: bytes) -> Request:
        """Give the request that writes the register whole, the rest of it as it was."""
        mask, bits = _merged(self.wishes)
        payload = (int.from_bytes(old) & ~mask | bits & mask).to_bytes(2)
        write = write_register if self.single else write_registers
        return write(self.span.start, payload)


def plan_writes(wishes: Iterable[Wish], *, single: bool, limits: Limits = LAWFUL) -> Iterator[Write]:
    """Give the requests that fulfil wishes for one unit. What is asked twice is written twice, in order."""
    for round_ in _rounds(wishes):
        runs: list[list[Wish]] = []
        for wish in sorted(round_, key=lambda wish: (wish.tag.at.table, wish.tag.start, not wish.partial)):
            if runs and _joins(runs[-1], wish, limits):
                runs[-1].append(wish)
            else:
                runs.append([wish])
        yield from (_write(run, single=single) for run in runs)


def _rounds(wishes: Iterable[Wish]) -> Iterator[list[Wish]]:
    """Part wishes where one would undo another, or touches registers that the other shares."""
    present: list[Wish] = []
    for wish in wishes:
        shared = any(
            wish.tag.span.meets(other.tag.span) and (wish.collides(other) or wish.partial != other.partial)
            for other in present
        )
        if shared:
            yield present
            present = []
        present.append(wish)
    if present:
        yield present


def _joins(run: Sequence[Wish], wish: Wish, limits: Limits) -> bool:
    first, last = run[0].tag, run[-1].tag
    if wish.tag.at.table != first.at.table or wish.partial != run[0].partial:
        return False
    if wish.partial:
        return wish.tag.start == first.start
    most = MAX_WRITE_BITS if first.at.table == "coil" else MAX_WRITE_REGISTERS
    limit = min(most, limits.of(first.at.table))
    return wish.tag.start == last.end and wish.tag.end - first.start <= limit


def _write(run: Sequence[Wish], *, single: bool) -> Write:
    span = Span(run[0].tag.at.table, run[0].tag.start, run[-1].tag.end)
    return Write(span, tuple(run), _request(run, span, single=single), single)


def _merged(wishes: Iterable[Wish]) -> tuple[int, int]:
    """Give which bits of a register are written, and as what."""
    mask = bits = 0
    for wish in wishes:
        mask |= wish.encoded.mask
        bits |= int.from_bytes(wish.encoded.payload)
    return mask, bits


def _request(run: Sequence[Wish], span: Span, *, single: bool) -> Request:
    one = single and span.end - span.start == 1
    if span.table == "coil":
        bits = [bool(wish.encoded.payload[0]) for wish in run]
        return write_coil(span.start, bits[0]) if one else write_coils(span.start, bits)
    if run[0].partial:
        mask, merged = _merged(run)
        return mask_write(span.start, merged.to_bytes(2), mask)
    payload = b"".join(wish.encoded.payload for wish in run)
    return write_register(span.start, payload) if one else write_registers(span.start, payload)

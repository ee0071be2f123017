"""The registers and coils of all servers as they were last seen, and what changes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from fluxrig.modbus.tag import Value
from gears.network_sniffer.change import Change
from gears.network_sniffer.devices import Device, Devices, tag_value
from gears.network_sniffer.exchange import Gist, Shown
from gears.network_sniffer.flow import Flow

MAX_BLOCKS: Final = 64
"""Reads of one table that are remembered as a whole, to see quickly that nothing changed."""
IMAGE_COST: Final = 64
"""What a table costs besides its values, in values."""

Key: TypeAlias = tuple[str, int, str]
"""Server, unit, table."""


class Image:
    """One table of one unit of one server."""

    __slots__ = ("blocks", "covered", "device", "named", "tags", "values")

    def __init__(self, device: Device | None, table: str) -> None:
        self.values: dict[int, int] = {}
        self.blocks: dict[int, Sequence[int]] = {}
        """Reads as a whole, by address, that say nothing but what `values` says."""
        self.device = device
        self.tags = device.tables.get(table, ()) if device else ()
        self.named: dict[str, Value] = {}
        self.covered = frozenset(at for tag in self.tags for at in range(tag.tag.start, tag.tag.end))

    def remember(self, address: int, values: Sequence[int]) -> int:
        """Remember what was seen at an address as a whole; give how many more values are held for that."""
        released = 0
        if address in self.blocks:
            released = len(self.blocks[address])
        elif len(self.blocks) >= MAX_BLOCKS:
            released = sum(map(len, self.blocks.values()))
            self.blocks.clear()
        self.blocks[address] = values
        return len(values) - released

    def outdate(self, first: int, last: int) -> int:
        """Forget reads that show values between two addresses; give how many fewer values are held."""
        blocks = self.blocks
        stale = [at for at, values in blocks.items() if at <= last and first < at + len(values)]
        return sum(len(blocks.pop(at)) for at in stale)

    @property
    def held(self) -> int:
        return IMAGE_COST + len(self.values) + sum(map(len, self.blocks.values()))


class Values:
    """All tables of all servers, bounded: then the tables that were met first are forgotten."""

    def __init__(self, limit: int, devices: Devices) -> None:
        self.held = 0
        """Values that are kept, each register as seen and as part of a read."""
        self._limit = limit
        self._devices = devices
        self._images: dict[Key, Image] = {}

    def changes(self, flow: Flow, gist: Gist) -> Sequence[Change]:
        """Take an exchange that went well and whose pairing is certain; give what it changed, or showed."""
        changes: Sequence[Change] = ()
        if gist.writing is not None:
            changes = self._shown(flow, gist.place[0], gist.writing, "write")
        elif "write" in gist.fields:
            changes = self._masked(flow, gist.fields["target"], gist.fields["write"])
        if gist.reading is not None and (seen := self._shown(flow, gist.place[0], gist.reading, "read")):
            changes = [*changes, *seen]
        return changes

    def _shown(self, flow: Flow, unit: int, shown: Shown, cause: str) -> Sequence[Change]:
        table, address, values = shown
        if table not in flow.traits.tables:
            return ()
        image = self._image(flow, unit, table)
        known = image.blocks.get(address)
        if known is values or known == values:
            return ()
        return self._see(image, table, address, values, cause)

    def _masked(self, flow: Flow, target: Mapping[str, Any], write: Mapping[str, Any]) -> Sequence[Change]:
        """Take a write of some bits of a register: what becomes of it is known only if it was seen before."""
        address, table = target.get("address"), target.get("table")
        if address is None or "and_mask" not in write or table not in flow.traits.tables:
            return ()
        image = self._image(flow, target["unit"], table)
        if address not in image.values:
            return ()
        kept = image.values[address] & write["and_mask"]
        value = kept | (write["or_mask"] & ~write["and_mask"] & 0xFFFF)
        return self._see(image, table, address, [value], "write")

    def _see(self, image: Image, table: str, address: int, values: Sequence[int], cause: str) -> list[Change]:
        known, before, changes = image.values, len(image.values), []
        places = range(address, address + len(values))
        olds = list(map(known.get, places))
        if olds != values:
            changed = [at for at, old, value in zip(places, olds, values, strict=True) if old != value]
            for at in changed:
                old, value = olds[at - address], values[at - address]
                known[at] = value
                if old is not None and at not in image.covered:
                    changes.append(Change(table, at, old, value, cause))
            self.held -= image.outdate(changed[0], changed[-1])
        if image.tags:
            changes += self._name(image, table, address, values, cause)
        self.held += len(known) - before + image.remember(address, values)
        if self.held > self._limit:
            self._forget(image)
        return changes

    def _name(
        self, image: Image, table: str, start: int, values: Sequence[int], cause: str
    ) -> Iterator[Change]:
        """Give the tags that changed. Only what one exchange shows whole has a value: halves may not fit."""
        end = start + len(values)
        for named in image.tags:
            tag = named.tag
            if tag.start < start or tag.end > end:
                continue
            new, old = tag_value(tag, values, start), image.named.get(tag.name)
            if new is not None and new != old:
                image.named[tag.name] = new
                yield Change(table, tag.start, old, new, cause, named, image.device)

    def _image(self, flow: Flow, unit: int, table: str) -> Image:
        key = flow.server_key, unit, table
        image = self._images.get(key)
        if image is None:
            image = self._images[key] = Image(self._devices.get((*flow.server, unit)), table)
            self.held += IMAGE_COST
        return image

    def _forget(self, spared: Image) -> None:
        """Make room: the tables met first go, and what they held is met anew."""
        for key, image in list(self._images.items()):
            if self.held <= self._limit * 3 // 4:
                break
            if image is not spared:
                del self._images[key]
                self.held -= image.held

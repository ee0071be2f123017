"""One device with all that was said of it: in the gear, in its profile, in its tag list. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, Final

from fluxrig.modbus.address import Span
from fluxrig.modbus.plan import Block, Limits, plan
from fluxrig.modbus.tag import Tag
from fluxrig.modbus.tag_config import MAX_TAGS, fault
from fluxrig.modbus.tag_file import at_tag, in_file
from fluxrig.modbus.value_type import PART_TYPES, named
from fluxrig.modbus.wholes import Found, Loc
from gears.io_modbus.polled_tag import PolledTag

if TYPE_CHECKING:
    from gears.io_modbus.config import Config, DeviceConfig

_OWN: Final = frozenset({"tags", "tag_list", "profile", "unit", "devices"})
"""What a device does not take over from the gear above it."""
_WITH_TAGS: Final = frozenset({"tags", "tag_list", "profile", "devices"})


@dataclass(frozen=True)
class Device:
    """What to do with one unit. Times are in seconds."""

    name: str
    unit: int
    settings: DeviceConfig
    tags: Mapping[str, PolledTag]
    decoded: Mapping[str, Tag]
    """The tags as planner and decoder take them, by name."""
    forbidden: tuple[Span, ...]

    @property
    def limits(self) -> Limits:
        return Limits(self.settings.max_registers, self.settings.max_bits)

    def intervals(self) -> dict[float, list[Tag]]:
        """Give the tags by how often they are read, the most frequent first."""
        groups: dict[float, list[Tag]] = {}
        for name, config in self.tags.items():
            groups.setdefault(config.every or self.settings.every, []).append(self.decoded[name])
        return dict(sorted(groups.items()))

    def plan(self, tags: Iterable[Tag]) -> tuple[Block, ...]:
        """Give the requests that read these of its tags."""
        groups = [[tag] for tag in tags] if self.settings.request_per_tag else [tags]
        blocks = (plan(group, self.settings.max_hole, self.limits, self.forbidden) for group in groups)
        return tuple(chain.from_iterable(blocks))


def settings_of(config: Config, name: str) -> DeviceConfig:
    """Give a device's settings: its own before its profile's, these before the gear's."""
    own: DeviceConfig = config.devices[name] if name else config
    values: dict[str, Any] = _said(config) if name else {}
    if own.profile is not None:
        values |= {key: value for key, value in _said(own.profile.content).items() if key != "tags"}
    values |= _said(own)
    return own.model_copy(update={key: value for key, value in values.items() if key not in _OWN})


def _said(part: Any) -> dict[str, Any]:
    return {key: getattr(part, key) for key in part.model_fields_set if key not in _OWN}


def device_of(config: Config, name: str) -> Device:
    """Give a device of a configuration that is without fault."""
    settings, tags = settings_of(config, name), dict[str, PolledTag]()
    for _, part in _sources(config.devices[name] if name else config):
        tags |= part
    base = settings.address_base
    decoded = {tag_name: tag.to_tag(tag_name, base) for tag_name, tag in tags.items()}
    forbidden = tuple(span.based(base) for span in settings.forbidden)
    return Device(name, settings.unit, settings, tags, decoded, forbidden)


def _sources(own: DeviceConfig) -> Iterator[tuple[str, Mapping[str, PolledTag]]]:
    """Give the tags by where they were said; a later one goes before an earlier one of the same name."""
    if own.profile is not None:
        yield "profile", own.profile.content.tags
    if own.tag_list is not None:
        yield "tag_list", own.tag_list.tags
    yield "tags", own.tags


# --- what is wrong ----------------------------------------------------------------------------------


def faults(config: Config, lacking: Sequence[Loc] = ()) -> list[Found]:
    """Give what is wrong with the devices as wholes, and where.

    `lacking` is what the configuration had to be parted from, as it was wrong in itself, maybe its tags.
    """
    found = [each for name in config.unit_names() for each in _Check(config, name, lacking).faults()]
    return [*found, *_same_units(config)]


def _same_units(config: Config) -> Iterator[Found]:
    seen: dict[int, str] = {config.unit: ""} if "" in config.unit_names() else {}
    for name, device in config.devices.items():
        if device.unit in seen:
            other = f"the device {seen[device.unit]!r}" if seen[device.unit] else "the gear itself"
            reason = f"{name!r} has unit {device.unit}, which is {other}; give it its own unit"
            yield ("devices", name), fault(reason)
        seen.setdefault(device.unit, name)


class _Check:
    """Checks one device."""

    def __init__(self, config: Config, name: str, lacking: Sequence[Loc]) -> None:
        self._endpoints = config.endpoints
        self._own: DeviceConfig = config.devices[name] if name else config
        self._settings = settings_of(config, name)
        self._loc: Loc = ("devices", name) if name else ()
        self._lacks_tags = any(map(self._may_have_tags, lacking))
        self._where: dict[str, str] = {}

    def _may_have_tags(self, loc: Loc) -> bool:
        own = loc[: len(self._loc)] == self._loc
        return own and (len(loc) == len(self._loc) or loc[len(self._loc)] in _WITH_TAGS)

    def faults(self) -> Iterator[Found]:
        named: dict[str, PolledTag] = {}
        for source, tags in _sources(self._own):
            named |= tags
            self._where |= dict.fromkeys(tags, source)
        bad_lines = self._own.tag_list.faults if self._own.tag_list else ()
        if bad_lines:
            yield (*self._loc, "tag_list"), in_file(bad_lines)
        elif not named and not self._lacks_tags:
            yield self._loc, fault("there are no tags; give tags, a tag_list or a profile with tags")
        if len(named) > MAX_TAGS:
            yield (
                self._loc,
                fault(f"{len(named):,} tags are more than the {MAX_TAGS:,} that a device may have"),
            )
        yield from self._unit_faults()
        closed = list(self._closed())
        yield from (found for found in closed if not isinstance(found, Span))
        spans = [span for span in closed if isinstance(span, Span)]
        tags_at: list[tuple[Tag, PolledTag]] = []
        for name, tag in named.items():
            try:
                made = tag.to_tag(name, self._settings.address_base)
            except ValueError as error:
                yield self._fault(name, str(error), at=True)
            else:
                tags_at.append((made, tag))
                yield from self._tag_faults(made, spans)
        yield from self._overlaps(tags_at)

    def _unit_faults(self) -> Iterator[Found]:
        """A serial line has no unit 0: what is sent there is for all, and nobody answers (V1.02, §2.1)."""
        if self._settings.unit == 0 and any(each.framing != "mbap" for each in self._endpoints):
            reason = (
                "unit 0 is every device of a serial line at once, and none answers; write its own, 1 to 247"
            )
            yield (*self._loc, "unit"), fault(reason)

    def _closed(self) -> Iterator[Span | Found]:
        for index, span in enumerate(self._settings.forbidden):
            try:
                yield span.based(self._settings.address_base)
            except ValueError as error:
                yield (*self._loc, "forbidden", index), fault(str(error))

    def _tag_faults(self, tag: Tag, closed: Iterable[Span]) -> Iterator[Found]:
        limits = Limits(self._settings.max_registers, self._settings.max_bits)
        if tag.size > limits.of(tag.at.table):
            yield self._fault(
                tag.name,
                f"{named(tag.type)} takes {tag.size} registers, but one request may read {limits.registers}; "
                "raise max_registers",
            )
        for span in closed:
            if span.meets(tag.span):
                yield self._fault(tag.name, f"{tag.at} is in the forbidden range {span}; remove one of them")

    def _overlaps(self, tags: list[tuple[Tag, PolledTag]]) -> Iterator[Found]:
        """Tags that take the same registers in part are a slip, as a float32 at each register is."""
        order = sorted(
            (each for each in tags if not each[1].overlap and each[0].type not in PART_TYPES),
            key=lambda each: (each[0].at.table, each[0].start, each[0].end),
        )
        reach: Tag | None = None
        for (one, _), (two, _) in pairwise(order):
            if reach is None or reach.at.table != one.at.table or one.end > reach.end:
                reach = one
            if two.span.meets(reach.span) and two.span != reach.span:
                yield self._fault(
                    two.name,
                    f"the {two.type} at {two.span} overlaps {reach.name!r}, {named(reach.type)} at "
                    f"{reach.span}; mend the address or the type, or write overlap: true where it is meant",
                )

    def _fault(self, name: str, reason: str, *, at: bool = False) -> Found:
        """Say it where the tag is written: here, or in the file that it comes from."""
        source = self._where[name]
        if source == "tags":
            return (*self._loc, "tags", name, *(("at",) if at else ())), fault(reason)
        part = self._own.profile if source == "profile" else self._own.tag_list
        assert part is not None  # noqa: S101 - the tag came from it
        return (*self._loc, source), at_tag(part, name, reason)

"""The tags of a device that are read together, and what their consumers are told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fluxrig.gear import Context
from fluxrig.message import FluxMsg
from fluxrig.modbus.quality import GOOD, STALE, bad
from fluxrig.modbus.tag import Tag, Value
from gears.io_modbus.device import Device
from gears.io_modbus.poll import Poller, Reading, Readings
from gears.io_modbus.punctuality import Punctuality
from gears.io_modbus.schedule import Schedule

STALE_INTERVALS: Final = 3


class Group:
    """Makes messages of readings. A tag's quality is told when it changes, and as long as it is not good."""

    def __init__(self, device: Device, every_s: float, tags: Sequence[Tag], context: Context) -> None:
        self.device = device
        self.every_s = every_s
        self.poller = Poller(tags, device.plan)
        self.schedule: Schedule | None = None
        self.since_start = Punctuality()
        self._since_report = Punctuality()
        self.told_ns = 0
        """When the consumers heard last of these tags, on a clock that never steps."""
        self.told_away = False
        self._told_stale = False
        self._context = context
        self._uns = f"{context.uns}/{device.name}" if device.name else None
        self._names = tuple(tag.name for tag in tags)
        units = ((name, device.tags[name].unit) for name in self._names)
        self._units = {f"unit.{name}": unit for name, unit in units if unit}
        self._quality: dict[str, str] = {}

    @property
    def stale_after_s(self) -> float:
        settings = self.device.settings
        return settings.stale_after or max(STALE_INTERVALS * self.every_s, settings.response_timeout)

    def note_on_time(self, late_s: float) -> None:
        """Note a poll that was waited for, and how late it began."""
        self.since_start.on_time(late_s)
        self._since_report.on_time(late_s)

    def note_overrun(self, skipped: int) -> None:
        """Note a poll whose tick had passed, after so many ticks without any."""
        self.since_start.overrun(skipped)
        self._since_report.overrun(skipped)

    def take_punctuality(self) -> Punctuality:
        """Give what was noted since this was asked last."""
        taken, self._since_report = self._since_report, Punctuality()
        return taken

    def messages(self, readings: Readings, now_ns: int, *, split: bool) -> list[FluxMsg]:
        """Give one message with all of a poll, or one for each request and one for what has no value."""
        self.told_ns, self.told_away, self._told_stale = now_ns, False, False
        if not split:
            return [self._message(self._names, readings.values, readings.reasons, readings.requests)]
        messages = [
            self._message((*each.values, *each.reasons), each.values, each.reasons, [each])
            for each in readings.requests
        ]
        seen = {name for each in readings.requests for name in each.reasons}
        if rest := {name: reason for name, reason in readings.reasons.items() if name not in seen}:
            messages.append(self._message(tuple(rest), {}, rest, ()))
        return messages

    def away(self, reason: str, now_ns: int) -> FluxMsg:
        """Give the message that says that no tag can be read."""
        self.told_ns, self.told_away = now_ns, True
        return self._message(self._names, {}, dict.fromkeys(self._names, reason), ())

    def stale(self, now_ns: int) -> FluxMsg | None:
        """Give the message that says that nothing was heard for too long, once."""
        if (
            self.told_away
            or self._told_stale
            or not self.told_ns
            or now_ns - self.told_ns < self.stale_after_s * 1e9
        ):
            return None
        self._told_stale = True
        return self._message(self._names, {}, dict.fromkeys(self._names, STALE), ())

    def _message(
        self,
        names: Sequence[str],
        values: Mapping[str, Value],
        reasons: Mapping[str, str],
        requests: Sequence[Reading],
    ) -> FluxMsg:
        data = {name: values.get(name) for name in names}
        meta = {**self._units, **_timing(requests)}
        if reasons or self._quality:
            meta |= self._qualities(values, reasons)
        ts = max((each.answered_ns for each in requests), default=None)
        return self._context.message(data, meta=meta, ts=ts, uns=self._uns)

    def _qualities(self, values: Mapping[str, Value], reasons: Mapping[str, str]) -> dict[str, str]:
        """Give what is not good, and what is good again."""
        told = {name: STALE if reason == STALE else bad(reason) for name, reason in reasons.items()}
        back = {name: GOOD for name in values if name in self._quality and name not in told}
        self._quality = {name: text for name, text in self._quality.items() if name not in back} | told
        return {f"quality.{name}": text for name, text in (told | back).items()}


def _timing(requests: Sequence[Reading]) -> dict[str, str]:
    """Give how long the slowest answer took, and how much older than the message its oldest value may be."""
    if not requests:
        return {}
    slowest = max(each.answered_ns - each.sent_ns for each in requests)
    timing = {"latency_ms": f"{slowest / 1e6:.3f}"}
    if len(requests) > 1:
        timing["spread_ms"] = f"{(requests[-1].answered_ns - requests[0].answered_ns) / 1e6:.3f}"
    return timing

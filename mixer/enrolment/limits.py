"""How much anyone may ask of the enrolment server, and how much all together. All tables are bounded."""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Final

from fluxrig.clock import Clock, SystemClock

_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and then so many a second."""

    burst: float
    per_s: float


@dataclass(frozen=True, slots=True)
class Limits:
    """Connections open, connections made, and tries by strangers: of one address, and in all."""

    open_each: int = 16
    open_all: int = 64
    made_each: Rate = Rate(40, 20)
    made_all: Rate = Rate(200, 100)
    strange_each: Rate = Rate(5, 1 / 15)
    strange_all: Rate = Rate(100, 2)


class Buckets:
    """Token buckets by name. Of those that were not used for long the oldest are forgotten when full."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def level(self, name: str) -> float:
        """Give how many more `name` may take now."""
        level, at_ns = self._levels.get(name, (self._rate.burst, self._clock.monotonic_ns()))
        passed_s = (self._clock.monotonic_ns() - at_ns) / 1e9
        return min(self._rate.burst, level + passed_s * self._rate.per_s)

    def take(self, name: str) -> bool:
        """Take one, or give False when there is none."""
        level = self.level(name)
        taken = level >= 1
        self._levels[name] = (level - taken, self._clock.monotonic_ns())
        self._levels.move_to_end(name)
        if len(self._levels) > _REMEMBERED:
            self._levels.popitem(last=False)
        return taken

    def wait_s(self, name: str) -> float:
        """Give how long until one can be taken."""
        return max(0.0, (1 - self.level(name)) / self._rate.per_s)


class Gate:
    """Counts who comes and goes. An IPv6 address stands for its /64, which is what one site has."""

    def __init__(self, limits: Limits = Limits(), clock: Clock | None = None) -> None:
        clock = clock or SystemClock()
        self._limits = limits
        self._open: Counter[str] = Counter()
        self._made_each, self._made_all = Buckets(limits.made_each, clock), Buckets(limits.made_all, clock)
        self._strange_each = Buckets(limits.strange_each, clock)
        self._strange_all = Buckets(limits.strange_all, clock)

    def enter(self, address: str) -> str:
        """Count a connection in and give ""; or say why it must go."""
        name = _name(address)
        if self._strange_each.level(name) < 1:
            return f"too many failed tries; the next in {self._strange_each.wait_s(name):.0f} s"
        if self._open[name] >= self._limits.open_each or self._open.total() >= self._limits.open_all:
            return "too many connections at once"
        if not self._made_each.take(name) or not self._made_all.take(""):
            return "too many connections a second"
        self._open[name] += 1
        return ""

    def leave(self, address: str) -> None:
        name = _name(address)
        self._open[name] -= 1
        if self._open[name] <= 0:
            del self._open[name]

    def strange(self, address: str) -> None:
        """Count a try by somebody who showed nothing that is known here."""
        self._strange_each.take(_name(address))
        self._strange_all.take("")

    def strangers_wait_s(self) -> float:
        """Give how long those who must show a join token have to wait, because too many failed everywhere."""
        return self._strange_all.wait_s("")


def _name(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
    return address

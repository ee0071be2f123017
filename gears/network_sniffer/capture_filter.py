"""Capture filters in the words of pcap-filter(7): the forms that pick hosts, networks, ports and protocols.

One expression becomes a predicate on connections, for files, and a classic BPF program for the kernel (see
`bpf`). No libpcap is needed, so a live capture works on a machine that has nothing but Python.

    expression = term {"or" term}            term   = factor {"and" factor}
    factor     = "not" factor | "(" expression ")" | primitive
    primitive  = [direction] ["host"] ADDRESS | [direction] "net" NETWORK
               | ["tcp" | "udp"] [direction] ("port" N | "portrange" N-M) | "tcp" | "udp" | "ip" | "ip6"
    direction  = "src" | "dst"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, Literal, TypeAlias, TypeVar

Direction: TypeAlias = Literal["src", "dst", "either"]
Network: TypeAlias = IPv4Network | IPv6Network
T = TypeVar("T")

MAX_LENGTH: Final = 2000
MAX_DEPTH: Final = 32

TRANSPORTS: Final = {"tcp": 6, "udp": 17}
_WORDS: Final = (
    "tcp",
    "udp",
    "ip",
    "ip6",
    "src",
    "dst",
    "host",
    "net",
    "port",
    "portrange",
    "and",
    "or",
    "not",
)


@dataclass(frozen=True, slots=True)
class Ports:
    """A port from `low` to `high`, both included."""

    direction: Direction
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Address:
    """An address in a network; a host is a network of one."""

    direction: Direction
    network: Network


@dataclass(frozen=True, slots=True)
class Version:
    """An IP version."""

    number: int


@dataclass(frozen=True, slots=True)
class Transport:
    """A transport protocol, by its number: TCP or UDP."""

    number: int


@dataclass(frozen=True, slots=True)
class Every:
    """All TCP and UDP."""


@dataclass(frozen=True, slots=True)
class Both:
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Either:
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Not:
    inner: Expression


Expression: TypeAlias = Ports | Address | Version | Transport | Every | Both | Either | Not


def parse_filter(text: str) -> Expression:
    """Parse an expression; an empty one takes all TCP and UDP. Raises ValueError that says what is wrong."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"the filter is longer than {MAX_LENGTH} characters")
    words = re.findall(r"[()!]|&&|\|\||[^\s()!]+", text)
    if not words:
        return Every()
    parser = _Parser(words)
    expression = parser.expression(0)
    if parser.word:
        raise parser.fault("'and' or 'or'")
    return expression


class _Parser:
    """Recursive descent over the words of an expression."""

    def __init__(self, words: list[str]) -> None:
        self._words = [{"&&": "and", "||": "or", "!": "not"}.get(word, word) for word in words]
        self._at = 0

    @property
    def word(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else ""

    def fault(self, wanted: str) -> ValueError:
        found = f"found {self.word!r}" if self.word else "found its end"
        return ValueError(
            f"in the filter: expected {wanted}, {found}; an example: tcp port 502 and host 10.0.0.5"
        )

    def take(self, *choices: str) -> str:
        """Take the next word if it is one of `choices`, else nothing."""
        word = self.word
        if word not in choices:
            return ""
        self._at += 1
        return word

    def expression(self, depth: int) -> Expression:
        left = self._term(depth)
        while self.take("or"):
            left = Either(left, self._term(depth))
        return left

    def _term(self, depth: int) -> Expression:
        left = self._factor(depth)
        while self.take("and"):
            left = Both(left, self._factor(depth))
        return left

    def _factor(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise ValueError(f"the filter is nested deeper than {MAX_DEPTH}")
        if self.take("not"):
            return Not(self._factor(depth + 1))
        if self.take("("):
            inner = self.expression(depth + 1)
            if not self.take(")"):
                raise self.fault("')'")
            return inner
        return self._primitive()

    def _primitive(self) -> Expression:
        protocol = self.take("tcp", "udp", "ip", "ip6")
        transport = Transport(TRANSPORTS[protocol]) if protocol in TRANSPORTS else None
        direction = self._direction()
        kind = self.take("port", "portrange") if transport or not protocol else ""
        if kind:
            ports = self._ports(direction, is_range=kind == "portrange")
            return Both(transport, ports) if transport else ports
        if protocol and direction == "either":
            return transport or Version(4 if protocol == "ip" else 6)
        if self.take("net"):
            return Address(direction, self._network("a network such as 10.0.0.0/8"))
        self.take("host")
        return Address(direction, self._network("a port, a host or a net"))

    def _direction(self) -> Direction:
        word = self.take("src", "dst")
        return "src" if word == "src" else "dst" if word == "dst" else "either"

    def _ports(self, direction: Direction, *, is_range: bool) -> Ports:
        match = re.fullmatch(r"(\d{1,5})-(\d{1,5})" if is_range else r"(\d{1,5})", self.word)
        if not match or not 0 <= int(match[1]) <= int(match[match.lastindex or 1]) <= 65_535:
            raise self.fault("a range such as 500-510" if is_range else "a port from 0 to 65535")
        self._at += 1
        return Ports(direction, int(match[1]), int(match[match.lastindex or 1]))

    def _network(self, wanted: str) -> Network:
        if not self.word or self.word in _WORDS:
            raise self.fault(wanted)
        try:
            network = ip_network(self.word, strict=False)
        except ValueError:
            raise self.fault(wanted) from None
        self._at += 1
        return network


def accepts(expression: Expression) -> Callable[[bytes, int], bool]:
    """Give the predicate on a direction's key (source, destination, source port, destination port) and
    transport protocol."""

    def accept(key: bytes, protocol: int = TRANSPORTS["tcp"]) -> bool:
        return _accepts(expression, key, protocol)

    return accept


def _accepts(expression: Expression, key: bytes, protocol: int) -> bool:  # noqa: PLR0911 - one case each
    match expression:
        case Both(left, right):
            return _accepts(left, key, protocol) and _accepts(right, key, protocol)
        case Either(left, right):
            return _accepts(left, key, protocol) or _accepts(right, key, protocol)
        case Not(inner):
            return not _accepts(inner, key, protocol)
        case Ports(direction, low, high):
            ports = int.from_bytes(key[-4:-2]), int.from_bytes(key[-2:])
            return any(low <= port <= high for port in _chosen(ports, direction))
        case Address(direction, network):
            half = (len(key) - 4) // 2
            addresses = _chosen((key[:half], key[half:-4]), direction)
            return half * 8 == network.max_prefixlen and any(_within(one, network) for one in addresses)
        case Version(number):
            return len(key) == (12 if number == 4 else 36)
        case Transport(number):
            return protocol == number
        case Every():
            return True


def _chosen(pair: tuple[T, T], direction: Direction) -> Iterable[T]:
    return pair if direction == "either" else (pair[direction == "dst"],)


def _within(address: bytes, network: Network) -> bool:
    value, mask = int.from_bytes(address), int(network.netmask)
    return value & mask == int(network.network_address)

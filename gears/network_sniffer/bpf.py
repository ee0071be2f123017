"""Classic BPF programs from capture filters (McCanne and Jacobson 1993; Linux `filter.txt`).

A program works on an Ethernet frame. Every test jumps by a pair of unconditional jumps, whose reach is not
bounded as that of conditional ones; the kernel's own optimiser makes up for it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import count
from typing import Final, NamedTuple, TypeAlias

from gears.network_sniffer.capture_filter import (
    Address,
    Both,
    Direction,
    Either,
    Every,
    Expression,
    Not,
    Ports,
    Transport,
    Version,
)
from gears.network_sniffer.network import EXTENSION_HEADERS

TAKE: Final = 0x40000
"""Bytes to hand over: more than any frame."""

PACKET_OUTGOING: Final = 4
_ANCILLARY_PACKET_TYPE: Final = 0xFFFFF004

_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30
_LOAD_HALF_X: Final = 0x48
_HEADER_LENGTH_X: Final = 0xB1
_AND: Final = 0x54
_JUMP, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_AT_LEAST, _JUMP_SET = 0x05, 0x15, 0x25, 0x35, 0x45
_RETURN: Final = 0x06

ETHERTYPE_IPV4, ETHERTYPE_IPV6 = 0x0800, 0x86DD
_VLAN_TAGS: Final = (0x8100, 0x88A8)
_TCP, _UDP = 6, 17


class Instruction(NamedTuple):
    """One BPF instruction (`struct sock_filter`)."""

    code: int
    jt: int
    jf: int
    k: int


_Label: TypeAlias = int
_Line: TypeAlias = tuple[int, int, _Label | None, _Label | None]
"""(code, k, label when true, label when false); for a plain jump only the first label."""


class _Assembler:
    """Collects lines and labels."""

    def __init__(self) -> None:
        self.lines: list[_Line] = []
        self.places: dict[_Label, int] = {}
        self.new_label: Callable[[], _Label] = count().__next__

    def emit(self, code: int, k: int = 0) -> None:
        self.lines.append((code, k, None, None))

    def place(self, label: _Label) -> None:
        self.places[label] = len(self.lines)

    def test(self, code: int, k: int, yes: _Label, no: _Label) -> None:
        self.lines += [(code, k, yes, no), (_JUMP, 0, yes, None), (_JUMP, 0, no, None)]

    def program(self) -> list[Instruction]:
        program = []
        for at, (code, k, yes, _) in enumerate(self.lines):
            if code == _JUMP and yes is not None:
                program.append(Instruction(code, 0, 0, self.places[yes] - at - 1))
            else:
                program.append(Instruction(code, 0, int(yes is not None), k))
        return program


def compile_filter(expression: Expression, *, drop_outgoing: bool = False) -> list[Instruction]:
    """Compile for Ethernet, with up to two VLAN tags left in the frame.

    `drop_outgoing` refuses what the machine sends: on loopback every frame comes as sent and as received.
    """
    assembler = _Assembler()
    take, drop = assembler.new_label(), assembler.new_label()
    if drop_outgoing:
        start = assembler.new_label()
        assembler.emit(_LOAD_WORD, _ANCILLARY_PACKET_TYPE)
        assembler.test(_JUMP_EQUAL, PACKET_OUTGOING, drop, start)
        assembler.place(start)
    for tags in range(3):
        other = assembler.new_label()
        _frame(assembler, expression, 12 + 4 * tags, (take, drop, other))
        assembler.place(other)
        if tags < 2:
            tagged, next_tag = assembler.new_label(), assembler.new_label()
            assembler.emit(_LOAD_HALF, 12 + 4 * tags)
            assembler.test(_JUMP_EQUAL, _VLAN_TAGS[0], tagged, next_tag)
            assembler.place(next_tag)
            assembler.test(_JUMP_EQUAL, _VLAN_TAGS[1], tagged, drop)
            assembler.place(tagged)
    assembler.place(drop)
    assembler.emit(_RETURN, 0)
    assembler.place(take)
    assembler.emit(_RETURN, TAKE)
    return assembler.program()


def assemble(program: list[Instruction]) -> bytes:
    """Give the program as the kernel takes it."""
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def _frame(a: _Assembler, expression: Expression, at: int, ways: tuple[_Label, _Label, _Label]) -> None:
    """Test a frame whose EtherType is at `at`: where to go to take it, to drop it, when it is not IP."""
    take, drop, other = ways
    ipv4, not_ipv4, ipv6 = a.new_label(), a.new_label(), a.new_label()
    a.emit(_LOAD_HALF, at)
    a.test(_JUMP_EQUAL, ETHERTYPE_IPV4, ipv4, not_ipv4)
    a.place(not_ipv4)
    a.test(_JUMP_EQUAL, ETHERTYPE_IPV6, ipv6, other)
    for version, label, protocol_at in ((4, ipv4, at + 2 + 9), (6, ipv6, at + 2 + 6)):
        judged = a.new_label()
        a.place(label)
        a.emit(_LOAD_BYTE, protocol_at)
        ways_out = {_TCP: judged, _UDP: judged}
        if version == 6:
            # What is behind extension headers is beyond a program without loops: the sniffer itself judges.
            ways_out |= dict.fromkeys(sorted(EXTENSION_HEADERS), take)
        for number, way in ways_out.items():
            next_test = a.new_label()
            a.test(_JUMP_EQUAL, number, way, next_test)
            a.place(next_test)
        a.lines.append((_JUMP, 0, drop, None))
        a.place(judged)
        if version == 4:
            # A later fragment has no ports: the sniffer judges the packet that it belongs to.
            first = a.new_label()
            a.emit(_LOAD_HALF, at + 2 + 6)
            a.test(_JUMP_SET, 0x1FFF, take, first)
            a.place(first)
        _Header(a, version, at + 2).test(expression, take, drop)


class _Header:
    """Tests on the IP header of one version at one place."""

    def __init__(self, assembler: _Assembler, version: int, at: int) -> None:
        self._a = assembler
        self._version = version
        self._at = at

    def test(self, expression: Expression, yes: _Label, no: _Label) -> None:
        match expression:
            case Both(left, right):
                self._then(left, right, lambda middle: (middle, no), yes, no)
            case Either(left, right):
                self._then(left, right, lambda middle: (yes, middle), yes, no)
            case Not(inner):
                self.test(inner, no, yes)
            case Ports(direction, low, high):
                self._ports(direction, low, high, yes, no)
            case Address(_, network) if network.version != self._version:
                self._a.lines.append((_JUMP, 0, no, None))
            case Address(direction, _):
                self._address(expression, direction, yes, no)
            case Version(number):
                self._a.lines.append((_JUMP, 0, yes if number == self._version else no, None))
            case Transport(number):
                self._a.emit(_LOAD_BYTE, self._at + (9 if self._version == 4 else 6))
                self._a.test(_JUMP_EQUAL, number, yes, no)
            case Every():
                self._a.lines.append((_JUMP, 0, yes, None))

    def _then(
        self,
        left: Expression,
        right: Expression,
        ways: Callable[[_Label], tuple[_Label, _Label]],
        yes: _Label,
        no: _Label,
    ) -> None:
        middle = self._a.new_label()
        self.test(left, *ways(middle))
        self._a.place(middle)
        self.test(right, yes, no)

    def _sides(self, direction: Direction, yes: _Label, no: _Label) -> list[tuple[int, _Label, _Label]]:
        """Which side to test (0 source, 1 destination), and where to go from there."""
        if direction != "either":
            return [(int(direction == "dst"), yes, no)]
        second = self._a.new_label()
        return [(0, yes, second), (1, yes, no)]

    def _ports(self, direction: Direction, low: int, high: int, yes: _Label, no: _Label) -> None:
        a = self._a
        if self._version == 4:
            a.emit(_HEADER_LENGTH_X, self._at)
        for side, found, missed in self._sides(direction, yes, no):
            if self._version == 4:
                a.emit(_LOAD_HALF_X, self._at + 2 * side)
            else:
                a.emit(_LOAD_HALF, self._at + 40 + 2 * side)
            at_least = a.new_label()
            a.test(_JUMP_AT_LEAST, low, at_least, missed)
            a.place(at_least)
            a.test(_JUMP_GREATER, high, missed, found)
            if missed != no:
                a.place(missed)

    def _address(self, address: Address, direction: Direction, yes: _Label, no: _Label) -> None:
        first, size = (12, 4) if self._version == 4 else (8, 16)
        wanted, masks = address.network.network_address.packed, address.network.netmask.packed
        for side, found, missed in self._sides(direction, yes, no):
            for word in range(0, size, 4):
                mask = int.from_bytes(masks[word : word + 4])
                following = self._a.new_label() if word + 4 < size else found
                self._a.emit(_LOAD_WORD, self._at + first + side * size + word)
                self._a.emit(_AND, mask)
                self._a.test(_JUMP_EQUAL, int.from_bytes(wanted[word : word + 4]), following, missed)
                if following != found:
                    self._a.place(following)
            if missed != no:
                self._a.place(missed)

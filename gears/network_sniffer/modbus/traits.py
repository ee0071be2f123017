"""What observers know of Modbus in each of its framings."""

from __future__ import annotations

from typing import Final

from gears.network_sniffer.flow import Traits

WRITES: Final = frozenset({5, 6, 15, 16, 21, 22, 23})

TABLES: Final = frozenset({"coil", "discrete", "holding", "input"})

TCP: Final = Traits("modbus/tcp", WRITES, TABLES)
UDP: Final = Traits("modbus/udp", WRITES, TABLES)
RTU: Final = Traits("modbus/rtu", WRITES, TABLES)

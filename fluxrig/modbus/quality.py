"""Whether a tag is good, as `meta` says it: `quality.<tag>` = `good`, `stale` or `bad:<reason>`. Pure."""

from __future__ import annotations

from typing import Final

GOOD: Final = "good"
STALE: Final = "stale"

TIMEOUT: Final = "timeout"
DISCONNECTED: Final = "disconnected"
WRONG_ANSWER: Final = "wrong_answer"

ILLEGAL_FUNCTION: Final = 1
BUSY: Final = 6
EXCEPTIONS: Final = {
    1: "illegal_function",
    2: "illegal_data_address",
    3: "illegal_data_value",
    4: "server_device_failure",
    5: "acknowledge",
    6: "server_device_busy",
    8: "memory_parity_error",
    10: "gateway_path_unavailable",
    11: "gateway_target_failed_to_respond",
}
"""Exception codes (Modbus Application Protocol V1.1b3, §7)."""

ILLEGAL: Final = frozenset({2, 3})
"""Exceptions that say that the request itself is wrong: asking again changes nothing, asking for less may."""
UNIT_AWAY: Final = frozenset({10, 11})
"""Exceptions of a gateway that does not reach the unit: asking for something else changes nothing."""


def exception_reason(code: int) -> str:
    """Give the reason of an exception response."""
    return EXCEPTIONS.get(code, f"exception_{code}")


def bad(reason: str) -> str:
    """Give the text in `meta`."""
    return f"bad:{reason}"

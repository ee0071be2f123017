"""What two gears that name one endpoint must agree on: they share its connection. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from fluxrig.duration import format_duration

if TYPE_CHECKING:
    from gears.io_modbus.config import Config

SHARED: Final = ("backup", "backup_return", "tls", "connect_timeout", "idle_timeout", "probe_connection")
"""The keys that belong to the connection. Of pauses and `close_after` the gentlest is taken."""


def sharing_faults(later: Config, earlier: Config, name: str, *, apart: bool) -> Iterator[tuple[str, str]]:
    """Give what `later` must say otherwise, as the earlier gear, called `name`, is there too."""
    mine, its = later.endpoints[0], earlier.endpoints[0]
    if mine.is_serial and its.is_serial and mine.address == its.address:
        if apart:
            yield (
                "endpoint",
                f"{name!r} asks at {its.address} too, from another process; run both without isolate, or "
                "make them one gear with devices",
            )
        elif mine != its:
            yield (
                "endpoint",
                f"{name!r} has {earlier.endpoint}; a serial line has one setting, so write the same here",
            )
    if mine != its or apart:
        return
    for key in SHARED:
        if getattr(later, key) != getattr(earlier, key):
            yield (
                key,
                f"{name!r} shares this endpoint and has {key}: {_shown(getattr(earlier, key))}, "
                f"here it is {_shown(getattr(later, key))}; say the same in both",
            )


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return format_duration(value)
    if hasattr(value, "model_dump"):
        return str(value.model_dump(exclude_unset=True))
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

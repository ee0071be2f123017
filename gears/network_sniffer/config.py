"""Configuration of `network_sniffer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from fluxrig.duration import Seconds
from fluxrig.gear import GearConfig, Manifest
from gears.network_sniffer.capture_filter import parse_filter


def _parses(text: str) -> str:
    try:
        parse_filter(text)
    except ValueError as error:
        raise PydanticCustomError("filter", "{reason}", {"reason": str(error)}) from None
    return text


FilterText: TypeAlias = Annotated[str, AfterValidator(_parses)]
Interface: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=15, pattern=r"^[^/\s]+$")]


class Config(GearConfig):
    """What to listen to, and how much to keep of it."""

    interface: Interface | None = None
    """A network interface to capture on, usually one that a mirror port feeds. Needs the right CAP_NET_RAW.
    Either this or `file`."""
    file: Path | None = None
    """A capture to read instead: pcap or pcapng, also in gzip."""
    filter: FilterText = ""
    """Which packets to take, in the words of pcap-filter: `tcp port 502 and host 10.0.0.5`. Live, the kernel
    applies it. Knows host, net, port, portrange, src, dst, tcp, ip, ip6, and, or, not and parentheses;
    absent: all TCP."""
    promiscuous: bool = True
    """Whether the interface takes frames that are addressed to others, as a mirror port sends them."""
    replay: Literal["fast", "realtime"] = "fast"
    """How a file is read: as fast as it is taken, or at the pace at which it was captured."""
    repeat: bool = False
    """Whether a file begins again at its end, for ever, with new ids in each round."""
    request_timeout: Seconds = 10.0
    """How long a request may wait for its response, in the time of the capture."""
    report_every: Seconds = 60.0
    """How often the counters are reported as `ot.capture/1`; a file has them at its end, too."""
    max_pending: int = Field(default=65_536, ge=1, le=10_000_000)
    """Requests that may wait for a response, over all connections; then the oldest is given up."""
    max_connections: int = Field(default=65_536, ge=16, le=10_000_000)
    """TCP connections known at a time; then those that were silent longest are forgotten."""
    idle_timeout: Seconds = 300.0
    """How long a connection may be silent before it is forgotten."""
    max_stream_bytes: int = Field(default=262_144, ge=4096, le=1 << 30)
    """Memory for segments of one direction of a connection that came too early; then holes are skipped."""
    max_bytes: int = Field(default=33_554_432, ge=65_536, le=1 << 34)
    """The same memory for all connections together."""

    @model_validator(mode="after")
    def _one_source(self) -> Config:
        if (self.interface is None) == (self.file is None):
            reason = "say where the packets come from: either `interface` or `file`"
            raise PydanticCustomError("source", "{reason}", {"reason": reason})
        if self.interface is not None and (self.repeat or self.replay == "realtime"):
            reason = "`replay` and `repeat` are for a `file`; an `interface` is live by itself"
            raise PydanticCustomError("source", "{reason}", {"reason": reason})
        return self


MANIFEST = Manifest(
    kind="network_sniffer",
    summary="Passive capture of Modbus/TCP, live or from a file: every exchange, address beside values",
    config=Config,
    gear="gears.network_sniffer.gear:NetworkSniffer",
    source=True,
)

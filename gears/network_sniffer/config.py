"""Configuration of `network_sniffer`."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from fluxrig.duration import Seconds
from fluxrig.gear import GearConfig, Manifest
from fluxrig.modbus.address import AddressBase
from fluxrig.modbus.tag_config import MAX_TAGS, TagConfig, TagName
from fluxrig.uns import path_fault, segment_fault
from gears.network_sniffer.capture_filter import parse_filter

PORT: Final = 502

Kind: TypeAlias = Literal["transaction", "value", "tags", "anomaly", "asset", "link", "capture"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


def _parses(text: str) -> str:
    try:
        parse_filter(text)
    except ValueError as error:
        raise PydanticCustomError("filter", "{reason}", {"reason": str(error)}) from None
    return text


FilterText: TypeAlias = Annotated[str, AfterValidator(_parses)]
Interface: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=15, pattern=r"^[^/\s]+$")]


def _segment(name: str) -> str:
    if reason := segment_fault(name):
        raise PydanticCustomError("segment", "{reason}", {"reason": reason})
    return name


def _path(path: str) -> str:
    if reason := path_fault(path):
        raise PydanticCustomError("path", "{reason}", {"reason": reason})
    return path


def _endpoint(text: str) -> str:
    try:
        parse_endpoint(text)
    except ValueError:
        reason = f"{text[:64]!r} is no address as it is on the wire; write tcp://10.20.0.5:502"
        raise PydanticCustomError("endpoint", "{reason}", {"reason": reason}) from None
    return text


def parse_endpoint(text: str) -> tuple[str, int]:
    """Give IP address and port of `tcp://address:port`. Raises ValueError: names are not on the wire."""
    parts = urlsplit(text)
    port = PORT if parts.port is None else parts.port
    if parts.scheme not in ("tcp", "udp") or parts.path or parts.query or parts.username or not port:
        raise ValueError(text)
    return str(ip_address(parts.hostname or "")), port


class DeviceConfig(GearConfig):
    """A device whose registers have names: as io_modbus has them."""

    endpoint: Annotated[str, AfterValidator(_endpoint)]
    """Where it is: `tcp://address:port` with its IP address; the port is 502 if nothing is said."""
    unit: int = Field(default=1, ge=0, le=255)
    """The unit identifier; behind a gateway it chooses the device."""
    address_base: AddressBase = 0
    """Whether the addresses of the tags count from 0 or from 1."""
    uns: Annotated[str, AfterValidator(_path)] | None = None
    """The UNS path of its values; if nothing is said, the Rack's path and the device's name."""
    tags: dict[TagName, TagConfig] = Field(min_length=1, max_length=MAX_TAGS)
    """The tags by name, in the form of io_modbus."""

    @model_validator(mode="after")
    def _addresses_exist(self) -> DeviceConfig:
        for name, tag in self.tags.items():
            try:
                tag.to_tag(name, self.address_base)
            except ValueError as error:
                raise PydanticCustomError("tag", "{reason}", {"reason": f"{name}: {error}"}) from None
        return self


class Config(GearConfig):
    """What to listen to, and how much to keep of it."""

    interface: Interface | tuple[Interface, ...] | None = None
    """A network interface to capture on, usually one that a mirror port feeds, or a list of them, which make
    one capture. Needs the right CAP_NET_RAW. Either this or `file`."""
    file: Path | None = None
    """A capture to read instead: pcap or pcapng, also in gzip. Of a folder, all captures in it are read, in
    the order of their first packets, as one: rotated files."""
    filter: FilterText = ""
    """Which packets to take, in the words of pcap-filter: `tcp port 502 and host 10.0.0.5`. Live, the kernel
    applies it. Knows host, net, port, portrange, src, dst, tcp, udp, ip, ip6, and, or, not and parentheses;
    absent: all TCP and UDP."""
    promiscuous: bool = False
    """Whether the interface takes frames that are addressed to others. A mirror port sends such, so say true
    there."""
    emit: tuple[Kind, ...] = Field(default=KINDS, min_length=1)
    """Which events become messages: transaction, value, tags, anomaly, asset, link, capture. Ids do not
    depend on what is left out."""
    devices: dict[Annotated[str, AfterValidator(_segment)], DeviceConfig] = Field(default={}, max_length=4096)
    """Devices whose registers have names. Their values go to the UNS path that a gear of this name would have
    in this Rack, so that polled and sniffed values of one device are in one place."""
    learn: Seconds = 3600.0
    """How long, from the first exchange on, what is seen is taken for usual. After that, new clients, new
    writers and new functions are anomalies."""
    baseline: Path | None = None
    """A file that keeps what was learned, so that a restart goes on with it; its folder has to be there.
    Absent: each start learns anew."""
    replay: Literal["fast", "realtime"] = "fast"
    """How a file is read: as fast as it is taken, or at the pace at which it was captured, times `speed`."""
    speed: float = Field(default=1.0, gt=0, le=1e6, allow_inf_nan=False)
    """How many times faster than it was captured a file is replayed with `replay: realtime`."""
    repeat: bool = False
    """Whether a file begins again at its end, for ever, with new ids in each round."""
    follow: bool = False
    """Whether to wait at the end of a file for more, for ever: a capture that is still being written, its
    successor when it is replaced, and of a folder the files that are added."""
    request_timeout: Seconds = 10.0
    """How long a request may wait for its response, in the time of the capture."""
    report_every: Seconds = 60.0
    """How often the counters are reported as `ot.capture/1`; a file has them at its end, too."""
    max_pending: int = Field(default=65_536, ge=1, le=10_000_000)
    """Requests that may wait for a response, over all connections; then the oldest is given up."""
    max_connections: int = Field(default=65_536, ge=16, le=10_000_000)
    """TCP connections, and as many of UDP, known at a time; then those silent longest are forgotten."""
    idle_timeout: Seconds = 300.0
    """How long a connection may be silent before it is forgotten."""
    max_stream_bytes: int = Field(default=262_144, ge=4096, le=1 << 30)
    """Memory for segments of one direction of a connection that came too early; then holes are skipped."""
    max_bytes: int = Field(default=33_554_432, ge=65_536, le=1 << 34)
    """The same memory for all connections together."""

    max_values: int = Field(default=262_144, ge=1024, le=100_000_000)
    """Registers and coils whose last value is remembered, to tell what changes; then those met first go."""
    max_assets: int = Field(default=16_384, ge=16, le=1_000_000)
    """Assets, and as many links, that are remembered; then those met first go."""

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The interfaces, none when a file is read."""
        if self.interface is None:
            return ()
        return (self.interface,) if isinstance(self.interface, str) else self.interface

    @model_validator(mode="after")
    def _one_source(self) -> Config:
        if (self.interface is None) == (self.file is None):
            raise PydanticCustomError(
                "source", "say where the packets come from: either `interface` or `file`"
            )
        reason = self._source_fault()
        if reason is not None:
            raise PydanticCustomError("source", "{reason}", {"reason": reason})
        return self

    def _source_fault(self) -> str | None:
        paced = self.replay == "realtime"
        if self.interface is not None and (self.repeat or paced or self.follow):
            return "`replay`, `repeat` and `follow` are for a `file`; an `interface` is live by itself"
        if self.interface is not None and not 1 <= len(set(self.interfaces)) == len(self.interfaces) <= 64:
            return "name at least one `interface`, and each only once"
        if self.follow and (self.repeat or paced):
            return "`follow` waits at the end of a file: it can't `repeat`, nor `replay` in its own time"
        if self.speed != 1.0 and not paced:
            return "`speed` is for `replay: realtime`; add that, or leave it out"
        return None


MANIFEST = Manifest(
    kind="network_sniffer",
    summary="Passive capture of Modbus, live or from files: exchanges, values, assets, links, anomalies",
    config=Config,
    gear="gears.network_sniffer.gear:NetworkSniffer",
    source=True,
)

"""Where a device is: the URL of an endpoint. Pure.

| URL | transport |
|---|---|
| `tcp://host:502` | Modbus TCP |
| `tls://host:802` | Modbus TCP Security: the same within TLS |
| `udp://host:502` | Modbus TCP's frames in datagrams |
| `rtu:///dev/ttyUSB0?baud=19200&parity=E&stop=1` | RTU on a serial line |
| `ascii:///dev/ttyUSB0?baud=9600` | ASCII on a serial line |
| `rtu+tcp://host:port`, `ascii+tcp://host:port` | RTU or ASCII through a serial device server |
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast
from urllib.parse import SplitResult, parse_qsl, urlsplit

from fluxrig.modbus.framing import FramingName

Transport: TypeAlias = Literal["tcp", "tls", "udp", "serial"]

SCHEMES: Final[dict[str, tuple[FramingName, Transport, int]]] = {
    "tcp": ("mbap", "tcp", 502),
    "tls": ("mbap", "tls", 802),
    "udp": ("mbap", "udp", 502),
    "rtu": ("rtu", "serial", 0),
    "ascii": ("ascii", "serial", 0),
    "rtu+tcp": ("rtu", "tcp", 502),
    "ascii+tcp": ("ascii", "tcp", 502),
}
BAUDS: Final = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
_SETTINGS: Final = ("baud", "parity", "stop", "bits")
_DEVICE: Final = re.compile(r"/dev/[^\s?#]{1,200}")


@dataclass(frozen=True, slots=True)
class Serial:
    """How a serial line is set. The default is that of the specification: 19,200 baud, 8E1, for ASCII 7E1."""

    baud: int = 19200
    parity: str = "E"
    stop: int = 1
    bits: int = 8

    @property
    def silence_s(self) -> float:
        """The 3.5 characters without a bit that part two frames (Modbus over Serial Line V1.02, §2.5.1.1)."""
        return 0.00175 if self.baud > 19200 else 3.5 * 11 / self.baud


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place that Modbus is spoken at. `address` is a host, or the path of a serial device."""

    transport: Transport
    framing: FramingName
    address: str
    port: int = 0
    serial: Serial = Serial()

    @property
    def is_serial(self) -> bool:
        return self.transport == "serial"

    def __str__(self) -> str:
        if self.is_serial:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def parse_endpoint(text: str) -> Endpoint:
    """Read an endpoint's URL. Raises ValueError that says what to write."""
    scheme, colon, _ = text.partition("://")
    if not colon or scheme not in SCHEMES:
        raise ValueError(_not_an_endpoint(text, scheme if colon else ""))
    framing, transport, port = SCHEMES[scheme]
    if transport == "serial":
        return _serial(text, scheme, framing)
    parts = _network(text, scheme)
    return Endpoint(transport, framing, cast("str", parts.hostname), parts.port or port)


def _network(text: str, scheme: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:
        raise ValueError(_not_an_endpoint(text, scheme)) from None
    whole = parts.netloc == text.removeprefix(f"{scheme}://") and "@" not in text
    if not host or port == 0 or not whole or re.search(r"\s|:$", parts.netloc):
        raise ValueError(_not_an_endpoint(text, scheme))
    return parts


def _not_an_endpoint(text: str, scheme: str) -> str:
    if scheme in SCHEMES:
        mend = f"write {scheme}://host:port, such as {scheme}://10.20.0.5:{SCHEMES[scheme][2]}"
    else:
        near = difflib.get_close_matches(scheme.lower(), SCHEMES, n=1) if scheme else []
        mend = (
            f"did you mean {near[0]}://?"
            if near
            else f"write {', '.join(f'{name}://' for name in SCHEMES)}, such as tcp://10.20.0.5:502"
        )
    return f"{text[:64]!r} is not an endpoint; {mend}"


def _serial(text: str, scheme: str, framing: FramingName) -> Endpoint:
    parts = urlsplit(text)
    if parts.netloc or parts.fragment or not _DEVICE.fullmatch(parts.path):
        raise ValueError(
            f"{text[:64]!r} is not an endpoint; write {scheme}:///dev/ttyUSB0?baud=19200&parity=E&stop=1, "
            "with three slashes"
        )
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else []
    except ValueError:
        raise ValueError(
            f"{parts.query!r} is no setting of a serial line; write baud=19200&parity=E"
        ) from None
    return Endpoint("serial", framing, parts.path, serial=_line(dict(pairs), framing, len(pairs)))


def _line(given: dict[str, str], framing: FramingName, count: int) -> Serial:
    for key in given:
        if key not in _SETTINGS:
            near = difflib.get_close_matches(key, _SETTINGS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_SETTINGS)}"
            raise ValueError(f"a serial line has no setting {key[:32]!r}; {hint}")
    if count != len(given):
        raise ValueError("a setting of the serial line is given twice; keep one")
    parity = given.get("parity", "E").upper()
    if parity not in {"N", "E", "O"}:
        raise ValueError(f"parity is N, E or O, not {parity[:16]!r}")
    baud = _number("baud", given.get("baud", "19200"), BAUDS)
    stop = _number("stop", given.get("stop", "2" if parity == "N" else "1"), (1, 2))
    lawful = (8,) if framing == "rtu" else (7, 8)
    bits = _number("bits", given.get("bits", str(lawful[0])), lawful)
    return Serial(baud, parity, stop, bits)


def _number(name: str, text: str, allowed: tuple[int, ...]) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text) or int(text) not in allowed:
        raise ValueError(f"{name} is one of {', '.join(map(str, allowed))}, not {text[:16]!r}")
    return int(text)

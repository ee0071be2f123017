"""A catalog of invented gears, so that these tests depend on no driver and on no gear of ours."""

from collections.abc import Callable
from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, Field, model_validator

from fluxrig.catalog import Catalog
from fluxrig.duration import Seconds
from fluxrig.errors import ConfigError
from fluxrig.gear import GearConfig, Manifest
from fluxrig.rackfile import RackSpec, parse


def _address(text: str) -> str:
    table, _, number = text.partition("/")
    if table not in ("coil", "holding") or not number.isdecimal():
        raise ValueError(f"{text!r} is no address; write table/number, such as holding/0")
    return text


class Tag(GearConfig):
    at: Annotated[str, AfterValidator(_address)]
    """Where it is."""
    type: Literal["uint16", "float32"] = "uint16"
    """What it holds."""
    scale: float = 1.0
    """Factor."""


class PollConfig(GearConfig):
    endpoint: str
    """Where the device is."""
    every: Seconds = 1.0
    """How often."""
    unit: int = Field(default=1, ge=0, le=255)
    """Unit."""
    tags: dict[str, Tag] = Field(min_length=1)
    """What to read."""
    low: float | None = None
    """Lowest."""
    high: float | None = None
    """Highest."""

    @model_validator(mode="after")
    def _order(self) -> "PollConfig":
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low is above high")
        return self


class PassConfig(GearConfig):
    keep: bool = True
    """Whether to keep."""
    names: tuple[str, ...] = ()
    """Names."""


CATALOG = Catalog(
    [
        Manifest("poll", "polls", PollConfig, "nowhere:Poll", source=True),
        Manifest("device", "polls and writes", PollConfig, "nowhere:Device", inputs=("in",), source=True),
        Manifest("pass", "passes", PassConfig, "nowhere:Pass", inputs=("in", "side"), outputs=("out", "low")),
        Manifest("sink", "ends", PassConfig, "nowhere:Sink", inputs=("in",), outputs=()),
    ]
)

GOOD = """\
rack: press-line-3
uns: acme/lyon
gears:
  press:
    kind: poll
    endpoint: tcp://10.0.0.1:502
    every: 100ms
    tags:
      pressure: {at: holding/0, type: float32}
  steady: {kind: pass}
wires:
  - press -> steady -> uplink
"""

Fails = Callable[..., list[str]]


@pytest.fixture
def catalog() -> Catalog:
    return CATALOG


@pytest.fixture
def good() -> str:
    return GOOD


@pytest.fixture
def passes() -> Callable[..., RackSpec]:
    """Parse a text that has no fault."""
    return lambda text, **environ: parse(text, CATALOG, environ)


@pytest.fixture
def fails() -> Fails:
    """Give the faults of a text as `line:column: message`."""

    def faults(text: str | bytes, **environ: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            parse(text, CATALOG, environ)
        return [f"{fault.line}:{fault.column}: {fault.message}" for fault in caught.value.faults]

    return faults

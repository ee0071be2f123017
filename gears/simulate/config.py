"""Configuration of `simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from fluxrig.duration import Seconds
from fluxrig.gear import GearConfig, Manifest

RESERVED = frozenset({"run", "seq"})


class Wave(GearConfig):
    """A value that moves with time."""

    wave: Literal["sine", "ramp", "step"]
    """`sine` swings, `ramp` rises and falls back at once, `step` is low for half a period, then high."""
    low: float = 0.0
    """The smallest value."""
    high: float = 1.0
    """The largest value; a ramp and a sine sampled rarely may never quite reach it."""
    period: Seconds = 60.0
    """How long one turn takes."""

    @model_validator(mode="after")
    def _ordered(self) -> Wave:
        if self.low > self.high:
            reason = f"low {self.low:g} is above high {self.high:g}; swap them"
            raise PydanticCustomError("wave", "{reason}", {"reason": reason})
        return self


Signal: TypeAlias = Wave | bool | int | float | str
"""A wave, or a constant."""


class Config(GearConfig):
    """How many messages, how fast, and what is in them."""

    rate: Annotated[float, Field(gt=0, le=10_000_000)] | Literal["max"] = 10.0
    """Messages a second, or `max`: as fast as they are taken."""
    batch: int = Field(default=1, ge=1, le=10_000)
    """Messages handed on together. A fast source needs large batches: every hop costs once a batch."""
    count: int | None = Field(default=None, ge=1)
    """Stop after so many messages; absent: never."""
    tags: dict[str, Signal] = Field(
        default={
            "pressure": Wave.model_validate({"wave": "sine", "low": 0.8, "high": 6.2, "period": "20s"}),
            "running": Wave.model_validate({"wave": "step", "period": "30s"}),
        },
        max_length=1000,
    )
    """The tags of every message besides `run` and `seq`: constants or waves."""
    journal: Path | None = None
    """A file that gets a line `<run> <first> <last>` for each batch whose receipt settled: what a ledger
    may expect at the far end. It is appended to, so several runs share one file."""
    window: int = Field(default=64, ge=1, le=4096)
    """Batches that may be on their way unsettled before the source waits."""

    @field_validator("tags")
    @classmethod
    def _free_names(cls, tags: dict[str, Signal]) -> dict[str, Signal]:
        if taken := sorted(RESERVED & tags.keys()):
            reason = f"tag {taken[0]!r} is made by simulate itself; choose another name"
            raise PydanticCustomError("tags", "{reason}", {"reason": reason})
        return tags


MANIFEST = Manifest(
    kind="simulate",
    summary="A source of sequence-numbered messages at a given rate, for tests and benchmarks",
    config=Config,
    gear="gears.simulate.gear:Simulate",
    source=True,
)

"""How long to wait before trying again."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

FIRST_S = 0.1
LONGEST_S = 5.0
SETTLED_S = 10.0
"""A gear that lived this long starts again from the shortest wait."""


@dataclass(slots=True)
class Backoff:
    """Doubling waits with jitter, so that many gears that failed together do not come back together."""

    first_s: float = FIRST_S
    longest_s: float = LONGEST_S
    random: random.Random = field(default_factory=random.Random)
    failures: int = 0

    def next_s(self) -> float:
        """Count one more failure and give the wait in seconds, between half the step and the whole of it."""
        step: float = min(self.longest_s, self.first_s * 2 ** min(self.failures, 32))
        self.failures += 1
        return step * (0.5 + self.random.random() / 2)

    def reset(self) -> None:
        self.failures = 0

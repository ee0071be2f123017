"""Faults of one file, gathered so that all are reported at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final, NoReturn

from fluxrig.errors import ConfigError, Fault

MAX_FAULTS: Final = 200
_MAX_CANDIDATES: Final = 200
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in the file; line and column count from 1, 0 is the whole file."""

    line: int
    column: int


WHOLE_FILE: Final = Mark(0, 0)


class Faults:
    """The faults of one file, up to a `limit` beyond which they are only counted."""

    def __init__(self, file: str, limit: int = MAX_FAULTS) -> None:
        self._file = file
        self._limit = limit
        self._found: list[Fault] = []
        self._more = 0

    def add(self, mark: Mark, message: str) -> None:
        if len(self._found) < self._limit:
            self._found.append(Fault(self._file, mark.line, mark.column, " ".join(message.split())))
        else:
            self._more += 1

    def take(self, found: Iterable[Fault]) -> None:
        """Add faults of another file that this one names."""
        for fault in found:
            if len(self._found) < self._limit:
                self._found.append(fault)
            else:
                self._more += 1

    def stop(self, mark: Mark, message: str) -> NoReturn:
        """Add a fault after which nothing more can be read."""
        self.add(mark, message)
        raise self.error()

    @property
    def are_plenty(self) -> bool:
        """Whether there are more than anybody is shown, so that no pains need be taken with the next."""
        return len(self._found) >= MAX_FAULTS

    def nearest(self, word: str, words: Iterable[str]) -> str:
        """Give `; did you mean 'x'?`, `; known: a, b`, or nothing when the faults are full anyway."""
        if self.are_plenty:
            return ""
        return nearest(word, words)

    def __bool__(self) -> bool:
        return bool(self._found)

    def error(self) -> ConfigError:
        """Give the error that carries all faults in the order of the file."""
        faults = sorted(set(self._found))
        if self._more:
            last = faults[-1]
            message = f"{self._more} more faults are not shown; mend these first"
            faults.append(Fault(last.file, last.line, last.column, message))
        return ConfigError(faults)


def nearest(word: str, words: Iterable[str]) -> str:
    """Say which of `words` was probably meant, or which there are."""
    known = list(islice(words, _MAX_CANDIDATES))
    lowered = {name.lower(): name for name in known}
    if close := difflib.get_close_matches(word[:64].lower(), lowered, n=1, cutoff=0.6):
        return f"; did you mean {lowered[close[0]]!r}?"
    return f"; known: {', '.join(known[:12])}{', …' if len(known) > 12 else ''}" if known else ""


def shown(text: str) -> str:
    """Give a text from the file as an error may print it: quoted, on one line, not too long."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")

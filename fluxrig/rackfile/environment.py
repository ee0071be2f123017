"""`${NAME}` and `${NAME:-default}` in the values of a Rack file; `$$` is a plain `$`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

MAX_EXPANDED: Final = 1 << 20
_SHORT: Final = 3
_TOKEN: Final = re.compile(r"\$\$|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}|(?P<bad>\$\{)")


class Expansion:
    """Expands variables, and remembers what came from the environment so that no error repeats it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._room = MAX_EXPANDED

    def expand(self, text: str) -> tuple[str, dict[str, str]]:
        """Give the text with its variables filled in, and the variables used with their values.

        Raises ValueError with a message that says what to do, and names no value.
        """
        used: dict[str, str] = {}
        expanded = _TOKEN.sub(lambda token: self._value(token, used), text)
        self._room -= len(expanded) if used else 0
        if self._room < 0:
            raise ValueError(f"the variables of this file expand to more than {MAX_EXPANDED >> 20} MiB")
        return expanded, used

    def _value(self, token: re.Match[str], used: dict[str, str]) -> str:
        if token["bad"]:
            raise ValueError("write a variable as ${NAME} or ${NAME:-default}, and $$ for a plain $")
        name, default = token["name"], token["default"]
        if name is None:
            return "$"
        value = self._environ.get(name, "")
        if not value and default is not None:
            return default.removeprefix(":-")
        if name not in self._environ:
            raise ValueError(
                f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}"
            )
        if not value.isascii() and not _is_text(value):
            raise ValueError(f"the environment variable {name} is not UTF-8 text")
        used[name] = value
        self._room -= len(value)
        if self._room < 0:
            raise ValueError(f"the variables of this file expand to more than {MAX_EXPANDED >> 20} MiB")
        return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def redact(message: str, used: Mapping[str, str]) -> str:
    """Take every word that stands in the value of a variable out of a message, also when it was cut short."""
    secrets = [value for value in used.values() if len(value) >= _SHORT]
    if not secrets:
        return message
    return re.sub(
        rf"\w{{{_SHORT},}}",
        lambda word: "…" if any(word[0] in value for value in secrets) else word[0],
        message,
    )

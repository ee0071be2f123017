"""Files with tags beside a Rack file: a list as CSV, a profile as YAML. What is wrong in them is told with
file, line and column."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationInfo
from pydantic_core import PydanticCustomError

from fluxrig.errors import ConfigError, Fault
from fluxrig.modbus.csv_tags import read_tags
from fluxrig.modbus.tag_config import MAX_TAGS, TagConfig
from fluxrig.rackfile import source
from fluxrig.rackfile.environment import Expansion
from fluxrig.rackfile.faults import WHOLE_FILE, Faults, Mark, shown
from fluxrig.rackfile.nodes import MapNode, compose, data
from fluxrig.rackfile.validation import IN_FILE, validate

T = TypeVar("T", bound=TagConfig)
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class TagList(Generic[T]):
    """The tags of a CSV file."""

    path: str
    tags: Mapping[str, T]
    marks: Mapping[str, Mark] = field(compare=False)
    """Where in the file each tag stands."""
    faults: tuple[Fault, ...] = ()
    """What is wrong with the lines of a partial list that gave no tag."""

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class ProfileFile(Generic[M]):
    """A YAML file that describes a kind of device."""

    path: str
    content: M
    marks: Mapping[str, Mark] = field(compare=False)
    """Where in the file each tag stands."""

    def __str__(self) -> str:
        return self.path


def load_tag_list(path: Path, model: type[T], *, partial: bool = False) -> TagList[T]:
    """Read a CSV file of tags. Raises ConfigError with every fault in it.

    A `partial` list has the tags of the lines that are right, and the faults of the others: for who has more
    to find between the tags.
    """
    faults = Faults(str(path), limit=10 * MAX_TAGS)
    text = source.text(_as_utf8(source.read(path, faults)), faults)
    tags, marks = read_tags(text, model, faults)
    if faults and not partial:
        raise faults.error()
    return TagList(str(path), tags, marks, faults.error().faults if faults else ())


def _as_utf8(content: bytes) -> bytes:
    """Take the "Unicode text" of spreadsheets, which is UTF-16, by the mark at its beginning."""
    if not content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content
    return content.decode("utf-16", "replace").encode()


def load_profile(path: Path, model: type[M]) -> ProfileFile[M]:
    """Read a device profile. Raises ConfigError with every fault in it."""
    faults = Faults(str(path))
    root = compose(source.text(source.read(path, faults), faults), faults, Expansion({}))
    if not isinstance(root, MapNode):
        faults.stop(
            WHOLE_FILE, "a profile is a mapping with tags:, such as tags: {pressure: {at: holding/0}}"
        )
    content = validate(model, root, root.mark, faults, values=data(root))
    if faults or content is None:
        raise faults.error()
    tags = root.values.get("tags")
    return ProfileFile(str(path), content, dict(tags.keys) if isinstance(tags, MapNode) else {})


def from_file(value: object, info: ValidationInfo, load: Callable[[Path], Any]) -> Any:
    """Load the file that a key names, for a pydantic validator; a loaded one passes."""
    if not isinstance(value, str):
        return value
    if not value or len(value) > 4096:
        raise PydanticCustomError("modbus", "write the path of the file, relative to the Rack file")
    context = info.context or {}
    folder = context.get("folder", Path())
    if folder is None:
        raise PydanticCustomError("modbus", "a file beside this one can't be read from here")
    if not (folder / value).exists():
        reason = f"there is no file {shown(value)}; write its path relative to the Rack file"
        raise PydanticCustomError("modbus", "{reason}", {"reason": reason})
    try:
        return load(folder / value)
    except ConfigError as error:
        raise in_file(error.faults) from None


def in_file(faults: tuple[Fault, ...]) -> PydanticCustomError:
    """Give the error that carries faults of another file."""
    reason = "\n".join(map(str, faults))
    return PydanticCustomError(IN_FILE, "{reason}", {"reason": reason, IN_FILE: faults})


def at_tag(part: TagList[Any] | ProfileFile[Any], name: str, reason: str) -> PydanticCustomError:
    """Give the error that says what is wrong with a tag of a file, where it stands there."""
    mark = part.marks[name]
    return in_file((Fault(part.path, mark.line, mark.column, f"{name!r}: {reason}"),))

"""YAML to a tree that knows where everything stands.

Scalars resolve by the YAML 1.2 core schema, so `on`, `no`, `12:30` and dates stay text, and every key is text
as written. Tags are refused; anchors, aliases and `<<` work within the bounds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, TypeAlias

import yaml

from fluxrig.rackfile.environment import Expansion
from fluxrig.rackfile.faults import Faults, Mark, shown

MAX_DEPTH: Final = 32
MAX_NODES: Final = 250_000
"""How many values a file may have once its aliases are expanded."""

_MAX_NUMBER: Final = 64
_INT: Final = re.compile(r"[-+]?[0-9]+")
_BASED: Final = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final[Mapping[str, bool | float | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **{f"{sign}{word}": float(f"{sign}inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
}


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A single value. `source` is the text in the file; `used` the variables in it and their values."""

    mark: Mark
    value: Any
    source: str
    used: Mapping[str, str] = field(default_factory=dict)
    broken: bool = False
    """Already reported: whatever else is wrong with the value follows from that."""


@dataclass(frozen=True, slots=True)
class ListNode:
    mark: Mark
    items: Sequence[Node]


@dataclass(frozen=True, slots=True)
class MapNode:
    mark: Mark
    keys: Mapping[str, Mark]
    values: Mapping[str, Node]


Node: TypeAlias = ScalarNode | ListNode | MapNode


def resolve(text: str) -> Any:
    """Give the value of a plain scalar (YAML 1.2.2 §10.3.2, core schema)."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _MAX_NUMBER:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def data(node: Node) -> Any:
    """Give what the node says as dicts, lists and scalars."""
    if isinstance(node, MapNode):
        return {key: data(value) for key, value in node.values.items()}
    if isinstance(node, ListNode):
        return [data(item) for item in node.items]
    return node.value


def paths(node: Node, path: tuple[int | str, ...] = ()) -> Iterator[tuple[tuple[int | str, ...], ScalarNode]]:
    """Give every single value in and below a node with the way to it."""
    if isinstance(node, ScalarNode):
        yield path, node
    else:
        children = enumerate(node.items) if isinstance(node, ListNode) else node.values.items()
        for part, child in children:
            yield from paths(child, (*path, part))


def scalars(node: Node) -> Iterator[ScalarNode]:
    """Give every single value in and below a node."""
    return (scalar for _, scalar in paths(node))


def compose(text: str, faults: Faults, expansion: Expansion) -> Node | None:
    """Give the tree of a text, None when it is empty; stop where it is no YAML or passes a bound."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Composer(yaml.parse(text, Loader=loader), faults, expansion).document()
    except yaml.MarkedYAMLError as error:
        faults.stop(_mark(error.problem_mark or error.context_mark), _syntax(error, text))
    except yaml.YAMLError as error:
        faults.stop(Mark(1, 1), f"not YAML: {getattr(error, 'reason', error)}")


class _Composer:
    """Builds nodes from parser events, so that depth, aliases and tags are judged at once."""

    def __init__(self, events: Iterator[Any], faults: Faults, expansion: Expansion) -> None:
        self._events = events
        self._faults = faults
        self._expansion = expansion
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._count = 0

    def document(self) -> Node | None:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self._faults.stop(
                        _mark(event.start_mark), "a Rack file is one YAML document; remove this one"
                    )
                root = self._node(next(self._events), 0)
        return root

    def _node(self, event: Any, depth: int) -> Node:
        mark, before = _mark(event.start_mark), self._count
        self._grow(1, mark)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, mark)
        if depth > MAX_DEPTH:
            self._faults.stop(mark, f"nested more than {MAX_DEPTH} deep")
        if event.tag is not None:
            self._faults.add(mark, f"YAML tags such as {shown(event.tag)} have no meaning here; remove it")
        node = self._build(event, mark, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, self._count - before)
        return node

    def _build(self, event: Any, mark: Mark, depth: int) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, mark)
        if isinstance(event, yaml.SequenceStartEvent):
            return ListNode(mark, list(self._items(depth)))
        return self._mapping(mark, depth)

    def _grow(self, size: int, mark: Mark) -> None:
        self._count += size
        if self._count > MAX_NODES:
            self._faults.stop(
                mark, f"the file has more than {MAX_NODES:,} values once its aliases are expanded"
            )

    def _alias(self, name: Any, mark: Mark) -> Node:
        if name not in self._anchors:
            self._faults.stop(mark, f"the alias *{name} has no finished anchor &{name} before it")
        node, size = self._anchors[name]
        self._grow(size, mark)
        return node

    def _scalar(self, event: Any, mark: Mark) -> ScalarNode:
        source = event.value
        try:
            text, used = self._expansion.expand(source)
        except ValueError as error:
            self._faults.add(mark, str(error))
            return ScalarNode(mark, None, source, broken=True)
        return ScalarNode(mark, text if event.style else resolve(text), source, used)

    def _items(self, depth: int) -> Iterator[Node]:
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, depth + 1)

    def _mapping(self, mark: Mark, depth: int) -> MapNode:
        keys: dict[str, Mark] = {}
        values: dict[str, Node] = {}
        merged: list[tuple[Mark, Node]] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key, at = self._key(event, depth), _mark(event.start_mark)
            value = self._node(next(self._events), depth + 1)
            if key is None:
                continue
            if key == "<<":
                merged.append((at, value))
            elif key in keys:
                self._faults.add(
                    at, f"{shown(key)} is already given at line {keys[key].line}; keep one of them"
                )
            else:
                keys[key], values[key] = at, value
        for at, value in merged:
            self._merge(at, value, keys, values)
        return MapNode(mark, keys, values)

    def _key(self, event: Any, depth: int) -> str | None:
        if isinstance(event, yaml.ScalarEvent) and event.tag is None:
            self._grow(1, _mark(event.start_mark))
            return str(event.value)
        self._faults.add(
            _mark(event.start_mark), "a key is a plain word, not a mapping, a list, an alias or a tag"
        )
        self._node(event, depth + 1)
        return None

    def _merge(self, at: Mark, value: Node, keys: dict[str, Mark], values: dict[str, Node]) -> None:
        for source in value.items if isinstance(value, ListNode) else (value,):
            if not isinstance(source, MapNode):
                self._faults.add(
                    at, "'<<' takes an alias of a mapping, such as <<: *defaults, or a list of them"
                )
                return
            for key, child in source.values.items():
                if key not in keys:
                    keys[key], values[key] = source.keys[key], child


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1) if mark is not None else Mark(1, 1)


def _syntax(error: yaml.MarkedYAMLError, text: str) -> str:
    at, since = _mark(error.problem_mark or error.context_mark), _mark(error.context_mark)
    message = f"not YAML: {error.problem or error.context}"
    if error.context and error.problem and since.line < at.line:
        message += f" {error.context} that begins at line {since.line}"
    line = next(islice(text.split("\n"), at.line - 1, None), "")
    if "${" in line:
        return f"{message}; put quotes around a ${{…}} inside braces or brackets"
    if "\t" in line[: at.column]:
        return f"{message}; indent with spaces, not with tabs"
    if "mapping values are not allowed" in message:
        return f"{message}; put quotes around a text with ': ' in it, and mind the indentation"
    return message

"""YAML to a tree with places: plain data only, as YAML 1.2 reads it, bounded in size and depth.

Built from the parser's events, so that nothing is constructed and nothing recurses.  Tags, anchors, aliases
and merge keys are refused.  ``no``, ``on`` and ``yes`` are text, as in YAML 1.2; ``1e-3`` is a number.
"""

from __future__ import annotations

import re
from typing import Any

from cortex_core.place import Place
from cortex_core.registry import UNKNOWN
from cortex_core.spec.syntax import explain
from cortex_core.spec.tree import MAX_DEPTH, MAX_NODES, Mark, Node, Problems, printable

MAX_BYTES = 4 * 2**20
HDF5 = b"\x89HDF\r\n\x1a\n"
ARCHIVE = b"PK\x03\x04"
"""What HDF5 files and zip archives begin with."""

_INTEGER = re.compile(r"[-+]?[0-9]{1,1000}")
_RADIX = re.compile(r"0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, object] = {"": None, "~": None}
_WORDS |= dict.fromkeys(("null", "Null", "NULL"))
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_WORDS |= {w: float("inf") for w in (".inf", ".Inf", ".INF", "+.inf")} | {"-.inf": float("-inf")}
_WORDS |= {w: float("nan") for w in (".nan", ".NaN", ".NAN")}


def scalar(text: str) -> object:
    """The value of a plain (unquoted) scalar: YAML 1.2's core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _RADIX.fullmatch(text):
        return int(text[2:], 8 if text[1] == "o" else 16)
    if len(text) < 1000 and _FLOAT.fullmatch(text):
        return float(text)
    return text


def parse(text: str | bytes, file: str, problems: Problems) -> Node:
    """The tree of a YAML text.  What is wrong is added to ``problems``; where nothing can be read, the
    tree is UNKNOWN."""
    decoded = _decode(text, file, problems)
    if decoded is None:
        return Node(UNKNOWN)
    try:
        return _Builder(file, problems).build(decoded)
    except _Stop:
        return Node(UNKNOWN)


def _decode(text: str | bytes, file: str, problems: Problems) -> str | None:
    if isinstance(text, bytes) and text.startswith((HDF5, ARCHIVE)) and (told := _of_others(file)):
        problems.add(Place(file, 1, 1), told)
        return None
    if isinstance(text, bytes) and text.startswith(HDF5):
        found = "this is HDF5, as the file of a model is"
        problems.add(Place(file, 1, 1), found, "expected the text of a description, such as model.yaml")
        return None
    if len(text) > MAX_BYTES:
        found = f"the file has {len(text):,} bytes"
        problems.add(Place(file, 1, 1), found, f"expected {MAX_BYTES:,} at most")
        return None
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = text[: error.start]
        place = Place(file, before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        if told := _of_others(file):
            problems.add(Place(file, 1, 1), told)
        else:
            problems.add(place, f"byte 0x{text[error.start]:02x} is not UTF-8", "expected text in UTF-8")
        return None


def _of_others(file: str) -> str:
    from cortex_core.exchange.recognised import advice

    return advice(file)


class _Stop(Exception):
    """The problem that was just added makes the rest unreadable."""


class _Open:
    """A list or mapping whose end has not been read."""

    __slots__ = ("items", "key", "key_mark", "keys", "mark", "names")

    def __init__(self, mark: Mark, mapping: bool) -> None:
        self.mark = mark
        self.items: list[Node] = []
        self.names: dict[str, Node] | None = {} if mapping else None
        self.keys: dict[str, Mark] = {}
        self.key: str | None = None
        self.key_mark = mark


class _Builder:
    """Builds nodes from events, with an explicit stack."""

    def __init__(self, file: str, problems: Problems) -> None:
        self.file = file
        self.problems = problems
        self.stack: list[_Open] = []
        self.root: Node | None = None
        self.count = 0

    def build(self, text: str) -> Node:
        import yaml

        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            for event in yaml.parse(text, Loader=loader):
                getattr(self, f"_{type(event).__name__}", self._other)(event)
        except yaml.YAMLError as error:
            self._syntax(error, text)
        if self.root is None:
            raise self._stop(Mark(self.file, 1, 1), "the file is empty", "expected a description")
        return self.root

    def _mark(self, event: Any) -> Mark:
        return Mark(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _stop(self, mark: Mark, found: str, expected: str = "", hint: str = "") -> _Stop:
        self.problems.add(self._place(mark), found, expected, hint)
        return _Stop()

    def _place(self, mark: Mark) -> Place:
        path = ""
        for parent in self.stack:
            key = f"[{len(parent.items)}]" if parent.names is None else f".{printable(parent.key or '')}"
            path += "" if key == "." else key
        path = path.removeprefix(".")
        return Place(mark.file, mark.line, mark.column, path if len(path) <= 120 else path[:117] + "...")

    def _other(self, event: Any) -> None:
        pass

    def _DocumentStartEvent(self, event: Any) -> None:
        if self.root is not None:
            raise self._stop(self._mark(event), "a second document ('---')", "expected one in a file")

    def _AliasEvent(self, event: Any) -> None:
        found = f"an alias (*{printable(event.anchor)})"
        hint = "Write the value out, or use 'blocks' for what repeats"
        raise self._stop(self._mark(event), found, "a description has no aliases", hint)

    def _common(self, event: Any) -> Mark:
        """Bounds, and what no value may bear."""
        mark = self._mark(event)
        self.count += 1
        if len(self.stack) > MAX_DEPTH:
            raise self._stop(mark, f"data nests deeper than {MAX_DEPTH} levels")
        if self.count > MAX_NODES:
            raise self._stop(mark, f"more than {MAX_NODES:,} values in one file")
        if event.anchor is not None:
            hint = "Leave it out; use 'blocks' for what repeats"
            found = f"an anchor (&{printable(event.anchor)})"
            raise self._stop(mark, found, "a description has no anchors", hint)
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise self._stop(mark, f"a tag ({printable(tag)})", "a description is plain data", "Leave it out")
        return mark

    def _ScalarEvent(self, event: Any) -> None:
        mark = self._common(event)
        parent = self.stack[-1] if self.stack else None
        if parent is not None and parent.names is not None and parent.key is None:
            self._key(parent, event.value, mark)
        else:
            self._add(Node(event.value if event.style else scalar(event.value), mark))

    def _key(self, parent: _Open, name: str, mark: Mark) -> None:
        """A key is a name, whatever it looks like: ``on``, ``1`` and ``null`` too."""
        parent.key, parent.key_mark = name, mark
        if parent.names is not None and name in parent.names:
            first = parent.keys[name]
            found = f"'{printable(name)}' stands here twice"
            expected = f"expected it once (the first is in line {first.line}, column {first.column})"
            self.problems.add(self._place(mark), found, expected)

    def _SequenceStartEvent(self, event: Any) -> None:
        self._begin(event, False)

    def _MappingStartEvent(self, event: Any) -> None:
        self._begin(event, True)

    def _begin(self, event: Any, mapping: bool) -> None:
        mark = self._common(event)
        if self.stack and self.stack[-1].names is not None and self.stack[-1].key is None:
            found = f"a {'mapping' if mapping else 'list'} as a key"
            raise self._stop(mark, found, "expected a name", "Quote what begins with a brace or bracket")
        self.stack.append(_Open(mark, mapping))

    def _SequenceEndEvent(self, event: Any) -> None:
        done = self.stack.pop()
        self._add(Node(done.items, done.mark))

    def _MappingEndEvent(self, event: Any) -> None:
        done = self.stack.pop()
        self._add(Node(done.names, done.mark, done.keys))

    def _add(self, node: Node) -> None:
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if parent.names is None:
            parent.items.append(node)
            return
        name, parent.key = parent.key or "", None
        if name not in parent.names:
            parent.names[name] = node
            parent.keys[name] = parent.key_mark

    def _syntax(self, error: Any, text: str) -> None:
        line, column, found, hint = explain(error, text)
        self.stack.clear()
        raise self._stop(Mark(self.file, line, column), found, "", hint)

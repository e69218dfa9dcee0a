"""Named things in a description, in the four ways to write them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from cortex_compute.errors import SpecError
from cortex_compute.frozen import frozen
from cortex_core.registry import kinds
from cortex_core.registry.classes import Registry, build, named_data
from cortex_core.registry.faults import UNKNOWN, Fault, Invalid, Path, clipped, shown
from cortex_core.registry.kinds import Kind
from cortex_core.registry.nearest import nearest


@frozen
class Written:
    """A named thing as somebody wrote it: the name, its fields, and the path of each field in the data."""

    name: str
    fields: Mapping[str, object]
    paths: Mapping[str, Path]
    path: Path = ()


def unfold(value: object, main_of: Callable[[str], str | None]) -> Written:
    """Reads the four ways to write a named thing: NAME, {NAME: MAIN}, {NAME: FIELDS}, [NAME, MAIN, FIELDS].

    ``main_of`` tells the main field of a name, or None where it has none, and raises Invalid for a name
    that nobody knows (its path is relative to the name).
    """
    if isinstance(value, str):
        main_of(value)
        return Written(value, {}, {})
    if isinstance(value, Mapping):
        return _unfold_mapping(value, main_of)
    if isinstance(value, (list, tuple)) and value and value[0] is UNKNOWN:
        raise Invalid([])
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], str):
        return _unfold_vector(value, main_of)
    raise Invalid([Fault((), shown(value), "expected a name, {name: fields} or [name, argument, {fields}]")])


def _unfold_mapping(value: Mapping[str, object], main_of: Callable[[str], str | None]) -> Written:
    if len(value) != 1:
        raise Invalid([_several_keys(list(value), main_of)])
    ((name, inner),) = value.items()
    try:
        main = main_of(name)
    except Invalid as invalid:
        raise Invalid(dataclasses.replace(f.under(name), at_key=True) for f in invalid.faults) from None
    if inner is UNKNOWN:
        raise Invalid([])
    if inner is None:
        return Written(name, {}, {}, (name,))
    if isinstance(inner, Mapping):
        return Written(name, inner, {key: (name, key) for key in inner}, (name,))
    if main is None:
        expected = f"{name} has no main argument: expected a mapping of fields"
        names = isinstance(inner, list) and all(isinstance(item, str) for item in inner)
        hint = f"Write {{{name}: {{from: [...]}}}} if it takes these" if names and inner else ""
        raise Invalid([Fault((name,), shown(inner), expected, hint)])
    return Written(name, {main: inner}, {main: (name,)}, (name,))


def _several_keys(names: list[str], main_of: Callable[[str], str | None]) -> Fault:
    if not names:
        return Fault((), "this is an empty mapping", "expected one name and its fields")
    known = []
    for name in names:
        try:
            main_of(name)
        except Invalid:
            continue
        known.append(name)
    if names[0] in ("type", "kind", "class_name", "layer"):
        hint = f"Write the name as the key, and the fields behind it: {{NAME: {{{names[1]}: ...}}}}"
        return Fault((names[0],), f"'{names[0]}' is no name that is known", "", hint, at_key=True)
    found = f"{len(names)} keys where one name is expected: {', '.join(map(repr, names[:4]))}"
    if len(known) == 1:
        rest = next(name for name in names if name != known[0])
        hint = f"If '{rest}' is a field of '{known[0]}', indent it further than '{known[0]}'"
        return Fault((rest,), found, "", hint, at_key=True)
    return Fault((names[1],), found, "", "Begin each with its own '- '" if known else "", at_key=True)


def _unfold_vector(value: list[Any] | tuple[Any, ...], main_of: Callable[[str], str | None]) -> Written:
    name, *rest = value
    try:
        main = main_of(name)
    except Invalid as invalid:
        raise Invalid(fault.under(0) for fault in invalid.faults) from None
    fields: dict[str, object] = {}
    paths: dict[str, Path] = {}
    if rest and isinstance(rest[-1], Mapping):
        fields = dict(rest[-1])
        paths = {key: (len(rest), key) for key in fields}
        rest.pop()
    if len(rest) > (main is not None):
        allowed = f"one argument, {main}, and then {{fields}}" if main else "{fields} only"
        raise Invalid([Fault((len(rest),), f"{len(rest)} arguments after '{name}'", f"expected {allowed}")])
    if rest and main in fields:
        raise Invalid([Fault(paths[main], f"'{main}' is given twice", "expected it once", "", True)])
    if rest and main is not None:
        fields[main], paths[main] = rest[0], (1,)
    return Written(name, fields, paths, (0,))


@cache
def load_plugins(group: str = "cortex.layers") -> Mapping[str, Any]:
    """What the entry points of a group name, loaded: modules register what they hold.

    Done once, and only when a name is met that nobody knows yet, or when all names are asked for.
    """
    from importlib.metadata import entry_points

    loaded = {}
    for point in entry_points(group=group):
        try:
            loaded[point.name] = point.load()
        except Exception as error:
            what = group.rpartition(".")[2]
            raise SpecError(f"the {what} of '{point.value}' cannot be loaded: {error!r}") from error
    return loaded


@frozen
class Named(Kind):
    """A registered thing: ``adam``, ``{adam: {learning_rate: 0.01}}``; ``only`` narrows the choice."""

    registry: Registry
    noun: str
    only: str = ""

    def names(self) -> list[str]:
        """The names that may stand here."""
        return [n for n, cls in self.registry.items() if not self.only or getattr(cls, self.only)]

    @property
    def words(self) -> str:
        return f"the name of {'an' if self.noun[0] in 'aeio' else 'a'} {self.noun}"

    def main_of(self, name: str) -> str | None:
        """The main field of a registered name; Invalid for an unknown one."""
        if name not in self.registry:
            load_plugins(self.registry.group)
        if name not in self.registry or (self.only and not getattr(self.registry[name], self.only)):
            known = name in self.registry
            what = f"'{name}' is no {self.noun}" if known else f"unknown {self.noun} {clipped(name)}"
            names = self.names()
            hint = nearest(name, names)
            raise Invalid([Fault((), what, "" if hint else f"expected one of {', '.join(names)}", hint)])
        main: str | None = self.registry[name].main
        return main

    def read(self, value: Any) -> Any:
        kind = getattr(value, "kind", None)
        if kind is not None and self.registry.get(kind) is type(value):
            self.main_of(kind)
            return value
        if not isinstance(value, (str, Mapping, list, tuple)) or not value:
            raise self.refuse(value)
        written = unfold(value, self.main_of)
        try:
            return build(self.registry[written.name], written.fields)
        except Invalid as invalid:
            raise Invalid(_placed(fault, written) for fault in invalid.faults) from None

    def data(self, value: Any) -> Any:
        return named_data(value)

    def schema(self) -> kinds.Schema:
        return {"$ref": f"#/$defs/{self.only or self.noun}"}


def _placed(fault: Fault, written: Written) -> Fault:
    """A fault of a field, seen from the value in which the thing is written."""
    head, *rest = fault.path or ("",)
    path = written.paths.get(str(head), written.path)
    return dataclasses.replace(fault, path=(*path, *rest))

"""The classes that a description names: their fields, their registries, and building them from plain data."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from cortex_compute.errors import SpecError
from cortex_compute.frozen import frozen
from cortex_core.registry import kinds
from cortex_core.registry.faults import UNKNOWN, Fault, Invalid
from cortex_core.registry.kinds import FromClass, Kind, Limits
from cortex_core.registry.nearest import nearest

T = TypeVar("T")
REQUIRED: Any = dataclasses.MISSING


class Registry(Mapping[str, "type[Any]"]):
    """Classes by the name that a description uses, such as ``LAYERS["dense"]``.

    ``home`` is the module that registers those of this package, or a package of such modules, whose ``KINDS``
    say which names each has: a module is imported when one of its names is looked up.  ``group`` are the
    entry points of other packages.
    """

    def __init__(self, noun: str, home: str = "", group: str = "cortex.layers") -> None:
        self.noun, self.home, self.group = noun, home, group
        self._classes: dict[str, type[Any]] = {}

    def add(self, kind: str, cls: type) -> None:
        """Registers a class; a name is given once (the same class, defined again, replaces itself)."""
        ours = cls.__module__.startswith("cortex_core.")
        known = self._classes.get(kind) if ours else self.get(kind)
        if known and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            owner = f"{known.__module__}.{known.__qualname__}"
            raise SpecError(f"{self.noun} '{kind}' is already registered, by {owner}: choose another name")
        self._classes[kind] = cls

    def __getitem__(self, kind: str) -> type[Any]:
        if kind not in self._classes and (module := self._modules.get(kind)):
            import_module(module)
        return self._classes[kind]

    def __contains__(self, kind: object) -> bool:
        return kind in self._modules or kind in self._classes

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._modules, *self._classes)))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @cached_property
    def _modules(self) -> Mapping[str, str]:
        """The module of each name of this package, where importing ``home`` has not registered it."""
        kinds = getattr(import_module(self.home), "KINDS", {}) if self.home else {}
        return {kind: f"{self.home}.{module}" for module, named in kinds.items() for kind in named.split()}


LAYERS = Registry("layer", "cortex_core.layers")
LOSSES = Registry("loss", "cortex_core.losses")
METRICS = Registry("metric", "cortex_core.metrics")
OPTIMIZERS = Registry("optimizer", "cortex_core.optimizers")
SCHEDULES = Registry("schedule", "cortex_core.schedules")
INITIALIZERS = Registry("initializer", "cortex_core.initializers")
SPLITS = Registry("split", "cortex_core.splits")
STREAMS = Registry("stream", "cortex_core.derived")
CONSTRAINTS = Registry("constraint", "cortex_core.constraints")
READERS = Registry("reader", group="cortex.readers")
AUGMENTATIONS = Registry("augmentation", group="cortex.augmentations")


@frozen
class Field:
    """One field of a registered class.  ``name`` is what descriptions say, ``attribute`` what Python says."""

    name: str
    attribute: str
    kind: Kind
    default: Any
    like: str
    doc: str

    @property
    def required(self) -> bool:
        """Whether a description has to give it."""
        return self.default is REQUIRED and not self.like


def field(
    *,
    default: Any = REQUIRED,
    doc: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Iterable[Any] = (),
    like: str = "",
    name: str = "",
) -> Any:
    """A field of a registered class.

    ``minimum`` and ``maximum`` include their ends, ``above`` and ``below`` do not; in lists they hold for
    each item.  ``like`` names the field whose value is the default.  ``name`` is the name in a description
    where that is no Python name, such as ``return``.
    """
    limits = Limits(minimum, maximum, above, below)
    told = {"doc": doc, "limits": limits, "choices": tuple(choices), "like": like, "name": name}
    if like and default is REQUIRED:
        default = None
    return dataclasses.field(default=default, metadata=told)


def _read_self(cls: type, given: Mapping[str, object], also: Iterable[str]) -> dict[str, Any]:
    """Values by attribute, from plain data by field name; raises Invalid with every fault."""
    known = fields_of(cls)
    faults = [_unknown(cls, name, known, also) for name in given if name not in known]
    values: dict[str, Any] = {}
    for field_ in known.values():
        if field_.name in given or not (field_.like or field_.required):
            value = given.get(field_.name, field_.default)
            try:
                values[field_.attribute] = value if value is UNKNOWN else field_.kind.read(value)
            except Invalid as invalid:
                faults += [fault.under(field_.name) for fault in invalid.faults]
        elif field_.required and not any(f"'{field_.name}" in fault.hint for fault in faults):
            # (A misspelt name is one mistake, not two.)
            faults.append(Fault((), f"'{field_.name}' is missing", f"expected {field_.kind.words}"))
    if faults or any(value is UNKNOWN for value in given.values()):
        raise Invalid(faults)
    for field_ in known.values():
        if field_.like and values.get(field_.attribute) is None:
            values[field_.attribute] = values[known[field_.like].attribute]
    return {field_.attribute: values[field_.attribute] for field_ in known.values()}


def _unknown(cls: type, name: str, known: Iterable[str], also: Iterable[str]) -> Fault:
    names = list(known)
    hint = nearest(name, [*names, *also])
    head, colon, rest = name.partition(":")
    if colon and head in [*names, *also]:
        hint = f"Write '{head}: {rest.strip()}', with a space after the colon"
    owner = getattr(cls, "kind", cls.__name__)
    expected = "" if hint else (f"expected {', '.join(names)}" if names else f"{owner} has no fields")
    return Fault((name,), "unknown field", expected, hint, at_key=True)


def build(cls: type[T], given: Mapping[str, object], also: Iterable[str] = ()) -> T:
    """An instance from plain data, by field name.  Raises :class:`Invalid` with one fault per mistake.

    ``also`` are names that may stand beside the fields; they serve to guess what was meant.
    """
    values = _read_self(cls, given, also)
    instance = object.__new__(cls)
    for attribute, value in values.items():
        object.__setattr__(instance, attribute, value)
    check = getattr(instance, "check", None)
    faults = list(check()) if check else []
    if faults:
        raise Invalid(faults)
    return instance


def _sentence(cls: type, fault: Fault) -> str:
    where = ".".join([cls.__name__, *map(str, fault.path)])
    text = ": ".join(part for part in (where, fault.found, fault.expected) if part)
    return f"{text}. {fault.hint}" if fault.hint else text


def fields_of(cls: type) -> Mapping[str, Field]:
    """The fields of a registered class, by the name that descriptions use."""
    known: Mapping[str, Field] | None = cls.__dict__.get("_fields")
    if known is None:
        hints = get_type_hints(cls, include_extras=True)
        known = {}
        for told in dataclasses.fields(cls):
            made = _field_of(cls, told, hints[told.name])
            known[made.name] = made
        cls._fields = known  # type: ignore[attr-defined]
    return known


def _field_of(cls: type, told: dataclasses.Field[Any], hint: Any) -> Field:
    meta = told.metadata
    kind = _kind_of(hint, cls, meta.get("limits"), meta.get("choices", ()))
    name = meta.get("name") or told.name
    return Field(name, told.name, kind, told.default, meta.get("like", ""), meta.get("doc", ""))


def _kind_of(hint: Any, cls: type, limits: Limits | None, choices: tuple[Any, ...]) -> Kind:
    """The kind that an annotation stands for."""
    limits = None if limits == kinds.NONE else limits
    if choices:
        return kinds.Choice(choices)
    simple = {int: kinds.Whole(limits or kinds.NONE), float: kinds.Real(limits or kinds.NONE)}
    if hint in simple:
        return simple[hint]
    if hint in (bool, str):
        return kinds.Flag() if hint is bool else kinds.Text()
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        for mark in hint.__metadata__:
            if isinstance(mark, FromClass):
                return mark.make(limits, getattr(cls, "rank", 1))
    if origin is Literal:
        return kinds.Choice(arguments)
    if origin in (Union, types.UnionType):
        inner = [_kind_of(a, cls, limits, ()) for a in arguments if a is not type(None)]
        one = inner[0] if len(inner) == 1 else kinds.Either(tuple(inner))
        return kinds.Optional_(one) if type(None) in arguments else one
    if origin is tuple and arguments[1:] == (...,):
        return kinds.Many(_kind_of(arguments[0], cls, limits, ()))
    if isinstance(hint, type) and "_is_record" in hint.__dict__:
        return Record(hint)
    raise TypeError(f"{cls.__name__}: no kind of field for the annotation {hint!r}")


def declare(cls: type[T]) -> type[T]:
    """Makes a class with annotated fields a frozen dataclass, built by keyword and validated."""
    made: Any = frozen(cls)
    made.__init__ = _init
    return made  # type: ignore[no-any-return]


def _init(self: Any, **values: object) -> None:
    """Builds from keywords.  A value that does not fit is a SpecError, an unknown keyword a TypeError."""
    cls = type(self)
    names = {field_.attribute: field_.name for field_ in fields_of(cls).values()}
    for attribute in values:
        if attribute not in names:
            raise TypeError(f"{cls.__name__} has no field '{attribute}'. {nearest(attribute, names)}".strip())
    try:
        built: Any = build(cls, {names[attribute]: value for attribute, value in values.items()})
    except Invalid as invalid:
        raise SpecError("; ".join(_sentence(cls, fault) for fault in invalid.faults)) from None
    self.__dict__.update(built.__dict__)


def data_of(instance: object) -> dict[str, Any]:
    """Canonical data of an instance: every field, by name, with its default where none was given."""
    known = fields_of(type(instance)).values()
    return {field_.name: field_.kind.data(getattr(instance, field_.attribute)) for field_ in known}


def named_data(instance: Any) -> Any:
    """Canonical data of a registered thing: its name, or {name: fields} where it has fields."""
    return {instance.kind: data_of(instance)} if fields_of(type(instance)) else instance.kind


@frozen
class Record(Kind):
    """A mapping with the fields of one class, such as ``early_stopping: {patience: 3}``."""

    cls: type

    @property
    def words(self) -> str:
        return f"a mapping with {', '.join(fields_of(self.cls))}"

    def read(self, value: Any) -> Any:
        if isinstance(value, self.cls):
            return value
        if not isinstance(value, Mapping):
            raise self.refuse(value)
        return build(self.cls, value)

    def data(self, value: Any) -> Any:
        return data_of(value)

    def schema(self) -> kinds.Schema:
        return fields_schema(self.cls)


def fields_schema(cls: type) -> kinds.Schema:
    """JSON schema of a mapping with the fields of a class."""
    known = fields_of(cls)
    properties = {}
    for field_ in known.values():
        properties[field_.name] = dict(field_.kind.schema())
        if field_.doc:
            properties[field_.name]["description"] = field_.doc
    required = [name for name, field_ in known.items() if field_.required]
    schema: kinds.Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": required} if required else schema

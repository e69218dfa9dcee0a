"""The sections of a description beside its layers: name, inputs, losses, outputs and train."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from cortex_compute.frozen import frozen
from cortex_compute.types import DTYPES
from cortex_core.registry import (
    LOSSES,
    METRICS,
    UNKNOWN,
    Fault,
    Invalid,
    build,
    fields_of,
    name_of_stream,
    nearest,
    sources_of,
    with_sources,
)
from cortex_core.registry import Named as NamedKind
from cortex_core.registry.kinds import Choice, Kind, Limits, Optional_, Real, Text, Whole, read_items
from cortex_core.registry.sources import StreamKind
from cortex_core.spec.description import (
    AUTO,
    UNKNOWN_SOURCE,
    InputNode,
    LossNode,
    MetricNode,
    Named,
    flat,
)
from cortex_core.spec.expand import Identifier, Reference, Scope
from cortex_core.spec.item import Item, read_item
from cortex_core.spec.train import TrainOptions
from cortex_core.spec.tree import Node, Problems

TOP = ("cortex", "name", "inputs", "blocks", "layers", "loss", "outputs", "train")
VERSION = 1
MOST = 2**40  # elements of one example
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")

Resolve = Callable[[Reference], str]


def read_top(root: Node, problems: Problems) -> dict[str, Node]:
    """The sections by name; unknown ones are reported."""
    if not isinstance(root.value, dict):
        if root.value is not UNKNOWN:
            problems.at(root, "this is no mapping", f"expected {', '.join(TOP)}")
        return {}
    for key in root.value:
        if key not in TOP:
            hint = nearest(key, TOP)
            problems.at_key(root, key, "unknown section", "" if hint else f"expected {', '.join(TOP)}", hint)
    missing = [key for key in ("inputs", "layers") if key not in root.value]
    # A misspelt section is one mistake, not two.
    meant = " ".join(nearest(key, TOP) for key in root.value if key not in TOP)
    for key in missing:
        if f"'{key}'" not in meant:
            problems.at(root, f"'{key}' is missing", f"expected {_WANTED[key]}")
    return {key: node for key, node in root.value.items() if key in TOP}


_WANTED = {"inputs": "names and shapes: {image: [28, 28, 1]}", "layers": "a list of layers"}


def read_value(node: Node | None, kind: Kind, default: Any, problems: Problems) -> Any:
    """A value by its kind; the default where it is missing or wrong."""
    if node is None or node.has_unknown():
        return default
    try:
        return kind.read(node.plain())
    except Invalid as invalid:
        for fault in invalid.faults:
            problems.fault(node, fault)
    return default


def read_version(node: Node | None, problems: Problems) -> None:
    """``cortex: 1`` names the version of the format."""
    if node is not None and node.value is not UNKNOWN and (node.value != VERSION or node.value is True):
        found = f"version {node.plain()!r:.40}"
        problems.at(node, found, f"this program reads version {VERSION}")


@frozen
class NameKind(Text):
    """The name of a network: it names folders, so it is short and plain."""

    words = "a name of letters, digits, ., _ and -"

    def read(self, value: Any) -> str:
        text = super().read(value)
        if not _NAME.fullmatch(text):
            raise self.refuse(text)
        return text


def default_name(file: str) -> str:
    """The name of a network that has none: that of its file."""
    return re.sub(r"[^A-Za-z0-9_.\-]", "_", PurePath(file).stem)[:100].lstrip(".-") or "network"


def read_inputs(node: Node | None, problems: Problems) -> tuple[InputNode, ...]:
    """The section ``inputs``: NAME: shape, or NAME: {shape, dtype}."""
    if node is None or node.value is UNKNOWN:
        return ()
    if not isinstance(node.value, dict) or not node.value:
        problems.at(node, "this names no inputs", f"expected {_WANTED['inputs']}")
        return ()
    return tuple(_read_input(node, name, inner, problems) for name, inner in node.value.items())


def _read_input(owner: Node, name: str, node: Node, problems: Problems) -> InputNode:
    named = True
    try:
        Identifier().read(name)
    except Invalid as invalid:
        named = False
        problems.at_key(owner, name, *_words(invalid))
    shape_node: Node | None = node
    dtype = ""
    if isinstance(node.value, dict):
        for key in node.value:
            if key not in ("shape", "dtype"):
                hint = nearest(key, ("shape", "dtype"))
                problems.at_key(node, key, "unknown field", "" if hint else "expected shape, dtype", hint)
        shape_node = node.value.get("shape")
        if shape_node is None and not any(
            "'shape'" in nearest(key, ("shape", "dtype")) for key in node.value
        ):
            problems.at_key(owner, name, "'shape' is missing", "expected a list of sizes")
        dtype = read_value(node.value.get("dtype"), Choice(tuple(DTYPES)), dtype, problems)
    shape = read_value(shape_node, InputShape(), None, problems)
    if not dtype:
        dtype = AUTO if shape_node is not None and shape_node.value == AUTO else "float32"
    return InputNode(name, shape if named else None, dtype, owner.place(at_key=name))


def _words(invalid: Invalid) -> tuple[str, str, str]:
    fault = invalid.faults[0]
    return fault.found, fault.expected, fault.hint


@frozen
class InputShape(Kind):
    """Sizes without the batch axis; null is any length.  A single number is a list of one.

    ``auto`` leaves the sizes to the data; it is read as None, which is a shape that is not known.
    """

    words = "a list of sizes without the batch axis, such as [28, 28, 1], or auto"

    def read(self, value: Any) -> tuple[int | None, ...] | None:
        if value == AUTO:
            return None
        size = Optional_(Whole(Limits(minimum=1)))
        if isinstance(value, (list, tuple)):
            if any(item in ("None", "none", "?") for item in value):
                raise self.refuse(value, "Write null for an axis of any length")
            shape = read_items(size, value)
            if math.prod(n or 1 for n in shape) > MOST:
                raise Invalid([Fault((), "this is too large", f"expected {MOST:,} elements at most")])
            return shape
        if value is None or isinstance(value, (str, bool)):
            raise self.refuse(value, nearest(value, (AUTO,)) if isinstance(value, str) else "")
        return (Whole(Limits(minimum=1)).read(value),)

    def schema(self) -> dict[str, Any]:
        size = Whole(Limits(minimum=1)).schema()
        many = {"type": "array", "items": {"anyOf": [size, {"type": "null"}]}}
        return {"anyOf": [size, many, {"const": AUTO}]}


def each_written(node: Node | None, common: Collection[str]) -> list[Node]:
    """The things of a section that holds one or several: NAME, a list, or a mapping of several names.

    A mapping in which a ``common`` field stands is one thing, wrongly indented.
    """
    if node is None or node.value is UNKNOWN:
        return []
    if isinstance(node.value, list):
        return node.value
    if isinstance(node.value, dict) and len(node.value) > 1 and not node.value.keys() & {*common}:
        return [_single(node, name) for name in node.value]
    return [node]


def _single(node: Node, name: str) -> Node:
    """One entry of a mapping, as a mapping of its own in the same place."""
    one = Node(
        {name: node.value[name]}, node.keys.get(name, node.mark), {name: node.keys.get(name, node.mark)}
    )
    one.parent, one.key = node.parent, node.key
    return one


TOTAL = "loss"  # what the history calls the sum of all losses


LOSS_FIELDS = ("of", "target", "weight", "name", "sample_weight")
METRIC_FIELDS = ("of", "target", "name")


class Terms:
    """Reads losses and metrics: what they are of, their target, their names."""

    def __init__(self, resolve: Resolve, ids: Collection[str], leaves: list[str], problems: Problems) -> None:
        self.resolve = resolve
        self.ids = ids
        self.leaves = leaves
        self.problems = problems

    def losses(self, node: Node | None, on_layers: Iterable[tuple[str, Node]]) -> tuple[LossNode, ...]:
        """The section ``loss``, and the ``loss`` of single layers."""
        written: list[tuple[str | None, Node]] = [(None, one) for one in each_written(node, LOSS_FIELDS)]
        written += [(id_, one) for id_, inner in on_layers for one in each_written(inner, LOSS_FIELDS)]
        names = _UniqueNames({TOTAL})
        losses = (self._loss(one, id_, names) for id_, one in written)
        return tuple(loss for loss in losses if loss is not None)

    def _loss(self, node: Node, on: str | None, names: _UniqueNames) -> LossNode | None:
        item = read_item(node, NamedKind(LOSSES, "loss").main_of, LOSS_FIELDS, self.problems)
        if not item.kind:
            return None
        item.adopt(fields_of(LOSSES[item.kind]), LOSS_FIELDS)
        loss = item.build(LOSSES[item.kind], LOSS_FIELDS, self.problems)
        of, parameter = self._of_loss(item, on)
        target = self._target(item)
        weight = item.common_value("weight", Real(Limits(minimum=0)), 1.0, self.problems)
        sample_weight = item.common_value("sample_weight", StreamKind(), None, self.problems)
        if parameter and sample_weight is not None:
            told = f"'{of}/{parameter}' is a parameter, which has no examples to weigh"
            fault = Fault(("sample_weight",), told, "expected weight, a number", "", True)
            item.fault(fault, self.problems)
            sample_weight = UNKNOWN
        name = names.name(item, self.problems)
        keywords = None if loss is None else self._keywords(item, loss)
        wrong = UNKNOWN_SOURCE in (of, *flat(named for _, named in keywords or ()))
        if keywords is None or wrong or any(x is UNKNOWN for x in (target, weight, sample_weight)):
            return None
        stream, derive = _made_of(target)
        made = LossNode(
            name, item.kind, loss, of, stream, weight, item.place, derive, sample_weight, keywords, parameter
        )
        return replace(made, loss=with_sources(loss, dict(keywords))) if keywords else made

    def _target(self, item: Item) -> Any:
        """The stream that is the target, or what makes it of one; "" where the loss has none."""
        wanted = getattr(LOSSES[item.kind], "has_target", True)
        target = item.common_value("target", StreamKind(), None, self.problems)
        if target is None and wanted:
            self._missing(item, "target", "expected a stream of the data, such as label")
            return UNKNOWN
        if target is not None and not wanted:
            fault = Fault(("target",), f"{item.kind} compares with nothing", "expected no target", "", True)
            item.fault(fault, self.problems)
            return UNKNOWN
        return target or ""

    def _keywords(self, item: Item, loss: Any) -> tuple[tuple[str, Named], ...]:
        """The values that the fields of a loss name."""
        found = []
        for path, named in sources_of(loss):
            node = item.fields.get(path[-1]) or item.home
            nodes = node.value if isinstance(node.value, list) else [node]
            names = named if isinstance(named, tuple) else (named,)
            ids = tuple(self.resolve(Reference(n, at.scope or Scope(), at)) for n, at in zip(names, nodes))
            found.append((path[-1], ids if isinstance(named, tuple) else ids[0]))
        return tuple(found)

    def _of_loss(self, item: Item, on: str | None) -> tuple[str, str]:
        """The layer that a loss is of; and its parameter, where it is of that one: ``of: dense/kernel``."""
        node = item.common.get("of")
        text = node.value if node is not None and on is None else None
        if isinstance(text, str) and text not in self.ids:
            id_, _, parameter = text.rpartition("/")
            if id_ in self.ids:
                if not getattr(LOSSES[item.kind], "has_target", True):
                    return id_, parameter
                place = item.common["of"].place(path=(*item.path, "of"))
                told = f"{item.kind} compares a layer with a target, '{text}' is a parameter"
                self.problems.add(place, told, "expected the id of a layer")
                return UNKNOWN_SOURCE, ""
        return self._of(item, on), ""

    def _missing(self, item: Item, name: str, expected: str) -> None:
        self.problems.add(item.place, f"'{name}' is missing", expected)

    def _of(self, item: Item, on: str | None) -> str:
        node = item.common.get("of")
        if on is not None:
            if node is not None:
                place = node.place(path=(*item.path, "of"))
                self.problems.add(place, "'of' in the loss of a layer", "it is of that layer: leave it out")
            return on
        if node is None:
            if len(self.leaves) == 1:
                return self.leaves[0]
            if self.leaves:
                self._missing(item, "of", f"expected one of {', '.join(self.leaves[:8])}")
            return UNKNOWN_SOURCE
        if not isinstance(node.value, (str, int)) or isinstance(node.value, bool):
            if node.value is not UNKNOWN:
                self.problems.at(node, "this is no id", "expected the id of one layer")
            return UNKNOWN_SOURCE
        return self.resolve(Reference(str(node.value), Scope(), node))

    def metrics(self, node: Node | None, losses: tuple[LossNode, ...]) -> tuple[MetricNode, ...]:
        """``train.metrics``.  ``of`` and ``target`` are those of the loss where there is one."""
        names = _UniqueNames({TOTAL, *(loss.name for loss in losses if len(losses) > 1)})
        metrics = (self._metric(one, losses, names) for one in each_written(node, METRIC_FIELDS))
        return tuple(metric for metric in metrics if metric is not None)

    def _metric(self, node: Node, losses: tuple[LossNode, ...], names: _UniqueNames) -> MetricNode | None:
        item = read_item(node, NamedKind(METRICS, "metric").main_of, METRIC_FIELDS, self.problems)
        if not item.kind:
            return None
        item.adopt(fields_of(METRICS[item.kind]), METRIC_FIELDS)
        metric = item.build(METRICS[item.kind], METRIC_FIELDS, self.problems)
        of = self._of(item, None) if "of" in item.common else ""
        target = item.common_value("target", StreamKind(), None, self.problems)
        losses = tuple(loss for loss in losses if loss.target)
        fitting = [loss for loss in losses if of in ("", loss.of) and target in (None, *_targets(loss))]
        if not of and len(losses) == 1:
            fitting = list(losses)
        if (not of or target is None) and not self.problems:
            if len(fitting) != 1:
                self._missing(
                    item, "target" if of else "of", "expected of and target, as no single loss tells them"
                )
                return None
            of, target = of or fitting[0].of, target or _targets(fitting[0])[0]
        name = names.name(item, self.problems)
        if metric is None or of in ("", UNKNOWN_SOURCE) or target in (None, UNKNOWN):
            return None
        stream, derive = _made_of(target)
        return MetricNode(name, item.kind, metric, of, stream, item.place, derive)


def _made_of(target: Any) -> tuple[str, Any]:
    """The stream behind a target, and what makes the target of it, if it is not that stream."""
    return (target, None) if isinstance(target, str) else (name_of_stream(target), target)


def _targets(loss: LossNode) -> tuple[Any, ...]:
    """What a loss compares with, and the stream of which that is made."""
    return (loss.target,) if loss.derive is None else (loss.derive, loss.target)


class _UniqueNames:
    """Names of losses or metrics, which stand side by side in a history: given ones once, others numbered."""

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken

    def name(self, item: Item, problems: Problems) -> str:
        given = item.common_value("name", NameKind(), None, problems)
        if isinstance(given, str):
            if given in self.taken:
                place = item.common["name"].place(path=(*item.path, "name"))
                problems.add(place, f"the name '{given}' is taken already", "expected another")
            self.taken.add(given)
            return given
        number = 1
        name = item.kind
        while name in self.taken:
            number += 1
            name = f"{item.kind}_{number}"
        self.taken.add(name)
        return name


def read_outputs(
    node: Node | None, resolve: Resolve, leaves: list[str], ids: Collection[str], problems: Problems
) -> tuple[str, ...]:
    """The section ``outputs``; the leaves unless it is given."""
    if node is None or node.value is UNKNOWN:
        return tuple(leaves)
    names = node.value if isinstance(node.value, list) else [node]
    if not names:
        problems.at(node, "this is an empty list", "expected the ids of the outputs")
    outputs: list[str] = []
    for name in names:
        if not isinstance(name.value, (str, int)) or isinstance(name.value, bool):
            problems.at(name, "this is no id", "expected the id of a layer")
            continue
        id_ = resolve(Reference(str(name.value), Scope(), name))
        if id_ in outputs:
            problems.at(name, f"'{name.value}' is an output already", "expected it once")
        elif id_ != UNKNOWN_SOURCE:
            outputs.append(id_)
    return tuple(outputs)


def read_train(node: Node | None, problems: Problems) -> TrainOptions | None:
    """The section ``train``, without its metrics."""
    if node is None or node.value in (None, UNKNOWN):
        return None
    if not isinstance(node.value, dict):
        problems.at(node, "this is no mapping", "expected optimizer, epochs, ...")
        return None
    given: Mapping[str, Any] = {
        name: child.plain() for name, child in node.value.items() if name != "metrics"
    }
    try:
        return build(TrainOptions, given)
    except Invalid as invalid:
        for fault in invalid.faults:
            problems.fault(node, fault)
    return None

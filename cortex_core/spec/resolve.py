"""From what somebody wrote to a :class:`Description`, or to every mistake in it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cortex_compute.errors import SpecError
from cortex_core.place import DICT, Place, Problem
from cortex_core.registry import UNKNOWN, with_sources
from cortex_core.spec import sections
from cortex_core.spec.blocks import Block, Counter, Endless, all_items, read_blocks, size_problems
from cortex_core.spec.canonical import canonical
from cortex_core.spec.description import UNKNOWN_SOURCE, Description, InputNode, LayerNode, Named, flat
from cortex_core.spec.expand import Entry, Expander, Reference, Scope
from cortex_core.spec.overrides import apply_overrides
from cortex_core.spec.read import MAX_BYTES, parse
from cortex_core.spec.rewrite import beside, check_probabilities, choose_initializers, use_logits
from cortex_core.spec.sharing import Sharing
from cortex_core.spec.standard import NAMES as STANDARD
from cortex_core.spec.standard import with_standard
from cortex_core.spec.tree import Node, Problems, from_python
from cortex_core.spec.wiring import Wiring, ancestors, check_arity, in_order, leaves, report_circles

Source = Mapping[str, Any] | str | os.PathLike[str]


def read(source: Source, overrides: Sequence[str] = ()) -> Description:
    """The description in a dict or in a YAML file.  Raises SpecError with every mistake in it.

    ``overrides`` such as ``train.optimizer.adam.learning_rate=0.01`` replace single values.
    """
    description, problems = inspect(source, overrides)
    if problems or description is None:
        raise SpecError("\n".join(map(str, problems)), tuple(problems))
    return description


def inspect(source: Source, overrides: Sequence[str] = ()) -> tuple[Description | None, list[Problem]]:
    """The description as far as it can be read, and every mistake in it.

    After a mistake a layer without good fields has ``layer=None``, and one of which it is not known what it
    takes has UNKNOWN_SOURCE among its sources; there is no canonical form.  None where no layers can be read.
    """
    if not isinstance(source, (Mapping, str, os.PathLike)):
        told = f"expected a network, a description (a dict), or the name of its file; got {source!r:.80}"
        raise SpecError(told)
    problems = Problems()
    file = DICT if isinstance(source, Mapping) else os.fspath(source)
    root = _root(source, overrides, problems)
    description = None if root.value is UNKNOWN else _Resolver(root, file, problems).resolve()
    return description, problems.sorted()


def locate(source: Source, overrides: Sequence[str], path: tuple[str | int, ...]) -> Place:
    """Where the value at a path such as ``("train", "data")`` stands, for mistakes that only others see."""
    return _root(source, overrides, Problems()).at(path).place(path=path)


def _root(source: Source, overrides: Sequence[str], problems: Problems) -> Node:
    if isinstance(source, Mapping):
        root = from_python(source, problems)
    else:
        root = _read_file(os.fspath(source), problems)
    return apply_overrides(root, overrides, problems)


def _read_file(file: str, problems: Problems) -> Node:
    try:
        with Path(file).open("rb") as stream:
            text = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError(f"{file}: cannot be read: {error.strerror or error}") from None
    return parse(text, file, problems)


def needed(source: Source, blocks: Mapping[str, Any]) -> frozenset[str]:
    """Which of these blocks a description needs: it, or a block that it needs, uses their names, and it does
    not explain them.  All of them where that cannot be told, for a mistake that `read` reports."""
    ignored = Problems()
    top = sections.read_top(_root(source, (), ignored), ignored)
    layers, own = top.get("layers"), read_blocks(top.get("blocks"), ignored)
    if layers is None or not isinstance(layers.value, list):
        return frozenset(blocks)
    explained = {*own, *STANDARD}
    given = read_blocks(from_python(blocks, ignored), ignored)
    given = {name: block for name, block in given.items() if name not in explained}
    counter = Counter(with_standard({**given, **own}, layers.value, ignored))
    try:
        for item, environment in all_items(layers.value, own):
            counter.of(item, environment)
    except Endless:
        return frozenset(blocks)
    return frozenset(name for name, _ in counter.known if name in given)


class _Resolver:
    """Goes through the sections in the order in which they need each other."""

    def __init__(self, root: Node, file: str, problems: Problems) -> None:
        self.problems = problems
        self.file = file
        self.top = sections.read_top(root, problems)

    def resolve(self) -> Description | None:
        """The description; None where no layers can be read."""
        top, problems = self.top, self.problems
        sections.read_version(top.get("cortex"), problems)
        default = sections.default_name(self.file) if self.file != DICT else "network"
        name = sections.read_value(top.get("name"), sections.NameKind(), default, problems)
        inputs = sections.read_inputs(top.get("inputs"), problems)
        train = sections.read_train(top.get("train"), problems)
        blocks = read_blocks(top.get("blocks"), problems)
        expander = self._unfold(inputs, blocks)
        if expander is None:
            return None
        wiring = Wiring(inputs, expander.entries, expander.alias, problems)
        return self._wire(name, inputs, wiring, train)

    def _unfold(self, inputs: tuple[InputNode, ...], blocks: dict[str, Block]) -> Expander | None:
        node = self.top.get("layers")
        if node is None or node.value is UNKNOWN:
            return None
        if not isinstance(node.value, list) or not node.value:
            text = node.value if isinstance(node.value, str) else ""
            hint = f"Write '- {text[1:20].strip()}', with a space" if text.startswith("-") else ""
            hint = "Begin each with '- '" if isinstance(node.value, dict) else hint
            self.problems.at(node, "this is no list of layers", "expected one layer at least", hint)
            return None
        blocks = with_standard(blocks, node.value, self.problems)
        if size_problems(node.value, blocks, self.problems):
            return None
        names = tuple(Reference(i.name, Scope(), full=i.name) for i in inputs)
        if not names:
            names = (Reference("", Scope(), full=UNKNOWN_SOURCE),)
        expander = Expander(blocks, self.problems)
        expander.unfold(node.value, Scope("", names))
        self._check_unused(blocks, expander.used)
        return expander

    def _check_unused(self, blocks: dict[str, Block], used: set[str]) -> None:
        """A block that nobody uses is read all the same."""
        for block in blocks.values():
            if block.name not in used and not block.standard:
                dry = Expander(blocks, self.problems)
                unknown = Reference("", Scope(), full=UNKNOWN_SOURCE)
                dry.unfold(block.layers, Scope(f"{block.name}/", (unknown,) * block.takes), block.bind({}))
                wiring = Wiring((), dry.entries, dry.alias, self.problems)
                for entry in dry.entries:
                    check_arity(entry, tuple(map(wiring.resolve, entry.sources)), self.problems)

    def _wire(
        self, name: str, inputs: tuple[InputNode, ...], wiring: Wiring, train: Any
    ) -> Description | None:
        top, problems, entries = self.top, self.problems, wiring.entries
        sources, keywords = {}, {}
        for id_, entry in entries.items():
            positional = tuple(map(wiring.resolve, entry.sources))
            keywords[id_] = {name: wiring.resolve_field(entry, name, found) for name, found in entry.keywords}
            if not check_arity(entry, positional, problems):
                entry.layer = None
            sources[id_] = (*positional, *flat(keywords[id_].values()))
        order = in_order(entries, sources)
        if not wiring.ambiguous:
            report_circles(set(entries) - set(order), entries, sources, problems)
        ends = leaves(entries, sources, entries)
        terms = sections.Terms(wiring.resolve, entries, ends, problems)
        on_layers = [(id_, entry.loss) for id_, entry in entries.items() if entry.loss is not None]
        losses = terms.losses(top.get("loss"), on_layers)
        metrics = top.get("train", Node({})).at(("metrics",))
        measured = terms.metrics(metrics if metrics.key == "metrics" else None, losses)
        outputs = sections.read_outputs(top.get("outputs"), wiring.resolve, ends, entries, problems)
        if len(order) < len(entries):
            return None
        if not problems:
            wanted = [*outputs, *(s for loss in losses for s in loss.sources), *(m.of for m in measured)]
            streams = {stream for loss in losses for stream in loss.streams}
            self._check_reach(inputs, entries, sources, wanted, streams)
        sharing = Sharing(entries, wiring.alias, problems)
        layers = [_node(entries[id_], sources[id_], keywords[id_], sharing) for id_ in order]
        written = losses
        layers, losses, notes = use_logits(choose_initializers(layers), written)
        if train is not None:
            train = dataclasses.replace(train, metrics=beside(measured, written, losses))
        check_probabilities(layers, losses, problems)
        home = "." if self.file == DICT else str(Path(self.file).absolute().parent)
        made = Description(name, inputs, tuple(layers), outputs, losses, train, {}, tuple(notes), home)
        if problems:
            return made
        data = canonical(made)
        return dataclasses.replace(made, canonical=data)

    def _check_reach(
        self,
        inputs: tuple[InputNode, ...],
        entries: Mapping[str, Entry],
        sources: Mapping[str, tuple[str, ...]],
        wanted: Sequence[str],
        targets: set[str],
    ) -> None:
        """Every layer leads to an output or a loss, every input is used."""
        reached = ancestors(wanted, sources, entries)
        lost = [id_ for id_ in entries if id_ not in reached]
        for id_ in leaves(lost, sources, entries):
            found = f"'{id_}' leads to no output and no loss"
            self.problems.add(entries[id_].place, found, "expected it in outputs, or not at all")
        if not lost:
            for node in inputs:
                if node.name not in reached | targets:
                    self.problems.add(node.place, f"no layer takes '{node.name}'", "expected one that does")


def _node(
    entry: Entry, sources: tuple[str, ...], keywords: Mapping[str, Named], sharing: Sharing
) -> LayerNode:
    return LayerNode(
        entry.id,
        entry.item.kind,
        with_sources(entry.layer, keywords) if keywords and entry.layer is not None else entry.layer,
        sources,
        entry.trainable,
        entry.learning_rate,
        entry.penalties,
        entry.place,
        tuple(keywords.items()),
        sharing.of(entry),
        entry.constraints,
    )

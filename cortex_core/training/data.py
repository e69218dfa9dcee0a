"""The data of a training: found, divided into parts, learned from, and read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.network import Network, with_train
from cortex_core.registry import AUGMENTATIONS
from cortex_core.registry.named import load_plugins
from cortex_core.spec import TrainOptions
from cortex_core.spec.canonical import inputs_data
from cortex_core.spec.description import AUTO
from cortex_core.streams import CHOICES
from cortex_core.training.examples import (
    Encoding,
    Examples,
    Find,
    Reader,
    examples_of,
    finder_beside,
    is_name,
    is_raw,
)
from cortex_core.training.source import Source, as_source, find, known


@dataclass
class Data:
    """The examples of a training: what they look like, and their parts, each read once, when it is asked for.

    ``streams``: name -> shape, dtype, classes.  ``labels``: the targets that are compared with a softmax,
    class indices or probabilities.  ``encoding``: what was learned from the training part; None where the
    numbers are taken as they are.  ``notes``: what was counted and done on the way.
    """

    examples: Examples
    rows: Mapping[str, np.ndarray]
    learned: Encoding
    inputs: Sequence[str]
    targets: Sequence[str]
    labels: Sequence[str]
    options: Any
    reader: Reader | None = None
    notes: list[str] = field(default_factory=list)
    _parts: dict[str, Source] = field(default_factory=dict)

    @property
    def streams(self) -> Mapping[str, Any]:
        return self.learned.streams

    @property
    def names(self) -> list[str]:
        """The streams that a step reads."""
        return [*self.inputs, *self.targets]

    @property
    def encoding(self) -> Encoding | None:
        return None if self.reader is None else self.learned

    @property
    def what(self) -> str:
        """How messages call the data."""
        return getattr(getattr(self.examples, "named", None), "name", "") or "the data"

    def part(self, name: str) -> Source | None:
        """The examples of "train", "validation" or "test"; None where there is no such part."""
        if name not in self._parts and name in self.rows:
            self.put(name, self.learned.encode(self.examples, self.rows[name], self.names))
        return self._parts.get(name)

    def put(self, name: str, source: Source, notes: Sequence[str] = ()) -> None:
        """Other data as the part ``name``."""
        self._parts[name] = source
        self.notes += [f"{name}: {note}" for note in (*notes, *getattr(source, "notes", ()))]

    @property
    def counts(self) -> dict[str, int]:
        """How many examples each part has that was asked for."""
        return {name: len(source) for name, source in self._parts.items()}

    @property
    def plain(self) -> Source:
        """The training part as it is."""
        source = self.part("train")
        assert source is not None
        return source

    @cached_property
    def train(self) -> Source:
        """The training part, varied anew in each epoch where the description says so."""
        if not self.options.augment:
            return self.plain
        augmented = load_plugins(AUGMENTATIONS.group)["augmented"]
        steps, seed = self.options.augment, self.options.seed
        return cast(Source, augmented(self.plain, steps, seed, self.inputs, self.targets, self.labels))

    @property
    def validation(self) -> Source | None:
        return self.part("validation")

    def test(self) -> Source | None:
        """The examples that nothing is chosen on, read once at the end."""
        return self.part("test")

    def held_out(self) -> dict[str, Source]:
        """The parts that should have no example of the training part; not those of a published data set,
        which are what they are."""
        named = getattr(self.examples, "named", None) is not None
        parts = {"validation": self.validation, "test": self.test()}
        own = [p for p in self.rows if named and self.rows[p] is self.examples.parts.get(p)]
        return {name: source for name, source in parts.items() if source is not None and name not in own}


def open_data(
    description: Any,
    data: Any = None,
    validation: Any = None,
    encoding: Encoding | None = None,
) -> Data:
    """Finds the data, divides them, and learns from the training part what its streams need.

    ``data`` (no name) and ``validation`` replace what the description says, ``encoding`` replaces
    what would be learned.
    """
    options = description.train or TrainOptions()
    named = options.data
    if data is None and named is None:
        raise DataError(
            "no data: give data= (a name, a file, a dict of arrays, a table, or a source), or write "
            f"train.data; known are {', '.join(known())}"
        )
    given, gaps = None if isinstance(data, str) else data, gaps_of(description)
    examples, reader = examples_of(named, given, finder_beside(description), gaps)
    if validation is None:
        validation = options.validation
    own = validation is None or isinstance(validation, (int, float))
    own = own or (isinstance(validation, str) and validation in examples.parts)
    rows = _divide(description, examples, validation if own else 0)
    inputs, targets = streams_of(description)
    encoding = _learned(encoding, examples, rows["train"], inputs, targets)
    labels = [node.target for node in description.compared if node.kind in CHOICES]
    found = Data(examples, rows, encoding, inputs, targets, labels, options, reader)
    found.notes += [*examples.notes, *encoding.notes]
    if options.fold is not None and (options.test or "test" in examples.parts):
        fold = f"fold {options.fold.number} of {options.fold.of}"
        found.notes.append(f"{fold} takes the place of the test part")
    if not own:
        found.put("validation", *_other(validation, found, finder_beside(description), gaps))
    return found


def _learned(
    known: Encoding | None, examples: Examples, rows: np.ndarray, inputs: list[str], targets: list[str]
) -> Encoding:
    """What is known already; and what the training part teaches of targets of which nothing is known, as
    after a network was given another head."""
    absent = [] if known is None else [name for name in targets if name not in known.streams]
    completed = getattr(known, "completed", None)
    if known is not None and (not absent or completed is None):
        return known
    learned = examples.learn(rows, inputs, targets)
    return learned if completed is None else cast(Encoding, completed(learned, absent))


def _other(validation: Any, data: Data, finder: Find, gaps: set[str]) -> tuple[Source, Sequence[str]]:
    """Other data to validate on, and what was counted while they were read."""
    if data.reader is not None and not is_name(validation) and is_raw(data.reader, validation, data.names):
        examples = data.reader.read(validation, finder)
        source = data.learned.encode(examples, np.arange(len(examples)), data.names)
        return source, examples.notes
    if not isinstance(validation, str):
        return as_source(validation, gaps), ()
    try:
        return find(validation).load("train"), ()
    except DataError as error:
        parts = ", ".join(data.examples.parts)
        raise DataError(f"validation: {error}; the data's parts are {parts}") from None


HELD_OUT = ("test", "validation", "train")
"""The parts by what they say of a network: the first that data have is what pictures of it are made of."""


def part_of(network: Network, data: Any, *parts: str) -> tuple[Source, Sequence[str]]:
    """The examples that an evaluation reads, and what was counted while they were read.

    The first of ``parts`` that there is of the network's own data (``data`` None) or of a named data set, or
    all of a file, a table, a dict of arrays, a source.
    """
    description, finder = network.description, finder_beside(network.description)
    data = str(data) if isinstance(data, Path) else data
    if data is None or is_name(data):
        own = data is None
        if not own:
            divided = {"test": None, "validation": None, "fold": None, "split": "last"}
            description = with_train(description, (), data=data, **divided)
        found = open_data(description, encoding=network.encoding if own else None)
        source = next((s for s in map(found.part, parts) if s is not None), None)
        if source is None:
            raise DataError(
                f"{found.what} has no part {parts[0]!r}; it has {', '.join(found.rows)}. Name other data to "
                f"measure on, or give the description train.{parts[0]}"
            )
        return source, getattr(source, "notes", ())
    names = [name for streams in streams_of(description) for name in streams]
    reader, encoding = network.training.data, network.encoding
    if encoding is None and isinstance(data, str):
        reader = with_train(description, data=data).train.data
        if getattr(reader, "learns", True):
            raise DataError(f"{data}: this network learned nothing of such files; give it arrays")
        examples = reader.open(finder)
        encoding = examples.learn(np.arange(len(examples)), *streams_of(description))
    elif encoding is not None and is_raw(reader, data, names):
        examples = reader.read(data, finder)
    else:
        return as_source(data, gaps_of(description)), ()
    source = encoding.encode(examples, np.arange(len(examples)), names)
    return source, (*examples.notes, *getattr(source, "notes", ()))


def _divide(description: Any, examples: Examples, validation: Any) -> dict[str, np.ndarray]:
    """The rows of each part: those that the files tell, those that are asked for, and fractions."""
    options = description.train or TrainOptions()
    parts = dict(examples.parts)
    left = parts["train"]
    if not len(left):
        raise DataError("the data has no examples to train on")
    column, fractions = column_of(description, examples), {}
    if options.fold is not None:
        folds = options.split.folds(left, options.fold.of, column)
        parts["test"] = folds[options.fold.number - 1]
        left = np.setdiff1d(left, parts["test"], assume_unique=True)
    elif isinstance(options.test, str):
        parts["test"] = _part(parts, "test", options.test)
    elif options.test:
        expect_test(options, parts)
        fractions["test"] = options.test
    if isinstance(validation, str):
        parts["validation"] = _part(parts, "validation", validation)
    elif validation is not None:
        parts.pop("validation", None)
        fractions |= {"validation": validation} if validation else {}

    return {**parts, **options.split.divide(left, fractions, column)}


def column_of(description: Any, examples: Examples) -> Callable[[str | None], np.ndarray]:
    """One value for each row, by the name of a column; None asks for the only target of the losses."""

    def column(name: str | None) -> np.ndarray:
        targets = list(dict.fromkeys(node.target for node in description.compared))
        if name is None and len(targets) != 1:
            raise DataError(f"train.split: by which column? The losses have the targets {', '.join(targets)}")
        return examples.column(targets[0] if name is None else name)

    return column


def expect_test(options: Any, parts: Mapping[str, Any]) -> None:
    """Raises `DataError` for a test part that data with these parts do not have, or have already."""
    if isinstance(options.test, str):
        _part(parts, "test", options.test)
    elif options.test and options.fold is None and "test" in parts:
        raise DataError(f"train.test is {options.test:g}, but the data have a test part: leave it out")


def _part(parts: Mapping[str, Any], option: str, name: str) -> Any:
    if name not in parts:
        raise DataError(f"train.{option}: the data have no part {name!r}; they have {', '.join(parts)}")
    return parts[name]


def pinned(description: Any, streams: Mapping[str, Any]) -> Any:
    """The description with the shapes and data types that it leaves to the data."""
    if all(x.shape is not None for x in description.inputs):
        return description
    absent = [x.name for x in description.inputs if x.shape is None and x.name not in streams]
    if absent:
        raise DataError(f"input {absent[0]!r} is no stream of the data; it has {', '.join(streams)}")
    inputs = tuple(_pinned(x, streams[x.name]) if x.shape is None else x for x in description.inputs)
    data = {**description.canonical, "inputs": inputs_data(inputs)}
    return replace(description, inputs=inputs, canonical=data)


def _pinned(x: Any, stream: Any) -> Any:
    return replace(x, shape=tuple(stream.shape), dtype=stream.dtype if x.dtype == AUTO else x.dtype)


def streams_of(description: Any) -> tuple[list[str], list[str]]:
    """The names of the streams that a step reads: the inputs, and what losses read that is no input."""
    inputs = [x.name for x in description.inputs]
    return inputs, [name for name in description.loss_streams if name not in inputs]


def gaps_of(description: Any) -> set[str]:
    """The streams that may hold NaN: targets that only losses read to which such a label is missing."""
    metrics = description.train.metrics if description.train is not None else ()
    strict = {x.name for x in description.inputs} | {metric.target for metric in metrics}
    for node in description.losses:
        strict |= {name for name in node.streams if name != node.target or not hasattr(node.loss, "absent")}
    return {node.target for node in description.compared if hasattr(node.loss, "absent")} - strict


def inputs_of(description: Any) -> dict[str, Any]:
    """The inputs of a description in the shape of streams."""
    return {x.name: x for x in description.inputs}

"""A network: a description with its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from os.path import isdir
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cortex_compute.errors import ShapeError, SpecError
from cortex_compute.types import TensorType, float32
from cortex_core.declared import KEY, KEY_TYPE, Declared, declare, drawn, is_carried
from cortex_core.graph.guard import SKIPPED
from cortex_core.graph.value import Value, state_value
from cortex_core.layers.scope import Parameter, Variable
from cortex_core.ops.random import stream_of
from cortex_core.ops.views import reshape, slice_
from cortex_core.registry import nearest
from cortex_core.store import Nowhere, ParameterSlot, SegmentKey, Store, lay_out
from cortex_core.trace import Declaration, Traced

if TYPE_CHECKING:
    from cortex_core.compiled import Compiled
    from cortex_core.training.examples import Encoding


class Numbers(Mapping[str, np.ndarray]):
    """Arrays of a store by name.  They are only to be read; ``numbers[name] = array`` changes one.

    A part has the name of the whole, a dot and its own: ``numbers["lstm/kernel.forget"]``.  The parts are not
    among the names that iteration gives.
    """

    def __init__(self, store: Store, declared: Mapping[str, Declared]) -> None:
        self._store, self._declared = store, declared

    def __getitem__(self, name: str) -> np.ndarray:
        whole, place = self._place(name)
        found: np.ndarray = self._store.array(whole)[place]
        return found

    def __setitem__(self, name: str, array: Any) -> None:
        whole, place = self._place(name)
        if whole != name:
            old, part = self._store.array(whole).copy(), np.asarray(array)
            if part.shape != old[place].shape:
                raise ShapeError(f"{name} has shape {old[place].shape}, not {part.shape}")
            old[place] = part
            array = old
        self._store.write(whole, array)

    def _place(self, name: str) -> tuple[str, Any]:
        """The whole array, and where in it the named numbers lie."""
        if name in self._declared:
            return name, ...
        whole, _, part = name.rpartition(".")
        found = self._declared.get(whole)
        parts = getattr(found.declaration, "parts", ()) if found else ()
        if found is None:
            raise KeyError(f"{name}: there is none. {nearest(name, self._declared)}".strip())
        if part not in parts:
            expected = f"its parts are {', '.join(parts)}" if parts else "it has no parts"
            raise KeyError(f"{name}: there is no '{part}' of {whole}; {expected}")
        size = found.type.shape[-1] // len(parts)
        start = parts.index(part) * size
        return whole, (..., slice(start, start + size))

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)


class Network:
    """A description and its parameters, which every program compiled from it shares.

    ``parameters`` maps names ("dense/kernel") to arrays, in the canonical layout.  ``encoding`` is what was
    learned from the raw data that it reads; None for a network of plain arrays.  ``origin``: where the
    parameters were imported, of which ``file`` they are, whether that is proved (``proof``, which says too
    what has changed them since), and maybe ``notes``: a list of what is not as it was there.
    ``goes_on``: the kind of the optimiser, where moments and the step were imported too: the next training
    goes on with them.
    """

    encoding: Encoding | None = None
    origin: dict[str, Any] | None = None
    goes_on: str = ""

    def __init__(self, description: Any, seed: int | None = None) -> None:
        from cortex_compute.backends import get

        self._lay_out(description, Store(get("numpy").devices()[0]), declare(description))
        self.initialize(self.training.seed if seed is None else seed)

    @classmethod
    def blank(cls, description: Any, declared: tuple[dict[str, Declared], Traced]) -> Network:
        """A network whose parameters are 0, for numbers that come from elsewhere."""
        from cortex_compute.backends import get

        made = cls.__new__(cls)
        made._lay_out(description, Store(get("numpy").devices()[0]), declared)
        made.restart(made.training.seed)
        return made

    @classmethod
    def outline(cls, description: Any, declared: tuple[dict[str, Declared], Traced] | None = None) -> Network:
        """A network without numbers: it can be traced, planned and counted, and takes no memory.

        ``declared`` is what `declare` gave for this description, where it is known.
        """
        made = cls.__new__(cls)
        made._lay_out(description, Store(Nowhere()), declared or declare(description))
        return made

    def _lay_out(self, description: Any, store: Store, declared: tuple[dict[str, Declared], Traced]) -> None:
        unknown = [x for x in description.inputs if x.shape is None]
        if unknown:
            told = f"'{unknown[0].name}' is auto: its shape is told by data, and there are none"
            raise SpecError(f"{unknown[0].place}: {told}; name them in train.data, or write the shape")
        self.description = description
        self.declared, traced = declared
        if traced.problems:
            raise SpecError("\n".join(map(str, traced.problems)), tuple(traced.problems))
        self.types = {i: v.type for i, v in traced.values.items() if v is not None}
        self.store = store
        self.slots, sizes = lay_out(self._ordered())
        try:
            self.store.add_parameters(self.slots, sizes)
        except MemoryError:
            raise self._too_large() from None
        for name, d in self.declared.items():
            if isinstance(d.declaration, Variable) and not d.declaration.carried:
                self.store.ensure(name, d.type)
        self.store.ensure(KEY, KEY_TYPE)
        self.step = 0
        self._programs: dict[Any, Compiled] = {}

    def _too_large(self) -> SpecError:
        largest = max(self.slots.values(), key=lambda slot: slot.type.size)
        total = sum(slot.type.nbytes for slot in self.slots.values())
        alone = f"'{largest.name}' alone {largest.type.nbytes / 1e9:,.1f}"
        place = self.declared[largest.name].layer.place
        return SpecError(
            f"{place}: the parameters take {total / 1e9:,.1f} GB, {alone}: expected what fits into memory"
        )

    def _ordered(self) -> Iterator[tuple[str, TensorType, SegmentKey]]:
        """Parameters in order; those that would leave their followers off a cache line come last."""
        parameters = [d for d in self.declared.values() if isinstance(d.declaration, Parameter)]
        for d in sorted(parameters, key=lambda d: d.type.size % 16 != 0):
            yield d.name, d.type, d.segment

    def initialize(self, seed: int) -> None:
        """Draws all parameters anew.  Each has a generator of its own, so that one more layer changes no
        other.  Raises `SpecError` for a seed that is no whole number of 64 bits."""
        if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed < 2**64:
            raise SpecError(f"seed is {seed!r:.60}: expected a whole number from 0 to 2**64 - 1")
        for name, d in self.declared.items():
            if is_carried(d):
                continue
            if isinstance(d.declaration, Variable):
                self.store.write(name, np.full(d.declaration.shape, d.declaration.value, np.float32))
            else:
                generator = np.random.Generator(np.random.Philox(key=[seed, stream_of(name, 0)]))
                self.store.write(name, drawn(d.declaration, generator))
        self.restart(seed)

    @property
    def carried(self) -> tuple[str, ...]:
        """The names of the variables that a batch hands to the next one: states of stateful layers.

        A program of a training makes them, with a row for each example of its batch.
        """
        return tuple(name for name, d in self.declared.items() if is_carried(d))

    def forget(self) -> None:
        """Fills what a batch hands to the next one as at the start."""
        for name in set(self.carried) & set(self.store.types):
            value = self.declared[name].declaration.value  # type: ignore[union-attr]
            self.store.write(name, np.full(self.store.types[name].shape, value, np.float32))

    def restart(self, seed: int) -> None:
        """Training begins anew with the parameters as they are: no moments, step 0, the key of ``seed``."""
        for name in self.store.types:
            if name.startswith("segment(") and "/" in name:
                self.store.write(name, np.zeros(self.store.types[name].shape, np.float32))
        if SKIPPED in self.store.types:
            self.store.write(SKIPPED, np.zeros((), np.int64))
        self.reseed(seed)
        self.step = 0

    def reseed(self, seed: int) -> None:
        """What is drawn from here on is that of ``seed``."""
        self.store.write(KEY, np.array([seed, 0], np.uint64))

    def changed(self, how: str) -> None:
        """Says in `origin` that what was found there is of the numbers as they were imported."""
        if self.origin is None:
            return
        proof, since = str(self.origin.get("proof")), f"; {how} since"
        if since not in proof:
            self.origin = {**self.origin, "proof": proof + since}

    def fetch(self, name: str, declaration: Declaration, layer: Any) -> Value:
        """The symbolic value of a parameter (a view into its segment) or variable, for tracing."""
        slot = self.slots.get(name)
        if is_carried(self.declared[name]):
            return state_value(name, TensorType(declaration.shape, float32))
        if slot is None:
            return state_value(name, self.declared[name].type)
        return parameter_value(slot, self.store.types[str(slot.segment)])

    @property
    def training(self) -> Any:
        """The options of training: the description's, or the defaults."""
        if self.description.train is not None:
            return self.description.train
        from cortex_core.spec import TrainOptions

        return TrainOptions()

    @property
    def name(self) -> str:
        name: str = self.description.name
        return name

    @property
    def parameters(self) -> Numbers:
        """Each parameter by name: arrays to read; to change one, assign to its name."""
        return Numbers(self.store, {n: self.declared[n] for n in self.slots})

    @property
    def variables(self) -> Numbers:
        """Each running statistic by name, as `parameters`."""
        variables = {n: d for n, d in self.declared.items() if isinstance(d.declaration, Variable)}
        found = {n: d for n, d in variables.items() if not is_carried(d)}
        return Numbers(self.store, found)

    def predict(self, x: Any, batch_size: int = 256, raw: bool = False) -> Any:
        """The outputs for examples ``x``: an array, or {input: array}; of one that learned from raw data
        also a file or a table of these (a path, a DataFrame, a list of dicts, ...).

        One array where there is one output, else {id: array}.  Probabilities where the loss is a cross
        entropy on logits, values in the unit of a scaled target; with ``raw`` what the layer gives.  What was
        counted while reading raw data (cells filled, categories never seen) is warned of.
        """
        from cortex_core.predict import predict

        return predict(self, x, batch_size, raw)

    def summary(self) -> str:
        """The table of layers: output shapes and parameters."""
        from cortex_core.summary import table

        return table(self)

    def save(self, path: str | Path) -> None:
        """Writes description and parameters as one .cortex file, atomically."""
        from cortex_core.training.checkpoint import save

        save(path, self)

    def _repr_html_(self) -> str:
        from cortex_core.summary import html

        return html(self)

    def __repr__(self) -> str:
        count = sum(s.type.size for s in self.slots.values())
        return f"<Network {self.name}: {len(self.description.layers)} layers, {count:,} parameters>"


def parameter_value(slot: ParameterSlot, segment: TensorType) -> Value:
    """A parameter as a view into its segment's state."""
    state = state_value(str(slot.segment), segment)
    part = slice_(state, (slot.offset,), (slot.type.size,)) if slot.type.size != segment.size else state
    value: Value = reshape(part, slot.type.shape)
    return value


def check_batch_size(size: Any) -> None:
    """Raises `SpecError` for a batch size that is no whole number above 0."""
    if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
        raise SpecError(f"batch_size is {size!r:.60}: expected a whole number, at least 1")


def with_train(description: Any, overrides: Sequence[str] = (), **changes: Any) -> Any:
    """The description with other options under ``train``, and with defaults for those that nobody gave.

    Raises `SpecError` where an option is wrong, or an override changes the network itself.
    """
    if description.train is not None and not changes and not overrides:
        return description
    from cortex_core.spec import read

    old = description.canonical
    made = read({**old, "train": {**old.get("train", {}), **changes}}, overrides)
    for part in ("inputs", "layers", "loss", "outputs"):
        if made.canonical.get(part) != old.get(part):
            raise SpecError(f"{part}: an override cannot change a network that exists; edit its description")
    placed = {part: getattr(description, part) for part in ("inputs", "layers", "losses", "notes", "home")}
    return replace(made, **placed)


def network(x: Any, overrides: Sequence[str] = (), seed: int | None = None) -> Network:
    """A network from a dict, a YAML file, or, with its parameters, a .cortex file or the folder of a run.

    Where a description leaves a shape to its data (``auto``), these are opened.
    ``overrides`` and ``seed`` are for descriptions: a network that has parameters refuses them.
    """
    stored = _is_stored(x)
    if (isinstance(x, Network) or stored) and (overrides or seed is not None):
        given = "overrides" if overrides else "a seed"
        raise SpecError(f"{given} cannot change a network that has parameters; give its description instead")
    if isinstance(x, Network):
        return x
    if stored:
        from cortex_core.training.checkpoint import load

        return load(x)
    return Network(_readable(x, overrides), seed)


def outline(x: Any, overrides: Sequence[str] = ()) -> Network:
    """The network of a description without numbers: see `Network.outline`.  ``x`` as for `network`."""
    if isinstance(x, Network) or _is_stored(x):
        return network(x, overrides)
    return Network.outline(_readable(x, overrides))


def _is_stored(x: Any) -> bool:
    return isinstance(x, (str, Path)) and (str(x).endswith(".cortex") or isdir(x))


def _readable(x: Any, overrides: Sequence[str]) -> Any:
    """A description in which the shapes that it leaves to its data are known."""
    from cortex_core.spec import read

    description = read(x, overrides)
    unnamed = description.train is None or description.train.data is None
    if unnamed or all(x.shape is not None for x in description.inputs):
        return description
    from cortex_core.training.data import open_data, pinned

    return pinned(description, open_data(description).streams)

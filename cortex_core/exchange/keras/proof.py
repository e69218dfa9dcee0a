"""The proof of an import: what every layer gives here, beside what it gave in Keras."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cortex_compute.errors import ArgumentError, DataError
from cortex_compute.frozen import frozen
from cortex_core.exchange.build import Shape
from cortex_core.exchange.keras.classes import text
from cortex_core.exchange.keras.config import SEQUENTIAL
from cortex_core.exchange.keras.imported import Imported, Name, Part, load
from cortex_core.exchange.keras.order import INPUT
from cortex_core.exchange.keras.recording import ADVICE, OTHER_INPUTS, Kept, Key, Recording
from cortex_core.exchange.keras.value import Value
from cortex_core.probe import activations

if TYPE_CHECKING:
    from cortex_core.exchange.keras.custom import Given

TOLERANCE = 1e-4
NOISE = 1e-6  # what the order of additions may change
TOGETHER = 1 << 28  # bytes of outputs that are computed at once
SHOWN = 5
PROVED, DEPARTS, UNPROVED = "proved", "departs", "unproved"
AGREES, LEFT_OUT = "agrees", "not recorded"

Arrays = dict[str, np.ndarray]


@frozen
class Row:
    """One value of a layer: the largest and mean absolute difference, and the largest one relative to the
    largest absolute value that was recorded.

    ``prediction``: an output as `predict` gives it, not a layer that was looked into.  ``not_finite`` says
    which of the two holds NaN or infinity where the other does not.
    """

    layer: str
    kind: str
    call: int
    index: int
    shape: Shape
    verdict: str = UNPROVED
    largest: float | None = None
    mean: float | None = None
    relative: float | None = None
    prediction: bool = False
    not_finite: str = ""

    @property
    def name(self) -> str:
        """The layer, with the call and the result where it is not the first."""
        call = f" (call {self.call + 1})" if self.call else ""
        return self.layer + call + (f" [{self.index}]" if self.index else "")


@frozen
class Proof:
    """What a comparison found.

    ``about`` says what recorded the outputs; ``same`` are layers that gave the same for all examples, which
    proves little.
    """

    rows: tuple[Row, ...]
    tolerance: float = TOLERANCE
    recorded: bool = True
    examples: int = 0
    about: str = ""
    same: tuple[str, ...] = ()

    @property
    def first(self) -> Row | None:
        """The first layer that departs."""
        return next((row for row in self.rows if row.verdict == DEPARTS), None)

    @property
    def verdict(self) -> str:
        """Proved is what was compared and agrees, the outputs at least."""
        if self.first:
            return DEPARTS
        return PROVED if self.recorded and not self.lacking else UNPROVED

    @property
    def lacking(self) -> tuple[str, ...]:
        """The outputs that were not compared."""
        return tuple(row.name for row in self.rows if row.prediction and row.verdict == LEFT_OUT)

    @property
    def compared(self) -> tuple[int, int]:
        """How many layers were compared, at every call, and how many there are."""
        layers = {row.layer for row in self.rows if not row.prediction}
        left_out = {r.layer for r in self.rows if not r.prediction and r.verdict in (LEFT_OUT, UNPROVED)}
        return len(layers) - len(left_out), len(layers)

    def __str__(self) -> str:
        if not self.recorded:
            return UNPROVED
        if self.first is not None:
            why = f", where {self.first.not_finite} holds NaN or infinity" if self.first.not_finite else ""
            return f"departs from Keras, first at {self.first.name}{why}"
        worst = max((row.relative or 0.0 for row in self.rows), default=0.0)
        within = f"{worst:.1e}" if worst > NOISE else "1e-6"
        some, all_ = self.compared
        left_out = f"; {all_ - some} not recorded" if some < all_ else ""
        same = f"; {len(self.same)} gave the same for all examples" if self.same else ""
        found = f"within {within} of Keras, on {self.examples} examples"
        told = f"{some} of {all_} layers {found}{left_out}{same}"
        if self.lacking:
            return f"{UNPROVED}: {', '.join(self.lacking)} is not recorded; {told}"
        return f"{PROVED}: {told}"

    def as_data(self) -> dict[str, Any]:
        """For the report."""
        return {
            "verdict": self.verdict,
            "first_departing": self.first.name if self.first else None,
            "layers_compared": self.compared[0],
            "layers_in_all": self.compared[1],
            "tolerance": self.tolerance,
            "examples": self.examples,
            "recorded_by": self.about,
            "same_for_all_examples": list(self.same),
            "layers": [{**asdict(row), "shape": list(row.shape)} for row in self.rows],
        }


def load_proved(
    path: Name,
    weights: Name | None,
    maps: Mapping[str, Given] | None,
    outputs: Name | None,
    tolerance: float | None,
) -> tuple[Imported, Proof]:
    """As `imported.from_keras`, with the proof, which the network tells too."""
    if outputs is None and tolerance is not None:
        raise ArgumentError(
            "a tolerance is for recorded outputs (--outputs, in Python outputs=): nothing else is compared"
        )
    if tolerance is not None and not 0 < tolerance < math.inf:
        raise ArgumentError(f"tolerance {tolerance:g}: expected a number above 0, such as {TOLERANCE}")
    recording = None if outputs is None else Recording(Path(outputs))
    backend = "" if recording is None else str(recording.about.get("backend", ""))
    imported = load(path, weights, maps, backend)
    if recording is None:
        return imported, unproved(imported)
    proof = compare(imported, recording, TOLERANCE if tolerance is None else tolerance)
    imported.tell(str(proof))
    return imported, proof


def unproved(imported: Imported) -> Proof:
    """The report of an import without a recording."""
    rows = (Row(p.path, p.kind, p.call, p.index, p.value.shape) for p in imported.parts)
    return Proof(tuple(rows), recorded=False)


def compare(imported: Imported, recording: Recording, tolerance: float = TOLERANCE) -> Proof:
    """Compares every value of every layer; those that are not within ``tolerance`` depart.

    Raises `DataError` for a recording of another model.
    """
    if not recording.examples:
        raise DataError(f"{recording.path}: it has no examples; {ADVICE}")
    kept = _matched(imported, recording)
    inputs = _inputs(imported, recording)
    rows: dict[Key, Row] = {}
    same = []
    for group in _groups(kept):
        ours = activations(imported.network, inputs, [p.value.source for p in group], recording.examples)
        for part in group:
            theirs = recording.read(kept[part])
            rows[part.key] = row = _row(part, _as_in_keras(part, ours[part.value.source]), theirs, tolerance)
            same += [row.name] if _is_same(theirs) else []
    layers = [rows.get(p.key) or _left_out(p) for p in imported.parts]
    outputs = _predictions(imported, recording, kept, inputs, tolerance)
    told = " on ".join(str(recording.about[k]) for k in ("keras", "backend") if recording.about.get(k))
    return Proof((*layers, *outputs), tolerance, True, recording.examples, told, tuple(same))


def _left_out(part: Part) -> Row:
    return Row(part.path, part.kind, part.call, part.index, part.value.shape, LEFT_OUT)


def _matched(imported: Imported, recording: Recording) -> dict[Part, Kept]:
    """What is recorded of each value; all must be, and nothing else, in these shapes."""
    if imported.whole:
        layers = _by_our_paths(imported, recording.layers)
        found = {part: kept for part in imported.parts if (kept := layers.get(part.key))}
        hidden = tuple(f"{path}/" for path in recording.left_out)
        lacking = [
            p.key
            for p in imported.parts
            if p not in found and p.kind != SEQUENTIAL and not p.path.startswith(hidden)
        ]
        _expect_none(recording, lacking, "an incomplete recording, or one of another model", "it lacks")
        known = {part.key for part in found}
        ignored = imported.unused | recording.masks
        extra = [key for key in layers if key not in known and key[0] not in ignored]
        _expect_none(recording, extra, "a recording of another model", "the model has no")
    else:
        found = dict(_named(imported, recording))
    if not found:
        raise DataError(f"{recording.path}: none of its layers has the name of a layer of the model")
    for part, kept in found.items():
        _expect_shape(recording, kept, part.value.shape)
    return found


def _by_our_paths(imported: Imported, recorded: Mapping[Key, Kept]) -> dict[Key, Kept]:
    """What is recorded, by the paths of the layers here.

    Files do not name a Sequential in another model before Keras 2.2.3, and Keras 1 runs some of them as if
    their layers were those of the model around: layers are known by their own names then.
    """
    ours, theirs = {part.path for part in imported.parts}, {key[0] for key in recorded}
    own: dict[str, list[str]] = {}
    for path in theirs - ours:
        own.setdefault(path.rpartition("/")[2], []).append(path)
    paths: dict[str, str] = {}
    for path in sorted(ours - theirs):
        outer, _, name = path.rpartition("/")
        if len(same := own.get(name, [])) == 1:
            paths |= {same[0].rpartition("/")[0]: outer, same[0]: path}
    renamed = (((paths.get(path, path), call, i), kept) for (path, call, i), kept in recorded.items())
    return {key: kept for key, kept in renamed if key[0]}


def _named(imported: Imported, recording: Recording) -> Iterator[tuple[Part, Kept]]:
    """What is recorded of the layers of a description, by their names.

    Several results of a layer stand in an order of their own there: an LSTM's states stand behind its last
    step, where ours gives all steps.  They are the same only where the shapes say so.
    """
    named = {(_said(key[0]), *key[1:]): kept for key, kept in recording.layers.items()}
    for part in imported.parts:
        path = _said(part.path)
        kept = named.get((path, part.call, part.index))
        several = (path, part.call, 1) in named
        if kept and (not several or _fits(recording, kept, part.value.shape)):
            yield part, kept


def _said(name: str) -> str:
    """The name of a layer as Keras 3 can say it."""
    return name.replace("/", "_")


def _expect_none(recording: Recording, keys: Sequence[Key], what: str, told: str) -> None:
    if keys:
        names = list(dict.fromkeys(text(Row(k[0], "", k[1], k[2], ()).name) for k in keys))
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        raise DataError(f"{recording.path}: this is {what}: {told} {', '.join(names[:SHOWN])}{more}")


def _expect_shape(recording: Recording, kept: Kept, shape: Shape) -> None:
    if not _fits(recording, kept, shape) or kept.dtype.kind == "U":
        told = f"'{kept.key}' is {kept.dtype} {[*kept.shape]}"
        raise DataError(f"{recording.path}: {told}; the model gives {[recording.examples, *shape]}")


def _fits(recording: Recording, kept: Kept, shape: Shape) -> bool:
    wanted = (recording.examples, *shape)
    return len(kept.shape) == len(wanted) and all(b in (None, a) for a, b in zip(kept.shape, wanted))


def _inputs(imported: Imported, recording: Recording) -> Arrays:
    """The recorded inputs by their names here; where names differ, the order counts."""
    wanted = imported.inputs
    kept = recording.inputs
    if len(kept) != len(wanted):
        raise DataError(
            f"{recording.path}: it has the inputs {', '.join(kept)}; the model takes {', '.join(wanted)}"
        )
    pairs = [(n, kept[n]) for n in wanted] if kept.keys() == wanted.keys() else zip(wanted, kept.values())
    found = {}
    for name, array in pairs:
        value = wanted[name]
        _expect_shape(recording, array, value.shape)
        found[value.source] = _input(recording, array, value.dtype)
    return found


def _input(recording: Recording, kept: Kept, dtype: str) -> np.ndarray:
    """The numbers of an input.  Raises `DataError` where some are infinite, also where only ``dtype`` makes
    them so, and where the model takes whole numbers, but these are none, or too large."""
    given = recording.read(kept)
    with np.errstate(over="ignore", invalid="ignore"):
        found = given.astype(dtype)
    told = ""
    if not (np.isfinite(given).all() and np.isfinite(found).all()):
        told = "holds infinity, and what layers give for it proves nothing"
    elif found.dtype.kind != "f" and np.any(changed := found != given):
        told = f"holds {given[changed][0]!s}, but the model takes {found.dtype} there"
    if told:
        raise DataError(f"{recording.path}: '{kept.key}' {told}; {OTHER_INPUTS}")
    return found


def _groups(recorded: Mapping[Part, Kept]) -> Iterator[list[Part]]:
    """Parts in order, as many at once as memory should be taken for."""
    group: list[Part] = []
    size = 0
    for part, kept in recorded.items():
        nbytes = 4 * math.prod(kept.shape)
        if group and size + nbytes > TOGETHER:
            yield group
            group, size = [], 0
        group.append(part)
        size += nbytes
    if group:
        yield group


def _predictions(
    imported: Imported,
    recording: Recording,
    recorded: Mapping[Part, Kept],
    inputs: Arrays,
    tolerance: float,
) -> Iterator[Row]:
    """The outputs once more, as `predict` gives them: there layers are fused."""
    found = imported.network.predict(inputs, raw=True)
    outputs = imported.network.description.outputs
    ours = found if isinstance(found, dict) else {outputs[0]: found}
    for output in outputs:
        part = _giver(imported, recorded, output)
        theirs = recording.read(recorded[part]) if part in recorded else inputs.get(part.value.source)
        array = _as_in_keras(part, ours[output])
        row = _left_out(part) if theirs is None else _row(part, array, theirs, tolerance)
        yield replace(row, layer=f"prediction {row.layer}", prediction=True)


def _giver(imported: Imported, recorded: Mapping[Part, Kept], output: str) -> Part:
    """What an output is in Keras: of the layers that give it a recorded one, or an input as it is."""
    givers = [part for part in imported.parts if part.value.source == output]
    found = [part for part in givers if part in recorded] or givers
    if found:
        return found[-1]
    node = next(node for node in imported.network.description.layers if node.id == output)
    source = next(
        (x for x in imported.inputs.values() if node.kind == "linear" and x.source in node.sources), None
    )
    return Part(output, INPUT, 0, 0, source or Value(output, imported.network.types[output].shape[1:]))


def _as_in_keras(part: Part, array: np.ndarray) -> np.ndarray:
    """A value with its axes as Keras has them."""
    return np.moveaxis(array, -1, 1) if part.value.moved else array


def _row(part: Part, ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> Row:
    if not theirs.size:
        return _left_out(part)
    largest, mean, relative = differences(ours, theirs)
    verdict = AGREES if relative <= tolerance else DEPARTS
    shape = theirs.shape[1:]
    found = Row(part.path, part.kind, part.call, part.index, shape, verdict, largest, mean, relative)
    return replace(found, not_finite=_not_finite(ours, theirs))


def differences(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """The largest and the mean absolute difference, and the largest relative to the largest of ``theirs``.

    Infinity agrees with itself; NaN with nothing.
    """
    if not theirs.size:
        return 0.0, 0.0, 0.0
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.where(a == b, 0.0, np.abs(a - b))
    apart[np.isnan(apart)] = np.inf
    largest = float(apart.max())
    scale = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    relative = 0.0 if largest == 0 else largest / scale if scale else np.inf
    return largest, float(apart.mean()), float(relative)


def _not_finite(ours: np.ndarray, theirs: np.ndarray) -> str:
    for who, its, others in (("the recording", theirs, ours), ("the network", ours, theirs)):
        if np.any(np.isfinite(others) & ~np.isfinite(its)):
            return who
    return ""


def number(x: float) -> str:
    """A difference in words; how small it is does not matter where it is only noise."""
    return "<1e-6" if x < NOISE else f"{x:.1e}"


def _is_same(array: np.ndarray) -> bool:
    """Whether all examples gave the same."""
    return len(array) > 1 and all(np.array_equal(x, array[0]) for x in array[1:])

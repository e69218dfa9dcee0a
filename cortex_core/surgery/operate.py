"""The functions of surgery: an edit of the description, and the numbers that stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cortex_compute.errors import SpecError
from cortex_core.check import misfits
from cortex_core.network import Network
from cortex_core.network import network as make_network
from cortex_core.spec import Description, read
from cortex_core.surgery import edits
from cortex_core.surgery.edits import Edit


def add(
    x: Any,
    layers: Sequence[Any],
    after: str | None = None,
    drop_unfitting: bool = False,
    seed: int | None = None,
) -> Any:
    """``x`` with more layers, written as in a description, behind the layer or input ``after``.

    Without ``after`` they stand behind the output.  The first of them takes the value of ``after``, and what
    took that takes the last of them.  Losses stay where they are; a new layer may bring its own (``loss``).
    """
    return _operated(x, "add", lambda data: edits.added(data, layers, after), drop_unfitting, seed)


def remove(
    x: Any, name: str, instead: str | None = None, drop_unfitting: bool = False, seed: int | None = None
) -> Any:
    """``x`` without a layer or block.  What took its value takes what it took itself, or ``instead``.

    A loss on a layer without parameters moves to what stands before it; one on a layer with parameters is
    removed with it.
    """
    return _operated(x, "remove", lambda data: edits.removed(data, name, instead), drop_unfitting, seed)


def replace_head(x: Any, units: int, of: str | None = None, seed: int | None = None) -> Any:
    """``x`` with a new head of ``units`` outputs: the last dense layer before a loss, or convolution whose
    channels it compares.

    ``of`` names the head where there are several.  Its weights are drawn anew, also where it had as many
    outputs.  Losses, metrics and targets stay; the names of the old classes are forgotten, and training
    learns the new ones.
    """
    return _operated(x, "replace_head", lambda data: edits.headed(data, units, of), False, seed)


def freeze(x: Any, until: str) -> Any:
    """``x`` whose layers up to ``until``, this one included, keep their parameters when it is trained."""
    return _operated(x, "freeze", lambda data: edits.frozen_until(data, until))


def freeze_norms(x: Any) -> Any:
    """``x`` whose batch norms normalise with their running statistics when it is trained, and keep them, and
    their parameters: for small batches, which tell little of the data."""
    return _operated(x, "freeze_norms", edits.norms_frozen)


def unfreeze(x: Any, until: str | None = None) -> Any:
    """``x`` whose layers are all trained; or those up to ``until``, this one included."""
    return _operated(x, "unfreeze", lambda data: edits.unfrozen(data, until))


def resize_input(
    x: Any,
    shape: Sequence[int | None],
    name: str | None = None,
    drop_unfitting: bool = False,
    seed: int | None = None,
) -> Any:
    """``x`` with an input of another ``shape``, without the batch axis; ``name`` says which, of several.

    Convolutions and what stands behind global pooling keep their weights.  Where parameters would need
    another shape, that is an error, or with ``drop_unfitting`` these are drawn anew.
    """
    return _operated(x, "resize_input", lambda data: edits.resized(data, shape, name), drop_unfitting, seed)


Make = Callable[[edits.Data], Edit]


def _operated(x: Any, what: str, edit: Make, drop_unfitting: bool = False, seed: int | None = None) -> Any:
    """A network for a network, canonical data for a description.  Raises `SpecError` where an edit cannot be
    made, or its result is no network."""
    if isinstance(x, Mapping) or (isinstance(x, (str, Path)) and Path(x).suffix in (".yaml", ".yml")):
        return _changed(read(x), what, edit)[0].canonical
    old = make_network(x)
    description, made = _changed(old.description, what, edit)
    encoding, notes = _encoding(old.encoding, description, made, what)
    description = replace(description, notes=(*description.notes, *notes))
    network = _with_numbers(old, description, what, made, drop_unfitting, seed)
    network.encoding, network.origin = encoding, old.origin
    network.changed("changed by surgery")
    return network


def _changed(old: Description, what: str, edit: Make) -> tuple[Description, Edit]:
    """The edited description, in which all fits together, and the edit."""
    made = edit(old.canonical)
    try:
        description = read(made.data)
    except SpecError as error:
        raise SpecError("\n".join(f"{what}: {line}" for line in str(error).splitlines())) from None
    if problems := misfits(description):
        raise SpecError("\n".join(f"{what}: {problem}" for problem in problems))
    return replace(description, notes=(*old.notes, *made.notes), home=old.home), made


def _with_numbers(
    old: Network, description: Description, what: str, edit: Edit, drop_unfitting: bool, seed: int | None
) -> Network:
    """A network of this description with the numbers of the old one, where they fit."""
    made = Network(description, old.training.seed if seed is None else seed)
    numbers: dict[str, Any] = {**old.parameters, **old.variables}
    unfit = []
    for name in (*made.parameters, *made.variables):
        if name not in numbers or name.rpartition("/")[0] in edit.fresh:
            continue
        if numbers[name].shape == made.declared[name].type.shape:
            made.store.write(name, numbers[name])
        else:
            unfit.append(f"'{name}' is {numbers[name].shape} and would be {made.declared[name].type.shape}")
    if unfit and not drop_unfitting:
        hint = "expected layers before it that keep its shape, or drop_unfitting, which draws it anew"
        raise SpecError(f"{what}: {'; '.join(unfit)}: {hint}")
    return made


def _encoding(encoding: Any, description: Description, edit: Edit, what: str) -> tuple[Any, tuple[str, ...]]:
    """What was learned of the data, without what does not hold any more; and what is to be said of that.

    Scales, vocabularies and sizes belong to the weights that read them.  Only the classes and scales of
    targets may be forgotten: training learns them again.
    """
    shapes = {x.name: x.shape for x in description.inputs if x.name in edit.streams}
    for name, shape in shapes.items():
        if encoding is None or name not in encoding.streams or encoding.streams[name].shape == shape:
            continue
        if not hasattr(encoding, "resized"):
            told = f"'{name}' is {encoding.streams[name].shape} by what was learned of the data"
            raise SpecError(f"{what}: {told}; train a description of the other size on them")
        encoding = encoding.resized(name, shape)
    targets = [name for name in edit.streams if name not in shapes]
    if encoding is None or not targets:
        return encoding, ()
    if not hasattr(encoding, "without"):
        return None, ("what was learned of the data is forgotten with the head: training learns it anew",)
    return encoding.without(targets), ()

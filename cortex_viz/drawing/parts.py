"""What is drawn of a network: its layers as parts, blocks as parts that hold others.

Layers belong together where their ids do: ``u0/conv2d`` and ``u0/main`` are the block ``u0``.  Parts that
stand in a row and are alike may be shown as one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from textwrap import wrap
from typing import Any

from cortex_compute.types import TensorType, float32
from cortex_core.declared import CHECK_BATCH
from cortex_core.network import Network
from cortex_core.registry import data_of, fields_of
from cortex_core.spec.description import owner
from cortex_core.step import types_of
from cortex_core.summary import LayerRow, rows

WIDE = 30  # letters of a row
LONG = 3  # so many layers in a row that are alike are one box; blocks from two on
Key = Hashable
_BLOCK = re.compile(r"blocks\.([^.]+)\.layers\[")


@dataclass(frozen=True)
class Part:
    """A box.  ``sources`` are the keys of the parts that it takes.

    ``shape`` and ``parameters`` are of what leaves it.  Parts whose ``like`` is equal look the same.
    ``inside`` are the parts of a block, ``layers`` how many layers these are.
    """

    key: Key
    style: str
    name: str
    rows: tuple[str, ...] = ()
    sources: tuple[Key, ...] = ()
    shape: str = ""
    parameters: int = 0
    about: str = ""
    like: Hashable = None
    frozen: bool = False
    layers: int = 0
    inside: tuple[Part, ...] = ()
    block: str = ""


def parts_of(network: Network) -> list[Part]:
    """Inputs, layers, targets, losses and outputs; blocks are folded.  Sources come first."""
    description = network.description
    types = types_of(network, CHECK_BATCH)
    found = [
        Part(x.name, "input", x.name, ("input",), shape=_shape(x.shape, types[x.name]), about=str(x.place))
        for x in description.inputs
    ]
    ids = {node.id for node in description.layers}
    table = {row.id: row for row in rows(description)}
    layers = [_layer(node, table[node.id]) for node in description.layers]
    each = {part.key: part for layer in layers for part in [*_masks(layer, ids), layer]}  # masks are shared
    found += nest(list(each.values()))
    homes = _homes(found)
    found += _ends(network, homes, types)
    taken = {source for part in found for source in part.sources}
    return [part for part in found if part.style != "input" or part.key in taken]


def _shape(shape: Sequence[int | None], type: TensorType) -> str:
    """``28x28x1``, with the data type where it is not float32."""
    sizes = "x".join("any" if n is None else str(n) for n in shape)
    words = [sizes] if sizes or type.dtype is float32 else []
    return " ".join([*words, *([] if type.dtype is float32 else [type.dtype.name])]) or "scalar"


def _layer(node: Any, row: LayerRow) -> Part:
    fields_given = list(_given(node.layer))
    given = ", ".join(fields_given)
    frozen = not node.trainable and row.parameters > 0
    whole = ", ".join(words.replace(" ", "\xa0") for words in fields_given)  # a field stays in one row
    shown = wrap(whole, WIDE, max_lines=2, placeholder=" …", break_long_words=False, break_on_hyphens=False)
    facts = (f"{node.id}: {node.kind}", given, f"{row.flops / 1e6:,.3f} MFLOP for one example", node.place)
    block = _BLOCK.match(node.place.path)
    sizes = "?" if row.output is None else "x".join("any" if n is None else str(n) for n in row.output)
    return Part(
        key=node.id,
        style="layer",
        name=node.id if _follows(node.id, node.kind) else f"{node.id}: {node.kind}",
        rows=(*(row.replace("\xa0", " ") for row in shown), *(["frozen"] if frozen else [])),
        sources=node.sources,
        shape=sizes or "scalar",
        parameters=row.parameters,
        about=" | ".join(str(fact) for fact in facts if str(fact)),
        like=(node.kind, given, row.output, row.parameters, node.trainable),
        frozen=frozen,
        layers=1,
        block=block[1] if block else "",
    )


def _follows(id: str, kind: str) -> bool:
    """Whether the id is what a layer of this kind is called where nobody gave it one."""
    return re.fullmatch(rf"{re.escape(kind)}(_\d+)?(\.\d+)?", id.rpartition("/")[2]) is not None


def _given(layer: Any) -> Iterator[str]:
    """The fields of a layer that are not at their default, as text; initialisers are left out.

    Of a layer that works inside this one they are its kind and its own fields.
    """
    values = data_of(layer)
    for field in fields_of(type(layer)).values():
        value, own = values[field.name], getattr(layer, field.attribute)
        if value is None or field.name.endswith("initializer"):
            continue
        if field.name == "layer":
            yield own.kind
            yield from _given(own)
            continue
        flat = value if isinstance(value, list) else [value]
        if value == field.default or all(isinstance(x, int) and x == field.default for x in flat):
            continue
        sizes = isinstance(value, list) and all(isinstance(x, int) for x in value)
        yield f"{field.name} {'x'.join(map(str, value)) if sizes else _words(value)}"


def _words(value: Any) -> str:
    """A value as the description writes it, but for quotes: ``{leaky_relu: {slope: 0.1}}``."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_words(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_words, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _masks(layer: Part, ids: set[str]) -> Iterator[Part]:
    """The second outputs that a layer takes (``words.mask``): small boxes between the two."""
    for source in layer.sources:
        giver = owner(str(source), ids)
        if giver != source:
            yield Part(source, "output", str(source), sources=(giver,))


def _ends(network: Network, homes: Mapping[Key, Key], types: Mapping[str, TensorType]) -> list[Part]:
    """Targets, losses and outputs."""
    description = network.description
    given, ids = {x.name for x in description.inputs}, {node.id for node in description.layers}
    targets = {name: None for name in description.loss_streams if name not in given}
    ends = [
        Part(("target", name), "input", name, ("target",), shape=_shape(types[name].shape[1:], types[name]))
        for name in targets
    ]
    for i, loss in enumerate(description.losses):
        weight = (f"weight {loss.weight:g}",) if loss.weight != 1 else ()
        streams = [name if name in given else ("target", name) for name in loss.streams]
        sources = dict.fromkeys(homes[owner(id_, ids)] for id_ in loss.sources)
        name = loss.kind if loss.name in (loss.kind, "loss") else f"{loss.name}: {loss.kind}"
        about = f"loss of {' and '.join((*loss.sources, *loss.streams))} | {loss.place}"
        ends.append(Part(("loss", i), "loss", name, ("loss", *weight), (*sources, *streams), about=about))
    for id in description.outputs:
        ends.append(Part(("output", id), "output", "output", (id,), (homes[id],)))
    return ends


def _homes(parts: Iterable[Part]) -> dict[Key, Key]:
    """For each layer the part, of these, in which it is."""
    found: dict[Key, Key] = {}
    for part in parts:
        found[part.key] = part.key
        found.update(dict.fromkeys(_homes(part.inside), part.key))
    return found


def nest(parts: Sequence[Part], prefix: str = "") -> list[Part]:
    """The parts, those of a block as one.  A block through which a way leads twice is left in pieces."""
    homes = {part.key: _block_of(part, prefix) for part in parts}
    sizes = Counter(homes.values())
    homes = {key: home if sizes[home] > 1 else key for key, home in homes.items()}  # one alone is no block
    while True:
        members: dict[Key, list[Part]] = {}
        for part in parts:
            members.setdefault(homes[part.key], []).append(part)
        before = {
            key: {homes.get(s, s) for part in inside for s in part.sources} - {key}
            for key, inside in members.items()
        }
        try:
            order = [key for key in TopologicalSorter(before).static_order() if key in members]
        except CycleError as error:
            pieces = {part.key for key in error.args[1] for part in members[key]}
            homes.update((key, key) for key in pieces)
            continue
        made = [_fold(key, members[key], prefix) for key in order]
        return [replace(p, sources=tuple(dict.fromkeys(homes.get(s, s) for s in p.sources))) for p in made]


def _block_of(part: Part, prefix: str) -> Key:
    """The block inside which a layer is; its key ends with a slash, which no id of its own does."""
    head, slash, _ = str(part.key).removeprefix(prefix).partition("/")
    return prefix + head + slash if slash and isinstance(part.key, str) else part.key


def _fold(key: Key, inside: Sequence[Part], prefix: str) -> Part:
    """A block of these layers; one layer alone stands for itself."""
    if len(inside) == 1:
        (part,) = inside
        return replace(part, name=part.name.removeprefix(prefix))
    own = {part.key: i for i, part in enumerate(inside)}
    outside = [s for s in dict.fromkeys(s for part in inside for s in part.sources) if s not in own]
    ports = {s: ("input of", key, s) for s in outside}
    names = [str(s) for s in outside] if len(outside) > 1 else [""] * len(outside)
    doors = [Part(ports[s], "input", "input", (name,) if name else ()) for s, name in zip(outside, names)]
    moved = [replace(p, sources=tuple(ports.get(s, s) for s in p.sources)) for p in inside]
    layers, count = sum(p.layers for p in inside), sum(p.parameters for p in inside)
    here = {p.block for p in inside if p.block and "/" not in str(p.key).removeprefix(str(key))}
    name = str(key).removeprefix(prefix).rstrip("/")
    block = here.pop() if len(here) == 1 else ""
    return Part(
        key=key,
        style="block",
        name=f"{name}: {block}" if block and block != name else name,
        rows=_counts(layers, count),
        sources=tuple(outside),
        shape=inside[-1].shape,
        parameters=count,
        about=", ".join(str(p.key) for p in inside),
        like=tuple((p.like, tuple(own.get(s, -1) for s in p.sources)) for p in inside),
        layers=layers,
        inside=(*doors, *nest(moved, str(key))),
        block=block,
    )


def _counts(layers: int, parameters: int) -> tuple[str, ...]:
    return f"{layers} layers", f"{parameters:,} parameter{'' if parameters == 1 else 's'}"


def in_rows(parts: Sequence[Part]) -> list[Part]:
    """The parts, of which those that follow one another alone and are alike are one."""
    users: dict[Key, list[Part]] = {}
    for part in parts:
        for source in part.sources:
            users.setdefault(source, []).append(part)
    by_key = {part.key: part for part in parts}
    runs: dict[Key, list[Part]] = {}  # by the key of the last part
    for part in parts:
        before = by_key.get(part.sources[0]) if len(part.sources) == 1 else None
        joins = before is not None and part.like == before.like is not None and users[before.key] == [part]
        runs[part.key] = [*(runs.pop(before.key) if before is not None and joins else []), part]
    return [joined for run in runs.values() for joined in _joined(run)]


def _joined(run: list[Part]) -> list[Part]:
    first, last = run[0], run[-1]
    if len(run) < (2 if last.inside else LONG):
        return run
    what = last.block or ("block" if last.inside else str(last.like[0]))  # type: ignore[index]
    layers, count = sum(p.layers for p in run), sum(p.parameters for p in run)
    begin, end = (part.name.partition(":")[0] for part in (first, last))
    same = begin.rpartition(".")[0]
    span = f"{begin} to {end.removeprefix(same) if same else end}"
    rows = (span, *(_counts(layers, count) if last.inside else last.rows))
    about = f"{len(run)} alike, each: {first.about}"
    return [
        replace(
            last, name=f"{what} × {len(run)}", rows=rows, sources=first.sources, parameters=count, about=about
        )
    ]

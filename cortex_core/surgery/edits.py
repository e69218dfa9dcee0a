"""Changes of a network as data: each takes a description and gives the changed one, and touches no numbers.

A name means a layer, or all layers of a block or of a repetition, as in the description that people wrote:
``unit`` means ``unit/conv2d``, ``unit/relu``, ..., and ``unit.0/conv2d``.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cortex_compute.errors import SpecError
from cortex_compute.frozen import frozen
from cortex_core.layers.conv import Convolution
from cortex_core.registry import nearest, with_sources
from cortex_core.spec import Description, LayerNode, LossNode, read
from cortex_core.spec.canonical import canonical
from cortex_core.spec.description import AUTO, Named, owner
from cortex_core.spec.wiring import ancestors

Data = dict[str, Any]
Names = Mapping[str, str]


@frozen
class Edit:
    """A changed description, and what does not belong to it of that what was learned for the old one.

    ``fresh``: the layers and losses whose numbers are drawn anew though their shapes may be equal.
    ``streams``: those of which is forgotten what was learned of the data.  ``notes`` say what was changed
    that nobody asked for.
    """

    data: Data
    fresh: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def added(data: Data, layers: Sequence[Any], after: str | None = None) -> Edit:
    """With more ``layers``, written as in a description, behind ``after`` (default: the output).

    The first takes the value of ``after`` unless its ``from`` says otherwise; what took that value takes the
    last of the new ones.  Losses and metrics stay where they are.
    """
    old = read(data)
    if isinstance(layers, (str, Mapping)) or not layers:
        raise SpecError(
            f"add: {layers!r:.80} is no list of layers; expected such as ['relu', {{'dense': 10}}]"
        )
    at = _end("add", old, _only("add", old.outputs, "outputs", "after") if after is None else after)
    ids = [node.id for node in old.layers]
    place = ids.index(at) + 1 if at in ids else 0

    def spliced(description: Data) -> list[Any]:
        return [*description["layers"][:place], *layers, *description["layers"][place:]]

    without = {key: value for key, value in data.items() if key not in ("loss", "outputs", "train")}
    try:
        trial = read({**without, "layers": spliced(data)})  # which names the new layers
    except SpecError as error:
        raise SpecError("\n".join(_counted(problem, place) for problem in error.problems)) from None
    new = [node.id for node in trial.layers if node.id not in ids]
    last = _last("add", trial, new, "the new layers")
    moved = canonical(_renamed(old, {at: last}))
    return Edit({**moved, "layers": spliced(moved)})


def _counted(problem: Any, before: int) -> str:
    """A mistake in added layers, with the place among them."""
    return "add: " + re.sub(r"^layers\[(\d+)\]", lambda m: f"layers[{int(m[1]) - before}]", str(problem))


def removed(data: Data, name: str, instead: str | None = None) -> Edit:
    """Without a layer, or without a block.  Who took its value takes ``instead``: by default what it took
    itself.

    A loss or metric on a layer that has no parameters moves along; on one that has, it goes with it.
    """
    old = read(data)
    gone = _members("remove", old, name)
    nodes = {node.id: node for node in old.layers}
    last = _last("remove", old, gone, f"'{name}'")
    before = dict.fromkeys(s for i in gone for s in nodes[i].positional if owner(s, nodes) not in gone)
    if instead is None:
        instead = _only("remove", before, f"values that '{name}' takes", "instead")
    elif _end("remove", old, instead) in gone:
        raise SpecError(f"remove: '{instead}' is removed itself, and nobody can take it instead of '{name}'")
    _expect_unused(old, gone, last)
    learns = any(_learns(nodes[i]) for i in gone)
    stays = {*nodes} - {*gone} | (set() if learns else {last})
    losses = tuple(x for x in old.losses if x.of in stays and not (x.of == last and x.parameter))
    train = old.train
    if train is not None:
        train = replace(train, metrics=tuple(x for x in train.metrics if x.of in stays))
    kept = replace(old, layers=tuple(x for x in old.layers if x.id not in gone), losses=losses, train=train)
    lost = [x.name for x in old.losses if x not in losses]
    notes = (f"the loss {', '.join(lost)} is removed with '{name}'",) if lost else ()
    return Edit(canonical(_renamed(kept, {last: instead}, terms=True)), notes=notes)


def headed(data: Data, units: int, of: str | None = None) -> Edit:
    """With another head: the last dense layer, or convolution of single pixels, before a loss has ``units``
    outputs.

    ``of`` names the head, or what comes behind it, where there are several.  Losses, metrics and targets
    stay; what they say of classes is adapted.
    """
    old = read(data)
    nodes = {node.id: node for node in old.layers}
    compared = {loss.name: _before(nodes, loss.of) for loss in old.losses if loss.target}
    if of is None:
        ends = [*compared.values()] or [_before(nodes, name) for name in old.outputs]
        sources = {node.id: node.sources for node in old.layers}
        behind = {end: ancestors([end], sources, nodes) - {end} for end in ends}
        last = [end for end in behind if not any(end in found for found in behind.values())]
        head = _only("replace_head", last, "heads", "of")
    else:
        head = _before(nodes, _end("replace_head", old, of))
    count, layer = _with_units(nodes, head, units)
    inputs = {x.name for x in old.inputs}
    targets = {x.target for x in old.losses if compared.get(x.name) == head} - inputs
    related = [x for x in old.losses if x.target in targets]
    losses = {x.name: _with_classes(x, count, units) for x in related}
    notes = tuple(note for x in related for note in _said(x, losses[x.name]))
    made = replace(
        old,
        layers=tuple(replace(x, layer=layer) if x.id == head else x for x in old.layers),
        losses=tuple(losses.get(x.name, x) for x in old.losses),
    )
    fresh = (head, *(x.name for x in related))
    return Edit(canonical(made), fresh, tuple(sorted(targets)), notes)


def frozen_until(data: Data, until: str) -> Edit:
    """With all layers frozen that lead to ``until``, and this one too: their parameters are not trained."""
    old = read(data)
    chosen = _leading("freeze", old, until)
    learning = [x.holder for x in old.layers if _learns(x) and x.trainable]
    if learning and chosen.issuperset(learning):
        told = f"nothing would be left to train behind '{until}'"
        raise SpecError(f"freeze: {told}; expected a layer before the last that has parameters")
    return Edit(_with_trainable(old, chosen, False))


def unfrozen(data: Data, until: str | None = None) -> Edit:
    """With all layers trained, or those that lead to ``until``, and this one."""
    old = read(data)
    chosen = {x.id for x in old.layers} if until is None else _leading("unfreeze", old, until)
    return Edit(_with_trainable(old, chosen, True))


def resized(data: Data, shape: Sequence[int | None], name: str | None = None) -> Edit:
    """With another shape of an input; ``name`` says of which, where there are several."""
    old = read(data)
    inputs = {x.name: x for x in old.inputs}
    if name is None:
        name = _only("resize_input", inputs, "inputs", "name")
    if name not in inputs:
        raise SpecError(f"resize_input: there is no input '{name}'. {nearest(name, inputs)}".rstrip())
    dtype = {} if inputs[name].dtype == AUTO else {"dtype": inputs[name].dtype}
    changed = {**data["inputs"], name: {"shape": list(shape), **dtype}}
    return Edit({**data, "inputs": changed}, streams=(name,))


def _learns(node: LayerNode) -> bool:
    return hasattr(node.layer, "parameters")


def _members(what: str, description: Description, name: str) -> tuple[str, ...]:
    """The layers that a name means.  One that was written with a softmax has its logits in another layer."""
    ids = [node.id for node in description.layers]
    own = re.escape(str(name))
    pattern = rf"{own}(/logits_*)?" if name in ids else rf"{own}(/|\.[0-9]+(/|$)).*"
    found = tuple(id_ for id_ in ids if re.fullmatch(pattern, id_))
    if not found:
        blocks = {id_.partition("/")[0] for id_ in ids}
        raise SpecError(f"{what}: there is no layer '{name}'. {nearest(str(name), [*ids, *blocks])}".rstrip())
    return found


def _end(what: str, description: Description, name: str) -> str:
    """The layer, or the input, whose value a name means."""
    if name in {x.name for x in description.inputs} or name in {x.id for x in description.layers}:
        return name
    return _last(what, description, _members(what, description, name), f"'{name}'")


def _last(what: str, description: Description, members: Sequence[str], words: str) -> str:
    """The one of several layers that none of the others takes."""
    ids = {node.id for node in description.layers}
    taken = {owner(s, ids) for node in description.layers if node.id in members for s in node.sources}
    ends = [id_ for id_ in members if id_ not in taken]
    if len(ends) != 1:
        raise SpecError(
            f"{what}: {words} end in several: {', '.join(ends)}; expected one that others can take"
        )
    return ends[0]


def _only(what: str, names: Iterable[str], words: str, argument: str) -> str:
    """The only one of some names."""
    found = list(names)
    if len(found) != 1:
        raise SpecError(
            f"{what}: there are {len(found)} {words}: {', '.join(found)}; say by '{argument}' which"
        )
    return found[0]


def _leading(what: str, description: Description, until: str) -> set[str]:
    """The layers that lead to one, this one, and those whose parameters they share."""
    nodes = {node.id: node for node in description.layers}
    sources = {node.id: node.sources for node in description.layers}
    found = ancestors(_members(what, description, until), sources, nodes) & nodes.keys()
    names = [name for id_ in found for name in dict(nodes[id_].shared).values()]
    return found | {name if name in nodes else name.rpartition("/")[0] for name in names}


def _with_trainable(description: Description, ids: Container[str], trainable: bool) -> Data:
    """Only layers with parameters of their own say whether these are trained."""
    layers = tuple(
        replace(x, trainable=trainable) if x.id in ids and _learns(x) and x.holder == x.id else x
        for x in description.layers
    )
    return canonical(replace(description, layers=layers))


def _renamed(description: Description, names: Names, terms: bool = False) -> Description:
    """With other names for the values that layers take and that are outputs; ``terms``: losses and metrics
    too."""

    def name(source: str) -> str:
        return names.get(source, source)

    def named(found: Named) -> Named:
        return name(found) if isinstance(found, str) else tuple(map(name, found))

    def layer(node: LayerNode) -> LayerNode:
        keywords = tuple((key, named(found)) for key, found in node.keywords)
        changed = with_sources(node.layer, dict(keywords)) if keywords else node.layer
        return replace(node, layer=changed, sources=tuple(map(name, node.sources)), keywords=keywords)

    def loss(node: LossNode) -> LossNode:
        keywords = tuple((key, named(found)) for key, found in node.keywords)
        changed = with_sources(node.loss, dict(keywords)) if keywords else node.loss
        return replace(node, loss=changed, of=name(node.of), keywords=keywords)

    made = replace(
        description,
        layers=tuple(map(layer, description.layers)),
        outputs=tuple(dict.fromkeys(map(name, description.outputs))),
    )
    if not terms:
        return made
    train = made.train
    if train is not None:
        train = replace(train, metrics=tuple(replace(x, of=name(x.of)) for x in train.metrics))
    return replace(made, losses=tuple(map(loss, made.losses)), train=train)


def _expect_unused(description: Description, gone: Sequence[str], last: str) -> None:
    """Nobody takes of removed layers what has no place any more: values inside a block, masks."""
    ids = {node.id for node in description.layers}
    takers = [(x.id, x.sources) for x in description.layers if x.id not in gone]
    takers += [(f"loss {x.name}", x.sources[1:]) for x in description.losses]
    for taker, sources in takers:
        for source in sources:
            if owner(source, ids) in gone and source != last:
                raise SpecError(
                    f"remove: '{taker}' takes '{source}', which would be gone; remove '{taker}' first"
                )


def _before(nodes: Mapping[str, LayerNode], name: str) -> str:
    """The last layer with parameters that leads to a value, along layers that take one."""
    here = owner(name, nodes)
    while here in nodes and not _learns(nodes[here]):
        if len(nodes[here].positional) != 1:
            told = f"'{here}' takes {len(nodes[here].positional)} values, and no head comes before '{name}'"
            raise SpecError(f"replace_head: {told}; expected a dense layer behind it")
        here = owner(nodes[here].positional[0], nodes)
    if here not in nodes:
        raise SpecError(f"replace_head: no layer with parameters comes before '{name}': there is no head")
    return here


def _with_units(nodes: Mapping[str, LayerNode], head: str, units: int) -> tuple[int, Any]:
    """How many outputs a head has, and its layer with another number of them."""
    outer = nodes[head].layer
    layer = getattr(outer, "layer", outer)  # (of time_distributed)
    pixels = isinstance(layer, Convolution) and set(layer.kernel) == {1} and layer.groups == 1
    if layer.kind != "dense" and not pixels:
        told = f"the last layer with parameters is {layer.kind} '{head}', which is no head"
        raise SpecError(f"replace_head: {told}; expected dense, or a convolution with kernel 1")
    if nodes[head].shared:
        told = f"'{head}' shares parameters with others"
        raise SpecError(f"replace_head: {told}; remove it, and add another head by `add`")
    size = "filters" if pixels else "units"
    try:
        made = replace(layer, **{size: units})
    except SpecError as error:
        raise SpecError(f"replace_head: {error}") from None
    return getattr(layer, size), made if outer is layer else replace(outer, layer=made)


def _with_classes(node: LossNode, old: int, new: int) -> LossNode:
    """A loss of as many classes as the new head has; weights of the old classes mean nothing any more."""
    loss = node.loss
    if getattr(loss, "class_weights", None) is not None:
        loss = replace(loss, class_weights=None)
    if getattr(loss, "classes", None) == old:
        loss = replace(loss, classes=new)
    derive = node.derive
    if getattr(derive, "classes", None) == old:
        derive = replace(derive, classes=new)
    return replace(node, loss=loss, derive=derive)


def _said(before: LossNode, after: LossNode) -> Iterable[str]:
    if getattr(before.loss, "class_weights", None) != getattr(after.loss, "class_weights", None):
        yield f"the class_weights of the loss {before.name} were those of the old classes, and are left out"

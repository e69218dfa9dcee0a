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
from cortex_core.check import measured
from cortex_core.declared import declare
from cortex_core.layers.conv import Convolution
from cortex_core.registry import nearest, with_sources
from cortex_core.spec import Description, LayerNode, LossNode, read
from cortex_core.spec.canonical import canonical
from cortex_core.spec.description import ALL, AUTO, Named, owner
from cortex_core.spec.wiring import ancestors

Data = dict[str, Any]
Names = Mapping[str, str]
HEAD = "replace_head"


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
    if not isinstance(layers, Sequence) or isinstance(layers, str) or not layers:
        raise SpecError(
            f"add: {layers!r:.80} is no list of layers; expected such as ['relu', {{'dense': 10}}]"
        )
    at = _end("add", old, _only("add", old.outputs, "outputs", "'after'") if after is None else after)
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

    A loss or metric on a layer that has no parameters moves along; what stands on one that has, or compares
    something with it, goes with it.  So do inputs that nobody takes any more.
    """
    old = read(data)
    gone = _members("remove", old, name)
    nodes = {node.id: node for node in old.layers}
    if len(gone) == len(nodes):
        raise SpecError(f"remove: no layer would be left without '{name}'")
    last = _last("remove", old, gone, f"'{name}'")
    before = dict.fromkeys(s for i in gone for s in nodes[i].positional if owner(s, nodes) not in gone)
    if instead is None:
        instead = _only("remove", before, f"values that '{name}' takes", "'instead' (in Python)")
    else:
        _expect_before(old, nodes, gone, name, instead)
    learns = any(_learns(nodes[i]) for i in gone)
    fallen = {*gone} - (set() if learns else {last})
    terms = _terms_without(old, fallen, last)
    _expect_unused(terms, gone, last)
    kept = replace(terms, layers=tuple(x for x in old.layers if x.id not in gone))
    made = _renamed(kept, {last: instead}, terms=True)
    made, lost = _taken_inputs(made, {owner(s, nodes) for i in gone for s in nodes[i].sources})
    notes = [f"the loss {x.name} is removed with '{name}'" for x in old.losses if x not in terms.losses]
    if old.train is not None:
        metrics = [x.name for x in old.train.metrics if x not in terms.train.metrics]
        notes += [f"the metric {x} is removed with '{name}'" for x in metrics]
    notes += [f"the input {x} is removed with '{name}': nobody else takes it" for x in lost]
    made, moved = _with_monitors(made) if notes else (made, ())
    return Edit(canonical(made), notes=(*notes, *moved))


def _expect_before(
    old: Description, nodes: Mapping[str, LayerNode], gone: Sequence[str], name: str, instead: str
) -> None:
    """What is taken in place of removed layers is none of them, and does not come from them."""
    here = _end("remove", old, instead)
    if here in gone:
        raise SpecError(f"remove: '{instead}' is removed itself, and nobody can take it instead of '{name}'")
    sources = {node.id: node.sources for node in old.layers}
    if not ancestors([here], sources, nodes).isdisjoint(gone):
        told = f"'{instead}' stands behind '{name}', and cannot be taken instead of it"
        raise SpecError(f"remove: {told}; expected a value that stands before it")


def _terms_without(old: Description, fallen: Container[str], last: str) -> Description:
    """Without the losses and metrics on layers that fall away, or that compare something with these."""
    ids = {node.id for node in old.layers}

    def stays(loss: LossNode) -> bool:
        on_lost = loss.parameter and loss.of == last
        return not on_lost and not any(owner(source, ids) in fallen for source in loss.sources)

    train = old.train
    if train is not None:
        train = replace(train, metrics=tuple(x for x in train.metrics if x.of not in fallen))
    return replace(old, losses=tuple(filter(stays, old.losses)), train=train)


def _taken_inputs(description: Description, taken: Container[str]) -> tuple[Description, list[str]]:
    """Without those of the inputs ``taken`` by removed layers that nothing takes any more, and their names.

    An input is no output.
    """
    inputs = {x.name for x in description.inputs}
    ids = {x.id for x in description.layers}
    outputs = tuple(name for name in description.outputs if name not in inputs)
    sources = [x.sources for x in description.layers] + [x.sources for x in description.losses]
    used = {owner(s, ids) for each in sources for s in each}
    lost = [x.name for x in description.inputs if x.name in taken and x.name not in used]
    kept = tuple(x for x in description.inputs if x.name not in lost)
    return replace(description, inputs=kept, outputs=outputs), lost


def _with_monitors(description: Description) -> tuple[Description, tuple[str, ...]]:
    """Where training watches what is not measured any more, it watches the validation loss."""
    train, notes = description.train, []
    for option in ("early_stopping", "schedule") if train is not None else ():
        monitor = getattr(getattr(train, option), "monitor", None)
        if monitor is not None and monitor not in measured(description):
            changed = replace(getattr(train, option), monitor="validation_loss")
            train = replace(train, **{option: changed})
            notes.append(f"train.{option} watches validation_loss: {monitor} is not measured any more")
    return replace(description, train=train), tuple(notes)


def headed(data: Data, units: int, of: str | None = None) -> Edit:
    """With another head: the last dense layer, or convolution, before a loss has ``units`` outputs.

    ``of`` names the head, or what comes behind it, where there are several.  Losses, metrics and targets
    stay; what they say of classes is adapted.  Layers that share all parameters with the head are changed
    alike.
    """
    old = read(data)
    nodes = {node.id: node for node in old.layers}
    compared = {loss.name: _before(nodes, loss.of) for loss in old.losses if loss.target}
    seen = [x.of for x in old.losses if x.target] or (old.outputs if of is None else [_end(HEAD, old, of)])
    if of is None:
        ends = [_before(nodes, name) for name in seen]
        sources = {node.id: node.sources for node in old.layers}
        behind = {end: ancestors([end], sources, nodes) - {end} for end in ends}
        last = [end for end in behind if not any(end in found for found in behind.values())]
        own = {nodes[end].holder: end for end in last}
        head = _only(HEAD, own.values(), "heads", "'of' (--head)")
    else:
        head = _before(nodes, _end(HEAD, old, of))
        known = dict.fromkeys([*_last_learning(old), *compared.values()])
        if head not in known:
            raise SpecError(f"{HEAD}: '{of}' is no head; heads are: {', '.join(known)}")
    holder, whole = nodes[head].holder, _whole(old, nodes, seen)
    heads = {x.id: _with_units(nodes, x.id, units, whole) for x in old.layers if x.holder == holder}
    count = heads[head][0]
    inputs = {x.name for x in old.inputs}
    targets = {x.target for x in old.losses if compared.get(x.name) in heads} - inputs
    related = [x for x in old.losses if x.target in targets]
    losses = {x.name: _with_classes(x, count, units) for x in related}
    notes = [note for x in related for note in _said(x, losses[x.name])]
    if not nodes[holder].trainable:
        notes.append(f"'{holder}' is trained: it was frozen, and its new weights know nothing")

    def anew(x: LayerNode) -> LayerNode:
        return replace(x, layer=heads[x.id][1], trainable=x.trainable or x.id == holder)

    made = replace(
        old,
        layers=tuple(anew(x) if x.id in heads else x for x in old.layers),
        losses=tuple(losses.get(x.name, x) for x in old.losses),
    )
    fresh = (holder, *(x.name for x in related))
    return Edit(canonical(made), fresh, tuple(sorted(targets)), tuple(notes))


def frozen_until(data: Data, until: str) -> Edit:
    """With all layers frozen that lead to ``until``, and this one too: their parameters are not trained."""
    old = read(data)
    chosen = _leading("freeze", old, until)
    learning = [x.holder for x in old.layers if _learns(x) and x.trainable]
    if learning and chosen.issuperset(learning):
        told = f"nothing would be left to train behind '{until}'"
        raise SpecError(f"freeze: {told}; expected a layer before the last that has parameters")
    return Edit(_with_trainable(old, chosen, False))


def norms_frozen(data: Data) -> Edit:
    """With all batch norms frozen: they normalise with their running statistics, and keep them."""
    old = read(data)
    norms = {x.id for x in old.layers if getattr(x.layer, "layer", x.layer).kind == "batch_norm"}
    if not norms:
        raise SpecError("freeze_norms: there is no batch_norm")
    return Edit(_with_trainable(old, norms, False))


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
        name = _only("resize_input", inputs, "inputs", "'name' (--input)")
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        raise SpecError(f"resize_input: {shape!r:.80} is no shape; expected such as (64, 64, 3)")
    _expect_name("resize_input", name)
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


def _expect_name(what: str, name: Any) -> None:
    if not isinstance(name, str):
        raise SpecError(f"{what}: {name!r:.80} is no name; expected the id of a layer, or an input")


def _end(what: str, description: Description, name: str) -> str:
    """The layer, or the input, whose value a name means."""
    _expect_name(what, name)
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
            f"{what}: there are {len(found)} {words}: {', '.join(found)}; say by {argument} which"
        )
    return found[0]


def _leading(what: str, description: Description, until: str) -> set[str]:
    """The layers that lead to one, this one, and those whose parameters they share."""
    nodes = {node.id: node for node in description.layers}
    sources = {node.id: node.sources for node in description.layers}
    found = ancestors(_members(what, description, until), sources, nodes) & nodes.keys()
    return found.union(*(_shares(nodes[id_], nodes) for id_ in found))


def _shares(node: LayerNode, ids: Container[str]) -> set[str]:
    """The layers whose parameters a layer has."""
    return {name if name in ids else name.rpartition("/")[0] for _, name in node.shared}


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
    """Nobody takes of removed layers what has no place any more: values inside a block, masks, parameters."""
    ids = {node.id for node in description.layers}
    takers = [(x.id, x.sources) for x in description.layers if x.id not in gone]
    takers += [(f"loss {x.name}", x.sources[1:]) for x in description.losses]
    for taker, sources in takers:
        for source in sources:
            if owner(source, ids) in gone and source != last:
                raise SpecError(
                    f"remove: '{taker}' takes '{source}', which would be gone; remove '{taker}' first"
                )
    for node in description.layers:
        lost = _shares(node, ids) & {*gone}
        if lost and node.id not in gone:
            told = f"'{node.id}' has the parameters of '{min(lost)}', which would be gone"
            raise SpecError(f"remove: {told}; remove '{node.id}' first, or in its place")


def _last_learning(description: Description) -> Iterable[str]:
    """The layers with parameters behind which there is none."""
    learning = [node.id for node in description.layers if _learns(node)]
    sources = {node.id: node.sources for node in description.layers}
    before = ancestors((s for id_ in learning for s in sources[id_]), sources, sources)
    return (id_ for id_ in learning if id_ not in before)


def _before(nodes: Mapping[str, LayerNode], name: str) -> str:
    """The last layer with parameters that leads to a value, along layers that take one."""
    here = owner(name, nodes)
    while here in nodes and not _learns(nodes[here]):
        if len(nodes[here].positional) != 1:
            told = f"'{here}' takes {len(nodes[here].positional)} values, and no head comes before '{name}'"
            raise SpecError(f"{HEAD}: {told}; `add` of cortex.surgery puts a dense layer behind it")
        here = owner(nodes[here].positional[0], nodes)
    if here not in nodes:
        raise SpecError(f"{HEAD}: no layer with parameters comes before '{name}': there is no head")
    return here


def _whole(
    description: Description, nodes: Mapping[str, LayerNode], seen: Iterable[str]
) -> set[tuple[str, int]]:
    """The last layers with parameters before values, each with the size of the last axis there: the channels
    of a convolution, where nothing has mixed them."""
    values = declare(description)[1].values
    found = ((_before(nodes, name), values.get(name)) for name in seen)
    return {(head, value.type.shape[-1]) for head, value in found if value is not None}


def _with_units(
    nodes: Mapping[str, LayerNode], head: str, units: int, whole: Container[tuple[str, int]]
) -> tuple[int, Any]:
    """How many outputs a head has, and its layer with another number of them."""
    outer = nodes[head].layer
    layer = getattr(outer, "layer", outer)  # (of time_distributed)
    convolution = isinstance(layer, Convolution) and layer.groups == 1
    head_of_maps = convolution and (set(layer.kernel) == {1} or (head, layer.filters) in whole)
    if layer.kind != "dense" and not head_of_maps:
        told = f"the last layer with parameters is {layer.kind} '{head}', which is no head"
        raise SpecError(
            f"{HEAD}: {told}; expected dense, or a convolution whose channels the loss compares. "
            "`add` of cortex.surgery puts a head behind it"
        )
    if {name for name, _ in nodes[head].shared} - {ALL}:
        told = f"'{head}' shares parameters with others"
        raise SpecError(f"{HEAD}: {told}; remove it, and add another head by `add`")
    size = "filters" if convolution else "units"
    try:
        made = replace(layer, **{size: units})
    except SpecError as error:
        told = str(error).partition(": ")[2]  # behind the name of the layer's field
        raise SpecError(f"{HEAD}: 'units' (--replace-head): {told}") from None
    return getattr(layer, size), made if outer is layer else replace(outer, layer=made)


def _with_classes(node: LossNode, old: int, new: int) -> LossNode:
    """A loss of as many classes as the new head has; weights of the old classes mean nothing any more."""
    loss = replace(node.loss, **dict.fromkeys(_by_class(node.loss)))
    if hasattr(loss, "with_channels"):
        loss = loss.with_channels(new)
    elif getattr(loss, "classes", None) == old:
        loss = replace(loss, classes=new)
    derive = node.derive
    if getattr(derive, "classes", None) == old:
        derive = replace(derive, classes=new)
    return replace(node, loss=loss, derive=derive)


def _by_class(loss: Any) -> list[str]:
    """The fields of a loss that hold a number for each class: class_weights, the alpha of focal."""
    return [name for name in ("class_weights", "alpha") if isinstance(getattr(loss, name, None), tuple)]


def _said(before: LossNode, after: LossNode) -> Iterable[str]:
    for name in _by_class(before.loss):
        yield f"the {name} of the loss {before.name} were those of the old classes, and are left out"
    old, new = getattr(before.loss, "classes", None), getattr(after.loss, "classes", None)
    if old != new:
        yield f"the loss {before.name} is one of {new} classes, not {old}"

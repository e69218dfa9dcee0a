"""A network traced at several sizes of its batch and of its axes of any length.

Shapes are static in a graph.  What differs between the traces is what depends on such a size: a *size* is a
tuple, with one number for each trace.  What does not differ is taken to be fixed, so the traces must be of
lengths that no window and no stride makes equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cortex_compute.errors import CortexError, SpecError
from cortex_compute.frozen import frozen
from cortex_compute.types import TensorType, dtype
from cortex_core.declared import free_length
from cortex_core.exchange.to_onnx.twins import Size, Twins
from cortex_core.exchange.to_onnx.unsaid import FIX
from cortex_core.exchange.to_onnx.windows import expect_clear
from cortex_core.graph.value import Graph, Value, state_value
from cortex_core.network import Network
from cortex_core.step import predict_graph
from cortex_core.trace import Declaration, has_free_axes

BATCH = "batch"
BATCHES = (1009, 2003, 4001, 5003, 7001, 8009)
"""Primes, and large: no product of other sizes is a multiple of them, and nothing so large is folded."""
LENGTHS = (
    (12, 13, 18, 43, 74, 119),
    (13, 12, 53, 77, 18, 134),
    (55, 13, 12, 18, 113, 56),
    (84, 35, 13, 12, 104, 19),
    (19, 38, 80, 12, 13, 130),
    (142, 77, 39, 19, 12, 13),
)
"""For each axis of any length its sizes in the traces.  No two are as far from each other in all of them."""
LONG = (
    (1211, 1360, 1625, 1739, 1845, 1993),
    (1352, 1119, 1543, 1522, 1892, 1757),
    (1826, 1545, 1361, 1754, 1987, 1846),
    (904, 1568, 815, 1882, 1335, 1708),
    (1640, 845, 1694, 1120, 1916, 1875),
    (1922, 849, 1371, 941, 1412, 1108),
)
"""Such, for networks that `LENGTHS` are too short for, or say too little about: five strides of 2 one behind
the other, or three of up to 8, leave several rests of each.  None is shorter than the shortest of `LENGTHS`
times the largest of `UNITS`: a network that takes those and not these takes no others."""
UNITS = (2, 4, 8, 16, 32, 64)
"""What `LENGTHS` are multiplied by: some networks halve them, and join the halves again."""
SHORTEST = 4
"""Lengths near 1 are taken for what is repeated."""

Axis = tuple[str, int]
"""An input and the place of an axis in its shape."""


@frozen
class Samples:
    """Graphs of one structure.  ``names`` says what the axes of the inputs are called whose size is free."""

    graphs: tuple[Graph, ...]
    twins: Twins
    names: dict[Axis, str]


class Attempt(NamedTuple):
    """Names of the free axes, and the types of the inputs in each trace.

    ``multiples``: whether the lengths leave no rests when they are halved, so that padding that depends on a
    rest does not show.
    """

    names: dict[Axis, str]
    types: list[dict[str, TensorType]]
    multiples: bool


def sampled(network: Network, raw: bool, say: Callable[[Graph], Graph]) -> Samples:
    """The prediction graph of a network at several sizes, each as ``say`` puts it.

    Multiples are tried only where the network itself refused all other lengths.
    """

    def by_name(name: str, declaration: Declaration, layer: Any) -> Value:
        return state_value(name, network.declared[name].type)

    refused: CortexError | None = None
    unclear: SpecError | None = None
    for names, types, multiples in _attempts(network):
        if multiples and unclear:
            continue
        try:
            graphs = tuple(say(predict_graph(network, given, raw, by_name)) for given in types)
        except CortexError as error:
            refused = error
            continue
        try:
            twins = Twins(graphs)
            expect_clear(twins, all_rests=not multiples)
            return Samples(graphs, twins, names)
        except SpecError as error:
            unclear = unclear or error
            if _is_unrolled(graphs):
                break
    if unclear is not None:
        raise unclear
    if refused is None:
        raise SpecError(f"{network.name}: there are more than {len(LENGTHS)} axes of any length; {FIX}")
    if not has_free_axes(network.description):
        raise refused
    raise SpecError(f"{network.name}: no lengths were found that it takes ({refused}); {FIX}")


def _is_unrolled(graphs: Sequence[Graph]) -> bool:
    """Whether there are nodes for each place of a length: of no length there are as many as of another."""
    return len({len(graph.nodes()) for graph in graphs}) == len(graphs)


def _attempts(network: Network) -> Iterator[Attempt]:
    """Names and sizes of the axes: each axis by itself, then all of one length, as some networks need it."""
    inputs = network.description.inputs
    free = [(x.name, i + 1) for x in inputs for i, n in enumerate(x.shape) if n is None]
    if not free:
        yield _attempt(network, {}, {})
        return
    apart = {axis: f"{axis[0]}_length" if _alone(axis, free) else f"{axis[0]}_axis{axis[1]}" for axis in free}
    ladder = [*_ladder(network)]
    for sizes, multiples in ladder:
        if len(sizes) >= len(free):
            yield _attempt(network, apart, dict(zip(free, sizes)), multiples)
    for sizes, multiples in ladder if len(free) > 1 else ():
        yield _attempt(network, dict.fromkeys(free, "length"), dict.fromkeys(free, sizes[0]), multiples)


def _ladder(network: Network) -> Iterator[tuple[Sequence[Size], bool]]:
    """Sizes for each axis, and whether they are multiples."""
    yield LENGTHS, False
    yield LONG, False
    length = free_length(network.description)  # which may be limited, as of positions that are learned
    if length > SHORTEST:
        yield [(length, length - 1, length - 2, length * 3 // 4, length * 2 // 3, (length + 1) // 2)], False
    for unit in UNITS:
        yield [tuple(unit * n for n in each) for each in LENGTHS], True


def _alone(axis: Axis, free: Sequence[Axis]) -> bool:
    return sum(name == axis[0] for name, _ in free) == 1


def _attempt(
    network: Network, names: dict[Axis, str], lengths: Mapping[Axis, Size], multiples: bool = False
) -> Attempt:
    types = []
    for k in range(len(BATCHES) if lengths else 2):
        given = {}
        for x in network.description.inputs:
            shape = (lengths[x.name, i + 1][k] if n is None else n for i, n in enumerate(x.shape))
            given[x.name] = TensorType((BATCHES[k], *shape), dtype(x.dtype))
        types.append(given)
    batch = {(x.name, 0): BATCH for x in network.description.inputs}
    return Attempt({**batch, **names}, types, multiples)

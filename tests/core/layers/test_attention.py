"""Attention, positions and tied tables as layers, against loops over heads in NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import DTypeError, ShapeError, SpecError
from cortex_core.layers.positional import rotate
from cortex_core.registry import LAYERS
from cortex_core.spec import inspect
from cortex_core.tensor import Tensor
from tests.core.layers.use import Used

RNG = np.random.default_rng(21)
X, MEMORY, VALUES = (RNG.standard_normal(s) for s in ((2, 5, 8), (2, 3, 6), (2, 3, 4)))


def used(*x: np.ndarray, mask: Any = None, **fields: Any) -> Used:
    """The layer with biases that are not 0."""
    named = {} if mask is None else {"mask": mask}
    layer = LAYERS["multi_head_attention"](**fields, **({"mask": "m"} if named else {}))
    biases = {}
    if fields.get("use_bias", True):
        shapes = {name: p.shape for name, p in Used(layer, *x, **named).parameters.items()}
        biases = {name: RNG.normal(size=s) for name, s in shapes.items() if name.endswith("bias")}
    return Used(layer, *x, values=biases, **named)


def by_hand(layer: Used, heads: int, key_heads: int, seen: Any = True, turn: Any = lambda a: a) -> np.ndarray:
    """A loop over examples and heads; ``seen`` broadcasts to (B, Tq, Tk)."""
    p = {name: np.asarray(v) for name, v in layer.parameters.items()}
    x = [np.asarray(v) for v in layer.inputs]
    x += x[-1:] * (3 - len(x))
    q, k, v = (a @ p[f"{n}_kernel"] + p.get(f"{n}_bias", 0) for n, a in zip(("query", "key", "value"), x))
    size = q.shape[-1] // heads
    seen = np.broadcast_to(seen, (len(q), q.shape[1], k.shape[1]))
    found = np.zeros_like(q)
    for b in range(len(q)):
        for h in range(heads):
            own, shared = (slice(i * size, (i + 1) * size) for i in (h, h // (heads // key_heads)))
            score = turn(q[b, :, own]) @ turn(k[b, :, shared]).T / math.sqrt(size)
            power = np.where(seen[b], np.exp(score), 0)
            total = power.sum(-1, keepdims=True)
            found[b, :, own] = power / np.where(total > 0, total, 1) @ v[b, :, shared]
    result: np.ndarray = found @ p["output_kernel"] + p.get("output_bias", 0)
    return result


def close(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("heads", "key_heads"), [(1, 1), (4, 4), (4, 2), (4, 1)])
@pytest.mark.parametrize("causal", [False, True])
def test_one_sequence(heads: int, key_heads: int, causal: bool) -> None:
    layer = used(X, heads=heads, key_heads=key_heads, causal=causal)
    close(layer.y, by_hand(layer, heads, key_heads, np.tri(5, dtype=bool) if causal else True))
    assert layer.parameters["key_kernel"].shape == (8, 8 // heads * key_heads)


def test_memory_has_a_length_and_channels_of_its_own() -> None:
    layer = used(X, MEMORY, heads=2, size=3, units=7)
    assert {name: p.shape for name, p in layer.parameters.items()} == {
        "query_kernel": (8, 6), "query_bias": (6,), "key_kernel": (6, 6), "key_bias": (6,),
        "value_kernel": (6, 6), "value_bias": (6,), "output_kernel": (6, 7), "output_bias": (7,),
    }  # fmt: skip
    close(layer.y, by_hand(layer, 2, 2))
    three = used(X, MEMORY, VALUES, heads=2, use_bias=False)
    close(three.y, by_hand(three, 2, 2))


def test_masks_of_keys_and_of_pairs() -> None:
    keys = np.array([[True, False, True, True, False], [False, True, True, True, True]])
    layer = used(X, heads=2, mask=keys)
    close(layer.y, by_hand(layer, 2, 2, keys[:, None]))
    pairs = RNG.integers(0, 3, (2, 5, 5))  # whole numbers: what is not 0 is seen
    layer = used(X, heads=2, mask=pairs, causal=True)
    close(layer.y, by_hand(layer, 2, 2, (pairs != 0) & np.tri(5, dtype=bool)))


def test_a_query_that_sees_nothing_gets_the_bias() -> None:
    layer = used(X, heads=2, mask=np.zeros((2, 5), bool))
    close(layer.y, np.broadcast_to(np.asarray(layer.parameters["output_bias"]), layer.y.shape))


def turned(base: float) -> Any:
    """Channels i and i + D / 2 as the parts of a complex number, times e^(i t f)."""

    def turn(a: np.ndarray) -> np.ndarray:
        half = a.shape[-1] // 2
        f = base ** (-2 * np.arange(half) / a.shape[-1])
        z = (a[:, :half] + 1j * a[:, half:]) * np.exp(1j * np.arange(len(a))[:, None] * f)
        return np.concatenate([z.real, z.imag], -1)

    return turn


def test_rotary_positions_turn_queries_and_keys() -> None:
    layer = used(X, heads=2, key_heads=1, rotary=True)
    close(layer.y, by_hand(layer, 2, 1, turn=turned(10000.0)))
    layer = used(X, heads=2, rotary=50)
    close(layer.y, by_hand(layer, 2, 2, turn=turned(50.0)))


def test_rotation_is_roformers_with_the_channels_in_another_order() -> None:
    """Su et al., 2021: channels 2 i and 2 i + 1 at position t are turned by the angle t 10000^(-2 i / D)."""
    x, order = RNG.standard_normal((2, 5, 3, 8)), [0, 2, 4, 6, 1, 3, 5, 7]
    wanted = np.zeros_like(x)
    for t in range(5):
        for i in range(4):
            c, s = (f(t * 10000 ** (-2 * i / 8)) for f in (math.cos, math.sin))
            wanted[:, t, :, 2 * i : 2 * i + 2] = x[:, t, :, 2 * i : 2 * i + 2] @ np.array([[c, s], [-s, c]])
    close(np.asarray(rotate(Tensor(x[..., order]), 10000.0)), wanted[..., order])
    one = rotate(Tensor(x[:, 3:4, :, order]), 10000.0, Tensor(np.array(3)))
    close(np.asarray(one), wanted[:, 3:4, :, order])


@pytest.mark.parametrize("rotary", [False, True])
def test_what_comes_later_changes_nothing(rotary: bool) -> None:
    other = X.copy()
    other[:, 3:] += 1
    first, second = (
        Used(LAYERS["multi_head_attention"](heads=2, causal=True, rotary=rotary), x).y for x in (X, other)
    )
    np.testing.assert_array_equal(first[:, :3], second[:, :3])
    assert np.abs(first[:, 3:] - second[:, 3:]).min() > 0


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: used(X[0], heads=2), ShapeError, r"needs \(length, channels\)"),
        (lambda: used(X[:, :0], heads=2), ShapeError, "there is nothing to attend to"),
        (
            lambda: used(X, MEMORY[:, :0], heads=2, mask=np.ones((2, 0), bool)),
            ShapeError,
            "nothing to attend to",
        ),
        (lambda: used(X, heads=3), ShapeError, "needs channels for 3 equal heads, or a size"),
        (lambda: used(X, heads=8, rotary=True), ShapeError, "heads of 1 channels, which do not turn"),
        (lambda: used(X, MEMORY, VALUES[:, :2], heads=2), ShapeError, "as many values as keys"),
        (lambda: used(X, heads=2, mask=np.ones((2, 3), bool)), ShapeError, r"needs \(5,\) for its keys"),
        (lambda: used(X, heads=2, mask=np.ones((2, 5, 3), bool)), ShapeError, r"the mask is \(5, 3\)"),
        (lambda: used(X, heads=2, mask=np.ones((2, 5))), DTypeError, "needs a mask of bool or whole numbers"),
        (lambda: used(X, heads=4, key_heads=3), SpecError, "4 heads of queries do not share 3 heads of keys"),
        (lambda: used(X, heads=2, size=3, rotary=True), SpecError, "3 channels do not turn in pairs"),
    ],
)
def test_what_does_not_fit(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


def test_check_finds_a_mask_that_does_not_fit() -> None:
    inputs = {"x": [5, 8], "seen": {"shape": [4], "dtype": "bool"}}
    layers = [{"multi_head_attention": {"heads": 2, "mask": "seen", "from": "x"}}]
    with pytest.raises(SpecError, match=r"layers\[0\].*needs \(5,\) for its keys or \(5, 5\)"):
        cortex.network({"inputs": inputs, "layers": layers})


def test_sinusoidal_positions() -> None:
    """sin(t / 10000^(2 i / C)) and cos, one beside the other; an odd channel is left with a sine."""
    for channels in (6, 5):
        x = RNG.normal(size=(2, 7, channels))
        y = Used(LAYERS["positional_encoding"](), x).y - x
        for t in range(7):
            for c in range(channels):
                angle = t / 10000 ** (2 * (c // 2) / channels)
                assert abs(y[0, t, c] - (math.cos(angle) if c % 2 else math.sin(angle))) < 1e-12


def test_learned_positions() -> None:
    layer = LAYERS["positional_encoding"](form="learned", length=9)
    one = Used(layer, X)
    np.testing.assert_array_equal(one.y, X + np.asarray(one.parameters["table"])[:5])
    assert layer.positions == 9
    with pytest.raises(ShapeError, match="has learned 4 positions, not 5"):
        Used(LAYERS["positional_encoding"](form="learned", length=4), X)
    with pytest.raises(ShapeError, match=r"needs \(length, channels\)"):
        Used(LAYERS["positional_encoding"](), X[0])


def test_positions_are_not_added_to_whole_numbers() -> None:
    described = {"inputs": {"x": {"shape": [4, 8], "dtype": "int64"}}, "layers": ["positional_encoding"]}
    with pytest.raises(SpecError, match="positional_encoding needs a floating type, not int64"):
        cortex.network(described)


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"kind": "learned"}, "learned positions need 'length'"), ({"length": 3}, "go on for ever")],
)
def test_positions_that_contradict_themselves(fields: Any, words: str) -> None:
    _, problems = inspect({"inputs": {"x": [5, 8]}, "layers": [{"positional_encoding": fields}]})
    assert words in "\n".join(map(str, problems))


def tied(**fields: Any) -> cortex.Network:
    layers: list[Any] = [
        {"embedding": {"tokens": 7, "units": 4, "id": "tokens", **fields}},
        {"dense": {"units": 4, "activation": "tanh"}},
        {"unembedding": {"table": "tokens.table", "id": "next"}},
    ]
    inputs = {"text": {"shape": [3], "dtype": "int64"}}
    loss = {"softmax_cross_entropy": {"of": "next", "target": "after"}}
    train = {"optimizer": {"sgd": {"learning_rate": 1.0}}}
    return cortex.network({"inputs": inputs, "layers": layers, "loss": loss, "train": train})


def test_a_tied_table_is_one_parameter_with_both_gradients() -> None:
    network = tied()
    assert sorted(network.parameters) == ["dense/bias", "dense/kernel", "tokens/table"]
    table, kernel, bias = (
        np.array(network.parameters[n], np.float64) for n in ("tokens/table", "dense/kernel", "dense/bias")
    )
    text, after = np.array([[1, 2, 1], [0, 5, 2]]), np.array([[2, 1, 3], [5, 2, 6]])

    def hidden(t: np.ndarray) -> np.ndarray:
        h: np.ndarray = np.tanh(t[text] @ kernel + bias)
        return h

    def loss(t: np.ndarray, u: np.ndarray) -> float:
        scores = hidden(t) @ u.T
        shifted = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
        return -float(np.take_along_axis(shifted, after[..., None], -1).mean())

    np.testing.assert_allclose(network.predict(text, raw=True), hidden(table) @ table.T, rtol=1e-5, atol=1e-6)
    steps = 1e-6 * np.eye(table.size).reshape(-1, *table.shape)
    gradient = [(loss(table + d, table + d) - loss(table - d, table - d)) / 2e-6 for d in steps]
    program = cortex.compile(network, batch_size=2, purpose="train", backend="numpy")
    program.run({"text": text, "after": after})
    moved = network.parameters["tokens/table"] - table  # by sgd with a learning rate of 1
    np.testing.assert_allclose(-moved, np.reshape(gradient, table.shape), atol=1e-6)


def test_tables_and_masks_of_an_embedding_are_there_together() -> None:
    network = tied(mask_zero=True)
    assert network.predict(np.zeros((2, 3), np.int64)).shape == (2, 3, 7)
    layer = LAYERS["embedding"](tokens=7, units=4, mask_zero=True)
    one = Used(layer, np.array([[0, 3]]))
    assert one.others["table"] is one.parameters["table"]
    assert one.others["mask"].data.tolist() == [[False, True]]


TABLE = {"embedding": {"tokens": 7, "units": 4, "id": "tokens"}}
REST = {"unembedding": {"table": "tokens.table", "id": "next", "from": "tokens"}}


@pytest.mark.parametrize(
    "more",
    [
        {"layers": [TABLE, REST, {"add": {"from": ["next", "tokens.table"]}}]},
        {"layers": [TABLE, REST], "outputs": ["next", "tokens.table"]},
        {"layers": [TABLE, REST], "loss": {"mse": {"of": "tokens.table", "target": "z"}}},
        {
            "layers": [TABLE, REST, {"two": {"from": ["next", "tokens.table"]}}],
            "blocks": {"two": {"layers": [{"add": {"from": ["input.0", "input.1"]}}]}},
        },
    ],
    ids=["from", "outputs", "loss", "in a block"],
)
def test_a_table_is_no_value_of_each_example(more: Any) -> None:
    _, problems = inspect({"inputs": {"text": {"shape": [3], "dtype": "int64"}}, **more})
    assert "'tokens.table' is the same for all examples" in "\n".join(map(str, problems))


def test_a_block_may_be_given_a_table() -> None:
    head = {"layers": [{"dense": {"units": 4, "from": "input.0"}}, {"unembedding": {"table": "input.1"}}]}
    layers = [TABLE, {"head": {"from": ["tokens", "tokens.table"]}}]
    inputs = {"text": {"shape": [3], "dtype": "int64"}}
    network = cortex.network({"inputs": inputs, "layers": layers, "blocks": {"head": head}})
    assert network.predict(np.zeros((2, 3), np.int64)).shape == (2, 3, 7)


def test_unembedding_needs_the_channels_of_the_table() -> None:
    with pytest.raises(ShapeError, match=r"unembedding needs the channels of the table, which is \(7, 4\)"):
        Used(LAYERS["unembedding"](table="t"), X, table=np.zeros((7, 4)))
    with pytest.raises(SpecError, match="'tokens' gives no mask: expected mask_zero"):
        cortex.network({
            "inputs": {"text": {"shape": [3], "dtype": "int64"}},
            "layers": [
                {"embedding": {"tokens": 7, "units": 4, "id": "tokens"}},
                {"unembedding": "tokens.mask"},
            ],
        })  # fmt: skip

"""The blocks that every description knows, optional parameters, and repeated blocks of two inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import SpecError
from cortex_core.layers.attention import MultiHeadAttention
from cortex_core.spec import Description, inspect, read

SEQUENCE = {"x": [7, 8], "memory": [5, 8], "seen": {"shape": [5], "dtype": "bool"}}
ONE = {"x": [7, 8]}
SIZES = {"units": 8, "heads": 2, "hidden": 12}


def unfolded(*layers: Any, **top: Any) -> Description:
    return read({"inputs": ONE, **top, "layers": list(layers)})


def problems_of(data: dict[str, Any]) -> str:
    return "\n".join(map(str, inspect(data)[1]))


def ids(description: Description) -> list[str]:
    return [node.id for node in description.layers]


def test_an_encoder_is_norm_attention_norm_and_two_dense_layers() -> None:
    inputs = {"x": [7, 8], "seen": {"shape": [7], "dtype": "bool"}}
    use = {**SIZES, "from": "x", "mask": "seen", "id": "e"}
    encoder = unfolded({"transformer_encoder": use}, inputs=inputs)
    kinds = [node.kind for node in encoder.layers if node.kind != "dropout"]
    assert kinds == ["layer_norm", "multi_head_attention", "add", "layer_norm", "dense", "dense", "add"]
    attention = next(node for node in encoder.layers if node.id == "e/attention")
    assert attention.sources == ("e/layer_norm", "seen")
    assert isinstance(attention.layer, MultiHeadAttention)
    assert (attention.layer.causal, attention.layer.rotary, attention.layer.key_heads) == (False, False, None)


def test_a_stack_of_decoders_reads_one_memory() -> None:
    decoder = {
        "transformer_decoder": {
            **SIZES,
            "from": ["x", "memory"],
            "memory_mask": "seen",
            "repeat": 3,
            "id": "d",
        }
    }
    found = unfolded(decoder, inputs=SEQUENCE)
    sources = {node.id: node.sources for node in found.layers}
    assert [sources[f"d.{i}/linear"] for i in range(3)] == [("x",), ("d.0/add",), ("d.1/add",)]
    for i in range(3):
        assert sources[f"d.{i}/memory"] == (f"d.{i}/query", "memory", "seen")
        assert sources[f"d.{i}/attention"] == (f"d.{i}/layer_norm",)


def test_the_norm_is_a_choice() -> None:
    norm = {"rms_norm": {"epsilon": 0.125}}
    encoder = unfolded({"transformer_encoder": {**SIZES, "norm": norm, "from": "x", "id": "e"}})
    norms = [node.layer.epsilon for node in encoder.layers if node.kind == "rms_norm"]
    assert norms == [0.125, 0.125]


def test_own_blocks_come_first() -> None:
    own = {"transformer_encoder": {"layers": ["relu"]}}
    assert ids(unfolded({"transformer_encoder": {"from": "x"}}, blocks=own)) == ["transformer_encoder/relu"]


@pytest.mark.parametrize(
    ("layer", "wanted"),
    [
        ({"transformer_encoder": {"units": 8, "heads": 2}}, "'hidden' is missing"),
        ({"transformer_encoder": {**SIZES, "head": 2}}, "unknown parameter. Did you mean 'heads'?"),
        ({"transformer_encodr": SIZES}, "Did you mean 'transformer_encoder'?"),
    ],
)
def test_what_is_wrong_is_told_at_the_use(layer: Any, wanted: str) -> None:
    (kind,) = layer
    layers = [{kind: {**layer[kind], "from": "memory"}}, {"add": {"from": ["x", "x"]}}]
    assert wanted in problems_of({"inputs": SEQUENCE, "layers": layers})


def test_optional_parameters_may_be_left_out() -> None:
    block = {
        "parameters": {"units": None, "activation": None},
        "optional": ["activation"],
        "layers": [{"dense": {"units": "$units", "activation": "$activation"}}],
    }
    own = {"blocks": {"piece": block}}
    plain = unfolded({"piece": {"units": 3, "from": "x"}}, **own)
    assert plain.layers[0].layer.activation is None
    bent = unfolded({"piece": {"units": 3, "activation": "relu", "from": "x"}}, **own)
    assert bent.layers[0].layer.activation.kind == "relu"
    data = {"inputs": {"x": [2]}, "layers": ["piece"], "blocks": {"piece": block}}
    assert "'units' is missing" in problems_of(data)
    wrong = {**data, "blocks": {"piece": {**block, "optional": ["activaton"]}}}
    assert "the block has no parameter 'activaton'. Did you mean 'activation'?" in problems_of(wrong)
    wrong = {**data, "blocks": {"piece": {**block, "optional": "activation"}}}
    assert "this is no list: expected the names" in problems_of(wrong)


def test_optional_names_parameters_that_have_no_default() -> None:
    block = {"parameters": {"m": 3, "n": None}, "optional": ["n", "m", "n", 4, None], "layers": ["relu"]}
    _, problems = inspect({"inputs": ONE, "layers": ["piece"], "blocks": {"piece": block}})
    assert list(map(str, problems)) == [
        "blocks.piece.optional[1]: 'm' has a default: expected those whose default is null",
        "blocks.piece.optional[2]: 'n' is here already: expected it once",
        "blocks.piece.optional[3]: 4 is a number: expected the name of a parameter",
        "blocks.piece.optional[4]: there is no value (null): expected the name of a parameter",
    ]


def test_a_decoder_sees_neither_what_comes_nor_masked_memory() -> None:
    layer = {"transformer_decoder": {**SIZES, "from": ["x", "memory"], "memory_mask": "seen", "repeat": 2}}
    network = cortex.network({"inputs": SEQUENCE, "layers": [layer]})
    rng = np.random.default_rng(4)
    x, memory = (rng.normal(size=(1, n, 8)).astype(np.float32) for n in (7, 5))
    seen = np.array([[True, True, False, True, False]])
    first = network.predict({"x": x, "memory": memory, "seen": seen})
    x[:, 4:] += 1
    memory[:, [2, 4]] += 1
    second = network.predict({"x": x, "memory": memory, "seen": seen})
    np.testing.assert_array_equal(first[:, :4], second[:, :4])
    assert np.abs(first[:, 4:] - second[:, 4:]).min() > 0
    memory[:, 0] += 1
    third = network.predict({"x": x, "memory": memory, "seen": seen})
    assert np.abs(third - second).min(-1).min() > 0


WRONG = """\
inputs: {x: [7, 8]}
layers:
  - dense: 8
  - transformer_encoder: {units: 8, heads: 2, hidden: 12, id: first}
  - transformer_encoder:
      units: 8
      heads: 3
      hidden: 12
      id: second
"""


def test_a_mistake_inside_is_told_at_the_use(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_text(WRONG)
    with pytest.raises(SpecError) as caught:
        cortex.network(file)
    inner = "layers[2].transformer_encoder.layers[1].multi_head_attention"
    assert str(caught.value).startswith(f"{file}:5:5: {inner}: 'second/layer_norm' is (7, 8): ")
    places = {str(node.place).partition(": ")[0] for node in read(file).layers}
    assert places == {f"{file}:{line}:5" for line in (3, 4, 5)}


def test_a_mask_that_does_not_fit_is_told_at_the_use() -> None:
    inputs = {"x": [7, 8], "seen": {"shape": [5], "dtype": "bool"}}
    with pytest.raises(SpecError) as caught:
        cortex.network(
            {"inputs": inputs, "layers": [{"transformer_encoder": {**SIZES, "from": "x", "mask": "seen"}}]}
        )
    path = "layers[0].transformer_encoder.layers[1].multi_head_attention"
    assert str(caught.value).startswith(
        f"{path}: 'transformer_encoder/layer_norm' is (7, 8), 'seen' is (5,): "
    )


def test_an_unused_block_may_take_two_values_and_use_standard_ones() -> None:
    own = {"layers": [{"transformer_decoder": {**SIZES, "from": ["input.0", "input.1"]}}]}
    assert ids(unfolded("relu", blocks={"mine": own})) == ["relu"]
    wrong = {"layers": [{"multi_head_attention": {"heads": 2, "from": ["input.0", "inptu.1"]}}]}
    data = {"inputs": ONE, "layers": ["relu"], "blocks": {"mine": wrong}}
    assert problems_of(data).startswith(
        "blocks.mine.layers[0].multi_head_attention.from[1]: there is no 'inptu.1'"
    )


def test_a_standard_block_may_be_an_argument() -> None:
    own = {"wrap": {"parameters": {"inner": None}, "layers": ["$inner", "relu"]}}
    found = unfolded({"wrap": {"inner": {"transformer_encoder": SIZES}}}, blocks=own)
    assert [node.kind for node in found.layers].count("multi_head_attention") == 1
    assert found.layers[-1].kind == "relu"


@pytest.mark.parametrize("given", [["x"], ["x", "y", "x"]])
def test_a_block_of_two_values_takes_no_other_number(given: list[str]) -> None:
    decoder = {"units": 4, "heads": 2, "hidden": 8, "from": given}
    layers = [{"relu": {"from": "y"}}, {"transformer_decoder": decoder}]
    _, problems = inspect({"inputs": {"x": [5, 4], "y": [3, 4]}, "layers": layers, "outputs": ["relu"]})
    told = f"transformer_decoder is given {len(given)} value{'s' if len(given) > 1 else ''}"
    assert (problems[0].found, problems[0].expected) == (told, "expected 2: from: [a, b]")


def test_squeeze_and_excitation_is_what_hu_et_al_wrote() -> None:
    """Section 3 of the paper: s = sigmoid(W2 relu(W1 z)), z the mean of each channel; x_c becomes s_c x_c."""
    layer = {"squeeze_excite": {"units": 6, "ratio": 3, "id": "se"}}
    network = cortex.network({"inputs": {"image": [4, 5, 6]}, "layers": [layer]})
    x = np.random.default_rng(3).normal(size=(2, 4, 5, 6)).astype(np.float32)
    p = {name.removeprefix("se/"): np.asarray(v, np.float64) for name, v in network.parameters.items()}
    assert {name: v.shape for name, v in p.items()} == {
        "hidden/kernel": (6, 2), "hidden/bias": (2,), "weight/kernel": (2, 6), "weight/bias": (6,),
    }  # fmt: skip
    z = x.astype(np.float64).mean((1, 2))
    hidden = np.maximum(z @ p["hidden/kernel"] + p["hidden/bias"], 0)
    s = 1 / (1 + np.exp(-(hidden @ p["weight/kernel"] + p["weight/bias"])))
    np.testing.assert_allclose(network.predict(x), x * s[:, None, None], rtol=1e-5, atol=1e-6)


def test_squeeze_and_excitation_needs_a_ratio_that_divides() -> None:
    data = {"inputs": {"image": [4, 4, 30]}, "layers": [{"squeeze_excite": {"units": 30}}]}
    assert problems_of(data) == (
        "layers[0].squeeze_excite.layers[1].dense.units: '$units / $ratio' is 30 / 16, which leaves a rest "
        "of 14: expected none"
    )
    data = {"inputs": {"image": [4, 4, 30]}, "layers": [{"squeeze_excite": {"units": 32}}]}
    with pytest.raises(SpecError, match="multiply needs equal shapes, or 1 along an axis"):
        cortex.network(data)

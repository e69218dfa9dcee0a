"""What is exported as ONNX is read back: the same predictions, or all that cannot be read at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_core.exchange.from_onnx.imported import load
from cortex_core.exchange.to_onnx.exported import to_onnx
from cortex_core.network import Network, network
from cortex_core.registry import LAYERS, LOSSES
from cortex_core.spec import read
from cortex_core.verify import minimal
from tests.exchange.to_onnx.support import BATCHES, difference, draw, inputs_of, predicted
from tests.exchange.to_onnx.test_examples import EXAMPLES, FILES
from tests.exchange.to_onnx.test_layers import OWN, VARIANTS

TOLERANCE = 1e-6
STEPS = ["Scan"]
TRUTHS = ["Cast"]
"""Truths become whole numbers, to be counted."""
LACKING = {
    **dict.fromkeys(("lstm, projected", "lstm, projected, backwards"), STEPS),
    **{f"{kind} with a mask": STEPS for kind in ("simple_rnn", "lstm", "gru")},
    **{f"{kind} with a mask, backwards": STEPS for kind in ("simple_rnn", "lstm", "gru")},
    **dict.fromkeys(("logical_not", "compare"), STEPS),
    **dict.fromkeys(("masking", "any", "logical_and", "logical_or"), TRUTHS + STEPS),
    **dict.fromkeys(("masked_mean", "attention with a mask"), TRUTHS),
    **{f"locally_connected{rank}d": ["MatMul"] for rank in (1, 2)},
    **{"conv_lstm2d": ["Conv", "Conv"], "time_distributed": ["Conv"]},
    **{"local_response_normalization": ["AveragePool"]},
    **{"bidirectional with a mask": STEPS * 2, "held": ["Scan", "Where", "GatherElements"]},
}
"""The operators that the import names of what it cannot read back."""
EXAMPLES_LACKING = {
    "mhcnuggets": TRUTHS + STEPS,
    "seq2seq_attention": STEPS * 2 + TRUTHS,
    "text_gru": STEPS * 2,
}
LARGE = ("networks/unet", "networks/resnet50", "networks/mobilenetv2")
"""Examples that take most of the time, all of whose layers smaller ones have too."""
SMALL = {name: f for f in FILES if (name := f.relative_to(EXAMPLES).with_suffix("").as_posix()) not in LARGE}
UNFED = "triplet"
"""Its minimal description has inputs that no layer takes, which alone are no network."""


@pytest.mark.parametrize(("kind", "name"), [pair for pair in OWN if pair[1] != UNFED])
def test_every_layer_and_loss(kind: str, name: str, tmp_path: Path) -> None:
    cls = (LAYERS if kind == "layer" else LOSSES)[name]
    check(Network(minimal.description(cls), seed=3), LACKING.get(name, []), tmp_path)


@pytest.mark.parametrize("name", VARIANTS)
def test_variants(name: str, tmp_path: Path) -> None:
    shape, layers = VARIANTS[name]
    made = Network(read({"cortex": 1, "inputs": {"given": shape}, "layers": layers}), seed=3)
    check(made, LACKING.get(name, []), tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("made_data")
@pytest.mark.parametrize("file", SMALL.values(), ids=SMALL)
def test_examples(file: Path, tmp_path: Path) -> None:
    check(network(file), EXAMPLES_LACKING.get(file.stem, []), tmp_path)


def check(made: Network, lacking: list[str], folder: Path) -> None:
    """Asserts that the network comes back, or that these operators are told to be lacking."""
    rng, path = np.random.default_rng(0), folder / "model.onnx"
    inputs = inputs_of(made, max(BATCHES), rng)
    draw(made, rng, inputs)
    to_onnx(made, path)
    if lacking:
        with pytest.raises(SpecError) as caught:
            load(path)
        lines = str(caught.value).splitlines()[1:]
        assert [line.partition(" (")[2].partition(")")[0] for line in lines] == lacking
        return
    back = load(path)
    assert {x.batch for x in (*back.inputs.values(), *back.outputs.values())} == {0}
    for batch in BATCHES:
        given = {name: array[:batch] for name, array in inputs.items()}
        ours = predicted(made, given)
        theirs = predicted(back.network, {back.inputs[name].source: x for name, x in given.items()})
        for name, value in back.outputs.items():
            assert ours[name].shape == theirs[value.source].shape, name
            assert difference(ours[name], theirs[value.source]) <= TOLERANCE, name

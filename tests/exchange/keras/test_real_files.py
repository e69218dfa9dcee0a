"""Nine files that people have published give here, layer by layer, what Keras 3 makes of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_core.exchange.keras.assign import assign
from cortex_core.network import Network
from cortex_core.probe import activations
from tests.exchange.keras import peer, rebuilt

FILES = Path(os.environ.get("CORTEX_DATA", "")) / "keras"
DESCRIPTIONS = Path(__file__).parents[3] / "examples" / "keras"
SQUEEZENETS = [f"squeezenet_weights_{x}_dim_ordering_{x}_kernels_notop.h5" for x in ("tf", "th")]
ALONE = {
    "deepcut": ["deepcut_cnn_weights_k202.h5"],
    "mhcnuggets": ["mhcnuggets_HLA-A31_01_BA.h5"],
    "squeezenet": SQUEEZENETS,
    "textgenrnn": ["textgenrnn_weights.hdf5"],
}
WHOLE = [
    "dice_ml_adult.h5",
    "ethnicolr_census2010_lstm_k216.h5",
    "ethnicolr_census2010_lstm_k250.h5",
    "fer2013_mini_XCEPTION.102-0.66.hdf5",
]
TOLERANCE = 1e-4
APART = 100  # how many tolerances two examples must lead to outputs apart
TEXTS = [
    "I made a cake for my dog's birthday toda",
    "What is the best way to learn a languag",
    "TIL that there are twelve ways to",
    "The",
]
RNG = np.random.default_rng(0)

pytestmark = pytest.mark.skipif(not FILES.is_dir(), reason="CORTEX_DATA has no folder keras")


def peptides(count: int) -> np.ndarray:
    """Of 8 to 15 amino acids, as MHCnuggets reads them."""
    x = np.full((count, 15, 21), 0.005, np.float32)
    for k, peptide in enumerate(x):
        peptide[np.arange(15), RNG.integers(0, 21, 15)] = 0.9
        peptide[8 + k % 8 :] = -4200000
    return x


def examples(name: str, count: int = 4) -> dict[str, np.ndarray]:
    """Inputs like those that a file's network was trained with."""
    if name.startswith("squeezenet"):
        return {"input_1": RNG.uniform(-124, 151, (count, 227, 227, 3)).astype(np.float32)}
    if name.startswith("deepcut"):
        return {"input_1": RNG.integers(0, 178, (count, 21)), "input_2": RNG.integers(0, 12, (count, 21))}
    if name.startswith("textgenrnn"):
        return {"text": np.array([[0] * (40 - len(text)) + numbers(text) for text in TEXTS])}
    if name.startswith("mhcnuggets"):
        return {"peptide": peptides(count)}
    if name.startswith("ethnicolr"):
        return {"tokens": RNG.integers(0, 977, (count, 20))}
    shape = (count, 29) if name.startswith("dice") else (count, 64, 64, 1)
    return {"x": RNG.uniform(-1, 1, shape).astype(np.float32)}


def numbers(text: str) -> list[int]:
    """Of the characters, as textgenrnn has them."""
    known: dict[str, int] = json.loads((FILES / "textgenrnn_vocab.json").read_text(encoding="utf-8"))
    return [known[character] for character in text]


def assigned(description: str, file: str) -> Network:
    return assign(DESCRIPTIONS / f"{description}.yaml", FILES / file)


def near(ours: Any, theirs: Any, what: str) -> None:
    """Relative to the largest value of the layer."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, what
    assert np.abs(ours - theirs).max() <= TOLERANCE * np.abs(theirs).max(), what


def compare(network: Network, x: Any, layers: peer.Results) -> None:
    """The values of all layers but those in a block that is a layer in Keras, and logits, which it hides."""
    ids = {node.id.replace("/", "_"): node.id for node in network.description.layers}
    named = {ids[path]: theirs for (path, _, _), theirs in layers.items() if path in ids}
    alone = {*ids.values()} - named.keys()
    assert not [id_ for id_ in alone if not id_.startswith("attention/") and not id_.endswith("/logits")]
    found = activations(network, x, [*named])
    for id_, theirs in named.items():
        near(found[id_], theirs, id_)


def told_apart(outputs: np.ndarray) -> None:
    """Two examples give outputs so different that agreement means something."""
    assert np.abs(outputs[0] - outputs[1]).max() >= APART * TOLERANCE * np.abs(outputs).max()


def test_two_orderings_are_one_network() -> None:
    """The same kernels as TensorFlow's Keras 1 and as Theano's, turned and transposed."""
    x = examples("squeezenet", 2)
    one, other = (assigned("squeezenet", file).predict(x) for file in SQUEEZENETS)
    told_apart(one)
    np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(one).max())


def test_the_next_character() -> None:
    """What anyone would write next: the weights have come to the right places."""
    found = assigned("textgenrnn", "textgenrnn_weights.hdf5").predict(examples("textgenrnn"))
    assert found[:2].argmax(-1).tolist() == numbers("ye")
    assert found[:2].max(-1).min() > 0.9


def textgenrnn_json(lstm: str) -> dict[str, Any]:
    """What `model.to_json()` of Keras 2.1.5 says; on a GPU its LSTMs were of the class CuDNNLSTM."""
    gates = {"activation": "tanh", "recurrent_activation": "sigmoid"} if lstm == "LSTM" else {}
    recurrent = {"units": 128, "return_sequences": True, **gates}
    layers = [
        ("InputLayer", "input", {"batch_input_shape": [None, 40], "dtype": "float32"}, []),
        ("Embedding", "embedding", {"input_dim": 465, "output_dim": 100, "mask_zero": False}, ["input"]),
        (lstm, "rnn_1", recurrent, ["embedding"]),
        (lstm, "rnn_2", recurrent, ["rnn_1"]),
        ("Concatenate", "rnn_concat", {"axis": -1}, ["embedding", "rnn_1", "rnn_2"]),
        ("AttentionWeightedAverage", "attention", {}, ["rnn_concat"]),
        ("Dense", "output", {"units": 465, "activation": "softmax", "use_bias": True}, ["attention"]),
    ]
    entries = [
        {
            "class_name": kind,
            "name": name,
            "config": {"name": name, "trainable": True, **config},
            "inbound_nodes": [[[source, 0, 0, {}] for source in sources]] if sources else [],
        }
        for kind, name, config, sources in layers
    ]
    ends = {"input_layers": [["input", 0, 0]], "output_layers": [["output", 0, 0]]}
    model = {"class_name": "Model", "config": {"name": "model_1", "layers": entries, **ends}}
    return {**model, "keras_version": "2.1.5", "backend": "tensorflow"}


@pytest.mark.parametrize("lstm", ["LSTM", "CuDNNLSTM"])
def test_a_custom_layer_is_mapped(tmp_path: Path, lstm: str) -> None:
    """An architecture with a layer that Keras does not have gives what the description does."""
    model, file = tmp_path / "model.json", "textgenrnn_weights.hdf5"
    model.write_text(json.dumps(textgenrnn_json(lstm)))
    maps = {"AttentionWeightedAverage": DESCRIPTIONS / "blocks" / "attention_weighted_average.yaml"}
    found = cortex.from_keras(model, FILES / file, maps)
    (x,) = examples(file).values()
    np.testing.assert_allclose(found.predict(x), assigned("textgenrnn", file).predict(x), atol=1e-6)


@pytest.mark.peers
@pytest.mark.parametrize(("name", "file"), [(name, file) for name, files in ALONE.items() for file in files])
def test_described(name: str, file: str) -> None:
    """Each layer that both have gives the same, and the prediction is the same."""
    network, model = assigned(name, file), getattr(rebuilt, name)(FILES / file)
    x = examples(name)
    outputs, layers = peer.results(model, [*x.values()])
    told_apart(outputs[0])
    near(network.predict(x), outputs[0], "the prediction")
    compare(network, x, layers)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`")
@pytest.mark.parametrize("file", WHOLE)
def test_whole(file: str) -> None:
    """A file that brings its architecture predicts what Keras does: where Keras 3 still loads it, as it loads
    it, else as it is built again here."""
    import keras

    network = cortex.from_keras(FILES / file)
    (x,) = examples(file).values()
    if file.startswith("ethnicolr"):
        model = rebuilt.ethnicolr(FILES / file)
    else:
        model = keras.models.load_model(FILES / file, compile=False)
    outputs, layers = peer.results(model, [x])
    told_apart(outputs[0])
    near(network.predict(x), outputs[0], "the prediction")
    compare(network, x, layers)

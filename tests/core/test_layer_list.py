"""The list-of-layers style: what description a list becomes, and that it trains."""

from __future__ import annotations

import re
import runpy
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex import nn
from cortex_compute.errors import CortexError, DataError, ShapeError, SpecError
from cortex_core.layer_list import (
    Convolutional,
    CrossEntropyLoss,
    Dense,
    Embedding,
    MSELoss,
    NeuralNetwork,
    Optimizer,
    Pooling,
    Recurrent,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from cortex_core.training.progress import Progress
from cortex_core.training.source import find

XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


def classifier(**options: Any) -> NeuralNetwork:
    return NeuralNetwork(
        layers=[Dense(4, 16), ReLU(), Dense(16, 3), Softmax()],
        loss=CrossEntropyLoss(),
        optimizer=Optimizer(learning_rate=0.01, optimizer="Adam"),
        **options,
    )


def iris() -> tuple[np.ndarray, np.ndarray]:
    """Features with mean 0 and deviation 1, and the kinds."""
    from sklearn.datasets import load_iris

    x, y = load_iris(return_X_y=True)
    return (x - x.mean(0)) / x.std(0), y


def test_the_description_is_that_of_a_file() -> None:
    made = classifier().description
    assert made == cortex.network(made).description.canonical
    assert made["inputs"] == {"x": {"shape": [4], "dtype": "float32"}}
    assert [next(iter(x)) if isinstance(x, dict) else x for x in made["layers"]] == [
        *("dense", "relu", "dense", "softmax")
    ]
    assert made["train"]["optimizer"]["adam"]["learning_rate"] == 0.01


def test_after_softmax_the_loss_takes_the_logits() -> None:
    """The loss of sure predictions that are wrong is the distance of the logits; from probabilities, which
    are 0 in float32, it would be infinite."""
    net = NeuralNetwork([Dense(1, 2), Softmax()], CrossEntropyLoss())
    net.network.parameters["dense/kernel"] = np.array([[0.0, 300.0]])
    assert net.evaluate([[1.0]], [0])["loss"] == pytest.approx(300)
    assert net.predict([[1.0]]).tolist() == [[0, 1]]


def test_without_softmax_what_arrives_are_logits() -> None:
    net = NeuralNetwork([Dense(1, 2)], CrossEntropyLoss())
    net.network.parameters["dense/kernel"] = np.array([[0.0, 300.0]])
    assert net.evaluate([[1.0]], [[1.0, 0.0]])["loss"] == pytest.approx(300)
    assert net.predict([[1.0]]).tolist() == [[0, 1]]


def test_after_sigmoid_the_cross_entropy_is_binary() -> None:
    net = NeuralNetwork([Dense(1, 1), Sigmoid()], CrossEntropyLoss())
    net.network.parameters["dense/kernel"] = np.array([[300.0]])
    found = net.evaluate([[1.0], [1.0]], [0, 1])
    assert found["loss"] == pytest.approx(150)
    assert found["accuracy"] == 0.5
    assert net.predict([[1.0], [-1.0]]).tolist() == [[1], [0]]


def test_one_hot_rows_and_indices_are_the_same() -> None:
    x, y = iris()
    ways = [y, np.eye(3)[y], np.eye(3, dtype=np.int8)[y], np.eye(3, dtype=bool)[y]]
    nets = [classifier() for _ in ways]
    histories = [net.fit(x, way, epochs=2, verbose=False)["loss"] for net, way in zip(nets, ways)]
    assert histories[1:] == [pytest.approx(histories[0], rel=1e-6)] * 3
    assert nets[0].evaluate(x, y)["accuracy"] == nets[1].evaluate(x, np.eye(3)[y])["accuracy"]


def test_it_learns_in_mini_batches() -> None:
    x, y = iris()
    net = classifier()
    history = net.fit(x, y, epochs=20, validation_data=(x[::5], y[::5]), verbose=False)
    assert history["step"][-1] == 20 * 38  # 150 examples in batches of 4
    assert len(history["validation_accuracy"]) == len(history) == 20
    assert history["accuracy"][-1] > 0.95
    assert (net.predict(x).argmax(-1) == y).mean() > 0.95
    np.testing.assert_allclose(net.predict(x).sum(-1), 1, rtol=1e-5)


def test_a_second_fit_goes_on_as_if_there_had_been_one() -> None:
    x, y = iris()
    once, twice = classifier(), classifier()
    once.fit(x, y, epochs=3, batch_size=40, verbose=False)
    twice.fit(x, y, epochs=1, batch_size=40, verbose=False)
    history = twice.fit(x, y, epochs=2, batch_size=40, verbose=False)
    assert history["epoch"] == [1, 2, 3]
    assert history["loss"] == once.history["loss"]
    for name, array in once.network.parameters.items():
        np.testing.assert_array_equal(array, twice.network.parameters[name])


def test_fit_writes_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    classifier().fit(*iris(), verbose=False)
    assert list(tmp_path.iterdir()) == []


def test_fit_says_how_it_goes_unless_told_not_to(capsys: pytest.CaptureFixture[str]) -> None:
    net = classifier()
    net.fit(*iris(), verbose=False)
    assert capsys.readouterr() == ("", "")
    net.fit(*iris(), epochs=2)
    assert "epoch 3/3" in capsys.readouterr().err


def test_xor_by_squares() -> None:
    net = NeuralNetwork(
        [Dense(2, 8), Tanh(), Dense(8, 1), Sigmoid()], MSELoss(), Optimizer(0.1, "sgd", momentum=0.9)
    )
    net.fit(XOR, [0, 1, 1, 0], epochs=400, verbose=False)
    assert np.round(net.predict(XOR)).tolist() == [[0], [1], [1], [0]]


def test_single_numbers() -> None:
    x = np.linspace(-1, 1, 32)
    net = NeuralNetwork([Dense(1, 1)], MSELoss(), Optimizer(0.1))
    net.fit(x, 3 * x, epochs=20, verbose=False)
    np.testing.assert_allclose(net.predict(x)[:, 0], 3 * x, atol=0.05)


def test_ctrl_c_keeps_what_was_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = iris()
    net = classifier()

    def press(self: Progress, trainer: Any) -> None:
        if trainer.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "epoch", press)
    with pytest.raises(KeyboardInterrupt, match=r"stopped after 2 epochs; .* fit goes on"):
        net.fit(x, y, epochs=5)
    assert net.fit(x, y, epochs=1, verbose=False)["epoch"] == [1, 2, 3]


def images() -> tuple[np.ndarray, np.ndarray]:
    """Images 8 x 8 of a bar that lies or stands."""
    x, y = np.zeros((64, 8, 8), np.float32), np.arange(64) % 2
    for i in range(64):
        x[(i, i // 8) if y[i] else (i, slice(None), i // 8)] = 1
    return x, y


def convolutional(**options: Any) -> NeuralNetwork:
    layers = [Convolutional(1, 6, 3, padding="same"), ReLU(), Pooling(2), Dense(4 * 4 * 6, 2), Softmax()]
    return NeuralNetwork(layers, CrossEntropyLoss(), Optimizer(0.01), **options)


def test_images() -> None:
    x, y = images()
    net = convolutional()
    with pytest.raises(SpecError, match=r"give input_shape=\(height, width, channels\)"):
        net.summary()
    net.fit(x, y, epochs=30, verbose=False)
    assert net.evaluate(x, y)["accuracy"] == 1
    kinds = [layer.kind for layer in net.network.description.layers]
    assert kinds == ["conv2d", "relu", "max_pool2d", "flatten", "dense", "softmax"]
    assert net.network.types["max_pool2d"].shape[1:] == (4, 4, 6)


def test_images_in_rows() -> None:
    x, y = images()
    net = convolutional(input_shape=(8, 8, 1))
    assert net.fit(x.reshape(64, 64), y, verbose=False)["loss"] == pytest.approx(
        convolutional().fit(x[..., None], y, verbose=False)["loss"]
    )


def test_channels_first_are_refused_not_shuffled() -> None:
    net = NeuralNetwork([Convolutional(3, 2, 3)], input_shape=(8, 8, 3))
    with pytest.raises(CortexError, match=r"\(4, 3, 8, 8\)"):
        net.predict(np.ones((4, 3, 8, 8), np.float32))


def test_a_first_dense_layer_takes_images_too() -> None:
    x, y = images()
    net = NeuralNetwork([Dense(64, 2), Softmax()], CrossEntropyLoss())
    np.testing.assert_array_equal(net.predict(x), net.predict(x.reshape(64, 64)))
    net.fit(x, y, verbose=False)


def test_the_mean_of_windows() -> None:
    net = NeuralNetwork([Pooling(2, mode="average")], input_shape=(2, 4, 1))
    assert net.predict(np.arange(8).reshape(1, 2, 4)).ravel().tolist() == [2.5, 4.5]


def test_layers_and_losses_of_descriptions_may_stand_in_a_list() -> None:
    x, y = iris()
    net = NeuralNetwork([Dense(4, 8), "gelu", {"dropout": 0.1}, Dense(8, 3)], {"mae": {"weight": 2}})
    first, *_, last = net.fit(x, np.eye(3)[y], epochs=10, verbose=False)["loss"]
    assert last < first
    kinds = [layer.kind for layer in net.network.description.layers]
    assert kinds == ["dense", "gelu", "dropout", "dense"]
    assert NeuralNetwork([Dense(4, 3)], "mae").network.description.losses[0].weight == 1


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adadelta", "Lion", "adam", "rmsPROP"])
def test_optimizers_by_name(name: str) -> None:
    net = NeuralNetwork([Dense(4, 3)], CrossEntropyLoss(), Optimizer(0.5, name))
    assert net.description["train"]["optimizer"][name.lower()]["learning_rate"] == 0.5


def test_the_learning_rate_of_an_optimizer_by_default() -> None:
    net = NeuralNetwork([Dense(4, 3)], CrossEntropyLoss())
    assert net.description["train"]["optimizer"]["adam"]["learning_rate"] == 0.001


def test_loss_and_optimizer_by_name() -> None:
    named = NeuralNetwork([Dense(2, 1)], loss="mse", optimizer="adam")
    made = NeuralNetwork([Dense(2, 1)], loss="mse", optimizer=Optimizer(optimizer="Adam"))
    assert named.description == made.description


def test_what_was_saved_predicts_the_same_and_goes_on(tmp_path: Path) -> None:
    x, y = iris()
    net = classifier()
    net.fit(x, y, verbose=False)
    net.save(tmp_path / "iris.cortex")
    again = NeuralNetwork.load(tmp_path / "iris.cortex")
    np.testing.assert_array_equal(again.predict(x), net.predict(x))
    np.testing.assert_array_equal(cortex.load(tmp_path / "iris.cortex").predict(x), net.predict(x))
    assert again.fit(x, y, verbose=False)["loss"][0] < net.history["loss"][0]


def unfit(layers: list[Any], **options: Any) -> NeuralNetwork:
    return NeuralNetwork(layers, CrossEntropyLoss(), **options)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: unfit([Dense(4, 8), ReLU(), Dense(7, 3)]),
            ShapeError,
            r"layers\[2\]: Dense\(inputs=7, outputs=3\) takes 7, but \(8,\) arrives",
        ),
        (
            lambda: unfit([Convolutional(3, 4, 3), Dense(4, 2)], input_shape=(8, 8, 1)),
            ShapeError,
            r"layers\[0\]: Convolutional\(in_channels=3, .* takes 3, but \(8, 8, 1\) arrives",
        ),
        (
            lambda: unfit([Convolutional(1, 4, 3), Pooling(2), Dense(4, 2)], input_shape=(8, 8, 1)),
            ShapeError,
            r"layers\[2\]: Dense\(inputs=4, outputs=2\) takes 4, but \(36,\) arrives",
        ),
        (lambda: unfit([Dense(4, 0)]), SpecError, "units: 0 is too small"),
        (lambda: unfit([Dense(4, 3), Softmax]), SpecError, r"layers\[1\] is the class Softmax: expected"),
        (lambda: NeuralNetwork([Dense(4, 3)], MSELoss), SpecError, "loss is the class MSELoss: expected"),
        (lambda: unfit([Dense(4, 3), "rleu"]), SpecError, "Did you mean 'relu'"),
        (lambda: unfit([Pooling(2, mode="mean")], input_shape=(4, 4, 1)), SpecError, "'max' or 'average'"),
        (lambda: unfit([]), SpecError, "layers is empty"),
        (lambda: NeuralNetwork([5]), SpecError, r"layers\[0\] is 5: expected a layer such as Dense"),
        (lambda: NeuralNetwork([nn.Linear(3, 2)]), SpecError, r"layers\[0\] is Linear.*nn\.Sequential"),
        (lambda: NeuralNetwork([Dense(4, 3)], nn.MSELoss()), SpecError, r"cortex_core\.nn\.loss: expected"),
        (lambda: NeuralNetwork([Dense(4, 3)], optimizer=0.1), SpecError, "optimizer is a float.*'adam'"),
        (lambda: NeuralNetwork([Dense(4, 3)], optimizer="adm"), SpecError, "Did you mean 'adam'"),
        (lambda: Optimizer(0.1, "Adm"), SpecError, r"unknown optimizer 'Adm': .*Did you mean 'adam'"),
        (
            lambda: NeuralNetwork([Dense(4, 3)], MSELoss(), Optimizer(0.1, beta=3)),
            SpecError,
            "beta: unknown field. Did you mean 'beta",
        ),
        (lambda: NeuralNetwork([Dense(4, 3)]).fit(XOR, [0, 1, 1, 0]), SpecError, "without a loss"),
        (lambda: classifier().fit(XOR, [0, 1, 1, 0]), DataError, r"is \[4\].* is \[2\]"),
        (lambda: classifier().fit(np.ones((3, 4)), [0, 1]), DataError, "equally many examples"),
        (lambda: classifier().fit(np.ones((3, 4)), [0, 1, 3]), DataError, "label 3"),
        (lambda: classifier().fit(np.ones((3, 4)), np.ones((3, 2))), CortexError, "target"),
        (lambda: classifier().fit(*iris(), epochs=0), SpecError, "epochs: 0 is too small"),
        (
            lambda: classifier().predict([1, 2, 3, 4]),
            CortexError,
            r"has shape \(4,\), expected \(examples, 4",
        ),
        (lambda: convolutional().predict(np.ones((3, 64))), DataError, "expected images"),
    ],
)
def test_what_cannot_be_is_said(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_loss_that_is_not_finite_ends_a_fit() -> None:
    x, y = iris()
    net = NeuralNetwork([Dense(4, 3)], MSELoss(), Optimizer(1e30, "sgd"))
    with pytest.raises(CortexError, match="not finite"):
        net.fit(x, np.eye(3)[y], epochs=20, verbose=False)


@pytest.mark.slow
def test_mnist_as_in_the_docstring() -> None:
    """784-128-10 with Adam at a rate of 0.01 passes 96.65 % of the test images within ten epochs."""
    data: Any = find("mnist")
    if data.where() is None:
        pytest.skip("MNIST is not on this machine: cortex data fetch mnist")
    mnist = {split: data.load(split) for split in ("train", "test")}
    images, labels = {}, {}
    for split, source in mnist.items():
        images[split] = np.empty((len(source), 28, 28, 1), np.float32)
        labels[split] = np.empty(len(source), source.streams["label"].dtype)
        source.gather(np.arange(len(source)), {"image": images[split], "label": labels[split]})
    net = NeuralNetwork(
        layers=[Dense(784, 128), ReLU(), Dense(128, 10), Softmax()],
        loss=CrossEntropyLoss(),
        optimizer=Optimizer(learning_rate=0.01, optimizer="Adam"),
    )
    net.fit(images["train"].reshape(-1, 784), np.eye(10)[labels["train"]], epochs=10, verbose=False)
    right = (net.predict(images["test"].reshape(-1, 784)).argmax(-1) == labels["test"]).mean()
    print(f"784-128-10 on MNIST: {100 * right:.2f} %")
    assert right > 0.9665


def test_the_example_reaches_what_it_states(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[2] / "examples" / "list_of_layers.py"
    stated = re.search(r"accuracy: at least (\d+) %", path.read_text(encoding="utf-8"))
    runpy.run_path(str(path))
    reached = re.match(r"accuracy ([\d.]+) %", capsys.readouterr().out)
    assert stated
    assert reached
    assert float(reached[1]) >= float(stated[1])


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_recurrent_layers_read_rows(kind: str) -> None:
    """Which of three steps has the largest number: the rows of an image, one after the other."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 3, 4)).astype(np.float32)
    y = x[:, :, 0].argmax(1)
    net = NeuralNetwork(
        layers=[
            Recurrent(4, 8, kind, return_sequences=True, bidirectional=True),
            Recurrent(16, 16, kind),
            Dense(16, 3),
            Softmax(),
        ],
        loss=CrossEntropyLoss(),
        optimizer=Optimizer(0.02),
    )
    history = net.fit(x, y, epochs=6, batch_size=32, verbose=False)
    assert history["accuracy"][-1] > 0.8
    assert net.description["inputs"] == {"x": {"shape": [3, 4], "dtype": "float32"}}
    assert net.predict(x[:2]).shape == (2, 3)
    two, one, *_ = net.description["layers"]
    name = {"rnn": "simple_rnn"}.get(kind, kind)
    assert two["bidirectional"]["layer"][name]["return"] == "sequence"
    assert one[name]["return"] == "last"


def test_tokens_with_padding_and_a_dense_on_each_step(tmp_path: Path) -> None:
    x = np.array([[1, 2, 3, 0], [2, 1, 0, 0], [3, 3, 1, 2]])
    net = NeuralNetwork(
        layers=[Embedding(4, 5, mask_zero=True), Recurrent(5, 6, return_sequences=True), Dense(6, 4)],
        loss=CrossEntropyLoss(),
    )
    history = net.fit(x, x, epochs=30, batch_size=3, verbose=False)
    assert history["loss"][-1] < history["loss"][0]
    scores = net.predict(x)
    assert scores.shape == (3, 4, 4)
    net.save(tmp_path / "net.cortex")
    np.testing.assert_array_equal(NeuralNetwork.load(tmp_path / "net.cortex").predict(x), scores)
    last = NeuralNetwork(layers=[Embedding(4, 5, mask_zero=True), Recurrent(5, 6), Dense(6, 2)])
    alone = last.predict(np.array([[1, 2, 0, 0]]))
    table = last.network.parameters["embedding/table"].copy()
    table[0] += 7.0
    last.network.parameters["embedding/table"] = table
    np.testing.assert_array_equal(last.predict(np.array([[1, 2, 0, 0]])), alone)


def masks(*layers: Any) -> list[Any]:
    """The mask of each recurrent layer behind an embedding of padded tokens."""
    net = NeuralNetwork([Embedding(4, 5, mask_zero=True), *layers], input_shape=(6,))
    net.predict(np.zeros((2, 6), np.int64))
    found = [next(iter(entry.values())) for entry in net.description["layers"]]
    return [fields["mask"] for fields in found if "mask" in fields]


def test_a_mask_ends_where_a_layer_mixes_steps() -> None:
    first = Recurrent(5, 5, return_sequences=True)
    assert masks("gelu", {"dropout": 0.5}, first, Dense(5, 5), Recurrent(5, 2)) == ["embedding.mask"] * 2
    assert masks({"max_pool1d": 2}, Recurrent(5, 2)) == [None]
    assert masks(first, {"conv1d": {"filters": 5, "kernel": 3}}, Recurrent(5, 2)) == ["embedding.mask", None]
    assert masks({"lstm": 5}) == [None]


def test_a_mask_is_that_of_the_embedding_in_the_list() -> None:
    """Whatever its name is."""
    taken = {"reshape": {"shape": [6], "id": "embedding"}}
    net = NeuralNetwork([taken, Embedding(4, 5, True), Recurrent(5, 2)], input_shape=(6,))
    assert net.description["layers"][-1]["lstm"]["mask"] == "embedding_2.mask"


@pytest.mark.parametrize("kind", [list, np.asarray])
def test_tokens_may_be_whole_floats(kind: Any) -> None:
    """As pandas gives them where numbers are missing elsewhere."""
    net = NeuralNetwork([{"embedding": {"tokens": 4, "units": 5}}, Recurrent(5, 2)])
    x = [[1, 2, 0], [3, 0, 0]]
    np.testing.assert_array_equal(net.predict(kind([[float(n) for n in row] for row in x])), net.predict(x))
    for number in (1.5, np.nan, np.inf):
        with pytest.raises(CortexError, match="'x' holds float64, expected int64"):
            net.predict(np.array([[number, 2, 0]]))


def test_a_dense_behind_a_whole_sequence_flattens_it() -> None:
    net = NeuralNetwork(layers=[Recurrent(3, 4, return_sequences=True), Dense(20, 2)], input_shape=(5, 3))
    assert net.predict(np.zeros((2, 5, 3), np.float32)).shape == (2, 2)


def test_recurrent_layers_that_do_not_fit() -> None:
    with pytest.raises(SpecError, match="Recurrent: unknown kind 'lsmt': expected 'lstm', 'gru' or 'rnn'"):
        NeuralNetwork(layers=[Recurrent(3, 4, "lsmt")], input_shape=(5, 3))
    with pytest.raises(ShapeError, match=r"layers\[0\]: Recurrent\(inputs=3.*takes 3, but \(5, 2\) arrives"):
        NeuralNetwork(layers=[Recurrent(3, 4)], input_shape=(5, 2))
    for layers, shape, place in (
        ([Recurrent(8, 4)], (8, 8, 1), "0.*has 3 axes"),
        ([Recurrent(8, 4)], (64,), "0.*has 1 axes"),
        ([Convolutional(1, 4, 3), Recurrent(4, 4)], (8, 8, 1), "1.*has 3 axes"),
        ([Recurrent(8, 4), ReLU(), Recurrent(4, 4)], (8, 8), "2.*has 1 axes"),
    ):
        with pytest.raises(SpecError, match=rf"^layers\[{place}.*input_shape=\(length, features\)"):
            NeuralNetwork(layers=layers, input_shape=shape)
    shaped = NeuralNetwork(
        [Convolutional(1, 4, 3), {"reshape": [36, 4]}, Recurrent(4, 2)], input_shape=(8, 8, 1)
    )
    assert shaped.predict(np.zeros((3, 8, 8, 1))).shape == (3, 2)
    ragged = [[1, 2], [1]]
    with pytest.raises(DataError, match=r"x: the examples have different lengths\. Pad them"):
        NeuralNetwork(layers=[Embedding(4, 5), Recurrent(5, 6)]).predict(ragged)
    with pytest.raises(CortexError, match="example 0 has token 4"):
        NeuralNetwork(layers=[Embedding(4, 5), Recurrent(5, 6)]).predict(np.array([[1, 4]]))

"""The list-of-layers style: a network as a list of layers, a loss and an optimiser.

    net = NeuralNetwork(layers=[Dense(784, 128), ReLU(), Dense(128, 10), Softmax()],
                        loss=CrossEntropyLoss(), optimizer=Optimizer(learning_rate=0.01, optimizer="Adam"))
    net.fit(images, one_hot, epochs=10)
    net.predict(test_images)

Nothing is computed here: the list becomes a description, `NeuralNetwork.description`, and what trains and
predicts is the `Network` that any description gives, `NeuralNetwork.network`.  Images are channels last.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import cortex_core.optimizers  # noqa: F401 (fills the registry)
from cortex_compute.errors import DataError, ShapeError, SpecError
from cortex_compute.types import dtype as as_dtype
from cortex_core.listed_layers import (
    Convolutional,
    Dense,
    Embedding,
    Listed,
    Pooling,
    Recurrent,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from cortex_core.network import Network
from cortex_core.registry import OPTIMIZERS, nearest
from cortex_core.spec import read
from cortex_core.training.checkpoint import load
from cortex_core.training.data import open_data
from cortex_core.training.evaluate import evaluate
from cortex_core.training.history import History
from cortex_core.training.progress import Progress
from cortex_core.training.setup import check_data, with_options
from cortex_core.training.trainer import Interrupted, Trainer

__all__ = [
    "Convolutional", "CrossEntropyLoss", "Dense", "Embedding", "Listed", "ListedLoss", "MSELoss",
    "NeuralNetwork", "Optimizer", "Pooling", "ReLU", "Recurrent", "Sigmoid", "Softmax", "Tanh",
]  # fmt: skip

BATCH_SIZE, STEPS = 256, 32  # the default size of a batch, and the fewest steps of an epoch
INPUT, TARGET = "x", "y"


class ListedLoss:
    """A loss on what the last layer gives, and the metrics that are measured beside it."""

    metrics: ClassVar[tuple[str, ...]] = ()

    def entry(self, last: Any) -> Any:
        """The loss as a description has it; ``last`` is the last layer there."""
        raise NotImplementedError


class CrossEntropyLoss(ListedLoss):
    """Cross entropy of what the last layer gives; targets are class indices or one row per example.

    After `Softmax` it is computed from that layer's logits; after `Sigmoid` it is the binary cross entropy of
    each output, from the logits too; what any other layer gives are logits themselves.
    """

    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)

    def entry(self, last: Any) -> Any:
        if last.kind == "sigmoid":
            return {"binary_cross_entropy": {"of": last.sources[0], "target": TARGET, "from_logits": True}}
        return {"softmax_cross_entropy": {"of": last.id, "target": TARGET}}


class MSELoss(ListedLoss):
    """The mean of (what the last layer gives - target)²."""

    def entry(self, last: Any) -> Any:
        return {"mse": {"of": last.id, "target": TARGET}}


class Optimizer:
    """An optimiser by name, in any case: SGD, Adam, AdamW, RMSprop, Adadelta, Lion, ...

    ``learning_rate`` is the optimiser's own default unless given; ``options`` are its other fields, such as
    ``momentum`` of SGD.  Raises `SpecError` for an unknown name.
    """

    def __init__(self, learning_rate: float | None = None, optimizer: str = "Adam", **options: Any) -> None:
        kind = optimizer.lower()
        if kind not in OPTIMIZERS:
            names = ", ".join(cls.__name__ for cls in OPTIMIZERS.values())
            hint = nearest(kind, OPTIMIZERS)
            raise SpecError(f"unknown optimizer {optimizer!r}: expected one of {names}. {hint}".strip())
        rate = {} if learning_rate is None else {"learning_rate": learning_rate}
        self.entry = {kind: {**rate, **options}}


class NeuralNetwork:
    """A network that is a list of layers.

    ``layers`` may also hold layers as descriptions write them, such as ``"gelu"`` or ``{"dropout": 0.5}``,
    and ``loss`` may be the name of a registered loss, or {name: fields}; ``optimizer`` may be a name, too.
    The shape of an example follows from a first `Dense`; images have the shape that ``input_shape`` says, or
    that the first data has.  Targets are indices (examples,) or rows (examples, outputs).

    Raises `SpecError` for layers that do not make a network, `ShapeError` where a layer expects another
    number of inputs than arrives.
    """

    def __init__(
        self,
        layers: Sequence[Any],
        loss: Any = None,
        optimizer: Optimizer | str | None = None,
        input_shape: Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        if not layers:
            raise SpecError("layers is empty: expected at least one layer, such as Dense(784, 10)")
        self.layers, self.loss, self.seed = list(layers), loss, seed
        for i, layer in enumerate(self.layers):
            _check_layer(layer, f"layers[{i}]")
        _check_loss(loss)
        self.optimizer = _optimizer(optimizer)
        self.history = History()
        self._network: Network | None = None
        shape = tuple(input_shape) if input_shape is not None else self._stated_shape()
        if shape is not None:
            self._network = self._built(shape)

    @classmethod
    def load(cls, path: str | Path) -> NeuralNetwork:
        """What `save` has written."""
        made = cls.__new__(cls)
        made._network, made.history = load(path), History()
        return made

    @property
    def network(self) -> Network:
        """What is trained and predicts: its parameters, programs and places."""
        if self._network is None:
            raise SpecError(
                "the network is not known before the first fit or predict, for its first layer says nothing "
                "of the shape of an example; give input_shape=(height, width, channels)"
            )
        return self._network

    @property
    def description(self) -> Any:
        """The network as plain data, with every default written out."""
        return self.network.description.canonical

    def fit(
        self,
        x: Any,
        y: Any,
        epochs: int = 1,
        batch_size: int | None = None,
        validation_data: tuple[Any, Any] | None = None,
        verbose: bool = True,
    ) -> History:
        """Trains on mini-batches, and returns the history of all epochs so far: ``history["loss"]``, ...

        A further fit goes on where the last one ended, moments of the optimiser included.  Batches are drawn
        anew in each epoch; ``batch_size`` is 256 unless given, or less, so that an epoch has 32 steps.
        Raises a `CortexError` for data that does not fit, and where the loss stops being finite.
        """
        data = self._data(x, y)
        validation = None if validation_data is None else self._data(*validation_data)
        network = self.network
        size = batch_size if batch_size is not None else min(BATCH_SIZE, max(1, len(data[INPUT]) // STEPS))
        network.description = with_options(network.description, None, None, epochs=epochs, batch_size=size)
        found = open_data(network.description, data, validation)
        check_data(network, found)
        trainer = Trainer(network, found, [Progress()] if verbose else [])
        trainer.history, trainer.epoch = self.history, len(self.history)
        trainer.epochs += trainer.epoch
        try:
            trainer.run()
        except Interrupted:
            done = f"stopped after {len(self.history)} epochs; what was learned is kept, and fit goes on"
            raise Interrupted(done) from None
        return self.history

    def predict(self, x: Any) -> np.ndarray:
        """What the last layer gives for each example; probabilities where the loss is a cross entropy."""
        examples = self._examples(x)
        found: np.ndarray = self.network.predict(examples)
        return found

    def evaluate(self, x: Any, y: Any) -> dict[str, Any]:
        """The loss, and the accuracy where the loss is a cross entropy, over these examples."""
        return evaluate(self.network, self._data(x, y))

    def summary(self) -> str:
        """The table of layers: output shapes and parameters."""
        return self.network.summary()

    def save(self, path: str | Path) -> None:
        """Writes description and parameters as one .cortex file; `load` and `cortex.load` read it."""
        self.network.save(path)

    def _stated_shape(self) -> tuple[int, ...] | None:
        """The shape of an example, if the first layer that expects one says it."""
        first = next((x for x in self.layers if isinstance(x, Listed) and x.rank), None)
        return (first.inputs,) if isinstance(first, Dense) else None

    def _built(self, shape: tuple[int, ...]) -> Network:
        shaped = {"shape": list(shape), "dtype": "int64" if self._takes_tokens else "float32"}
        entries = list(self._entries(len(shape)))
        data = {"inputs": {INPUT: shaped}, "layers": [entry for _, entry in entries]}
        if any(isinstance(layer, Embedding) and layer.mask_zero for layer in self.layers):
            data["layers"] = list(self._masked(entries, read(data).layers))
        train: dict[str, Any] = {"optimizer": self.optimizer.entry, "seed": self.seed}
        if self.loss is not None:
            last = read(data).layers[-1]
            if isinstance(self.loss, ListedLoss):
                train["metrics"] = [{m: {"of": last.id, "target": TARGET}} for m in self.loss.metrics]
            data["loss"] = self._loss_of(last)
        network = Network(read({**data, "train": train}), self.seed)
        self._check_widths(network, entries)
        return network

    def _loss_of(self, last: Any) -> Any:
        if isinstance(self.loss, ListedLoss):
            return self.loss.entry(last)
        ((kind, fields),) = self.loss.items() if isinstance(self.loss, Mapping) else [(self.loss, {})]
        return {kind: {**fields, "of": last.id, "target": TARGET}}

    def _entries(self, rank: int) -> Iterator[tuple[int | None, Any]]:
        """The layers of the description, each with its index in the list; None where it has none there."""
        arriving: tuple[int | None, int | None] = (rank, None)
        known = True
        for i, layer in enumerate(self.layers):
            if not isinstance(layer, Listed):
                known = False
                yield i, layer
                continue
            if isinstance(layer, Recurrent) and known and arriving[0] != layer.rank:
                raise SpecError(
                    f"layers[{i}]: {layer} takes sequences (length, features), but what arrives has "
                    f"{arriving[0]} axes; say input_shape=(length, features), or put "
                    "{'reshape': [length, features]} before it"
                )
            if layer.rank is not None:
                if isinstance(layer, Dense) and layer.inputs == arriving[1]:
                    arriving = (2, layer.outputs)  # at each step
                else:
                    if layer.rank == 1 < (arriving[0] or 0):
                        yield None, "flatten"
                    arriving, known = layer.gives, True
            yield i, layer.entry

    def _masked(self, entries: list[tuple[int | None, Any]], nodes: Sequence[Any]) -> Iterator[Any]:
        """The entries, in which each Recurrent skips what an Embedding calls padding.

        The mask holds as long as each step is by itself.
        """
        mask = None
        for n, (i, entry) in enumerate(entries):
            layer = None if i is None else self.layers[i]
            own = [node for node in nodes if node.place.path.startswith(f"layers[{n}]")]
            if isinstance(layer, Embedding):
                mask = f"{own[0].id}.mask" if layer.mask_zero else None
            elif isinstance(layer, Recurrent):
                entry = layer.masked(mask)
            elif not all(node.layer.positionwise for node in own):
                mask = None
            yield entry

    def _check_widths(self, network: Network, entries: list[tuple[int | None, Any]]) -> None:
        """Each layer is given what it says that it takes."""
        nodes = {node.place.path.partition("]")[0]: node for node in network.description.layers}
        for n, (i, _) in enumerate(entries):
            layer = None if i is None else self.layers[i]
            if not isinstance(layer, Listed) or layer.width is None:
                continue
            arriving = network.types[nodes[f"layers[{n}"].sources[0]].shape[1:]
            if arriving[-1] != layer.width:
                raise ShapeError(f"layers[{i}]: {layer} takes {layer.width}, but {arriving} arrives")

    def _data(self, x: Any, y: Any) -> dict[str, np.ndarray]:
        return {INPUT: self._examples(x), TARGET: _array("y", y)}

    def _examples(self, x: Any) -> np.ndarray:
        """The examples in the shape of the input; the first ones decide it where nothing else does."""
        array = _array("x", x)
        if array.dtype.kind in "iub":
            array = array.astype(np.int64 if self._takes_tokens else np.float32)
        elif array.dtype.kind == "f" and self._takes_tokens and _whole(array):
            array = array.astype(np.int64)
        if self._network is None:
            self._network = self._built(self._shape_of(array))
        shape = self.network.description.inputs[0].shape
        if array.ndim and math.prod(array.shape[1:]) == math.prod(shape) and _same_order(array, shape):
            array = array.reshape(len(array), *shape)
        return array

    @property
    def _takes_tokens(self) -> bool:
        if self._network is not None:
            return as_dtype(self._network.description.inputs[0].dtype).kind == "int"
        return any(
            isinstance(layer, Embedding) or (isinstance(layer, Mapping) and "embedding" in layer)
            for layer in self.layers
        )

    def _shape_of(self, array: np.ndarray) -> tuple[int, ...]:
        shape = array.shape[1:]
        images = any(isinstance(layer, Listed) and layer.rank == 3 for layer in self.layers)
        if images and len(shape) == 2:
            shape = (*shape, 1)
        if images and len(shape) != 3:
            raise DataError(
                f"x has shape {array.shape}: expected images (examples, height, width, channels); rows of "
                "numbers become images by input_shape=(height, width, channels)"
            )
        return shape


def _array(name: str, given: Any) -> np.ndarray:
    try:
        return np.asarray(given)
    except ValueError:
        raise DataError(
            f"{name}: the examples have different lengths. Pad them to one; of tokens by 0, which "
            "Embedding(..., mask_zero=True) takes for padding"
        ) from None


def _whole(array: np.ndarray) -> bool:
    return bool((np.isfinite(array) & (array == np.rint(array))).all())


def _same_order(array: np.ndarray, shape: Sequence[int]) -> bool:
    """Whether a reshape brings examples to ``shape``: it makes images of rows and rows of images."""
    if array.ndim == 2 or len(shape) == 1:
        return True
    return [n for n in array.shape[1:] if n != 1] == [n for n in shape if n != 1]


def _check_instance(given: Any, where: str) -> None:
    """Refuses a class where something made of it is meant."""
    if isinstance(given, type):
        raise SpecError(f"{where} is the class {given.__name__}: expected {given.__name__}(...)")


def _check_layer(layer: Any, where: str) -> None:
    """Refuses what is neither a layer of the list nor one as descriptions write it."""
    _check_instance(layer, where)
    if not isinstance(layer, (Listed, str, Mapping, list, tuple)):
        raise SpecError(
            f"{where} is {layer!r:.60}: expected a layer such as Dense(784, 10) or 'gelu'. Modules of "
            "cortex.nn make a model by nn.Sequential"
        )


def _check_loss(loss: Any) -> None:
    _check_instance(loss, "loss")
    if loss is not None and not isinstance(loss, (ListedLoss, str, Mapping)):
        raise SpecError(
            f"loss is {loss!r:.60} of {type(loss).__module__}: expected CrossEntropyLoss() or MSELoss() of "
            "cortex, or a name such as 'mse'"
        )


def _optimizer(given: Any) -> Optimizer:
    """The optimiser that is given, or named; Adam unless one is."""
    if given is None or isinstance(given, str):
        return Optimizer(optimizer=given or "Adam")
    if not isinstance(given, Optimizer):
        raise SpecError(
            f"optimizer is a {type(given).__name__} of {type(given).__module__}: expected a name such as "
            "'adam', or Optimizer(0.01, 'Adam') of cortex"
        )
    return given

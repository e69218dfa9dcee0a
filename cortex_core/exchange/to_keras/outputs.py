"""What a model gives to people: probabilities where a loss takes logits, values in the unit of a target."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cortex_core.exchange.to_keras.at import Shape, Unfit
from cortex_core.exchange.to_keras.graph import LAYERS, Call, Graph, Tensor
from cortex_core.registry import LOSSES
from cortex_core.streams import SCALED

if TYPE_CHECKING:
    from cortex_core.network import Network

CLASSES = ("softmax_cross_entropy", "focal", "kl_divergence", "ctc")
CHANCES = ("binary_cross_entropy", "binary_focal")
GENERAL = "mse"
"""A loss that shows its node as it is."""


def shown(network: Network, graph: Graph, id_: str, x: Tensor) -> Tensor:
    """What `Network.predict` gives of an output.  Raises `Unfit`."""
    for node in network.description.losses:
        if node.of == id_ and node.target:
            name = _activation(node, x)
            if name:
                layer = graph.add(f"{id_}_{name}", LAYERS, "Activation", {"activation": name})
                x = graph.call(layer, Call((x,), {}), x.shape)
            break
    return _in_units(network, graph, id_, x)


def _activation(node: Any, x: Tensor) -> str:
    """The function that makes probabilities of what a loss takes; empty for none."""
    if node.kind in CLASSES:
        return "softmax"
    if node.kind == "dice" and node.loss.from_logits:
        return "sigmoid" if x.shape[-1] == 1 else "softmax"
    if node.kind in CHANCES:
        return "sigmoid" if node.loss.from_logits else ""
    if node.kind != "dice" and type(node.loss).prediction is not LOSSES[GENERAL].prediction:
        told = f"what the loss {node.kind} shows of it cannot be said in Keras"
        raise Unfit(f"{told}; --raw (in Python raw=True) writes a model that gives the numbers before that")
    return ""


def _in_units(network: Network, graph: Graph, id_: str, x: Tensor) -> Tensor:
    """A value that has learned a scaled target in its unit: times its deviation, plus its mean."""
    encoding = network.encoding
    targets = [node.target for node in network.description.compared if node.of == id_ and node.kind in SCALED]
    if encoding is None or not targets or targets[-1] not in encoding.streams:
        return x
    if encoding.streams[targets[-1]].dtype != "float32":
        return x
    factor, offset = _affine(lambda x: encoding.decode(targets[-1], x), x.shape)
    layer = graph.add(f"{id_}_unit", LAYERS, "Rescaling", {"scale": factor, "offset": offset})
    return graph.call(layer, Call((x,), {}), x.shape)


def _affine(unit: Callable[[np.ndarray], np.ndarray], shape: Shape) -> tuple[float, float]:
    """factor and offset of ``unit(x) = factor x + offset``.  Raises `Unfit` where it is no such thing."""
    size = (1, *(n or 1 for n in shape))
    found = [np.asarray(unit(np.full(size, n, np.float32))) for n in (0, 1, 2)]
    if all(x.dtype.kind == "f" for x in found):
        zero, one, two = (np.unique(x.astype(np.float64)) for x in found)
        if len(zero) == len(one) == len(two) == 1 and np.allclose(two - one, one - zero, rtol=1e-5):
            return float(one[0] - zero[0]), float(zero[0])
    told = "what people wrote is no multiple of what it has learned"
    raise Unfit(f"{told}; --raw (in Python raw=True) writes a model that gives the numbers before that")

"""The arithmetic of a training step, counted from the description and from nothing that a compiler chose."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.workloads import Workload


def step_flops(workload: Workload) -> int:
    """Of the matrix products and convolutions: forward, and the gradients of the weights and of the data.

    Nobody asks for the gradient of the images, so what is made of them first has none.
    """
    import cortex

    network = cortex.network(workload.description)
    forward = [n for node in network.description.layers for n in products(network, node)]
    images = not any(node.kind == "embedding" for node in network.description.layers)
    return workload.batch * (3 * sum(forward) - (forward[0] if images else 0))


def products(network: Any, node: Any) -> list[int]:
    """The operations of one example in each product of a layer."""
    weights = {name: a for name, a in network.parameters.items() if name.rpartition("/")[0] == node.id}
    kernels = [a.size for name, a in weights.items() if name.endswith("kernel")]
    given, made = network.types[node.sources[0]].shape[1:], network.types[node.id].shape[1:]
    positions = math.prod(made[:-1])
    if node.kind == "lstm":
        positions = given[0]
    elif node.kind == "unembedding":
        kernels = [given[-1] * made[-1]]
    elif node.kind == "multi_head_attention":  # each position sees itself and those before it
        seen = made[0] * (made[0] + 1) // 2
        return [2 * n * positions for n in kernels] + [2 * seen * made[1]] * 2
    return [2 * n * positions for n in kernels]

"""The arithmetic of a training step, counted from the description and from nothing that a compiler chose."""

from __future__ import annotations

import math

from benchmarks.workloads import Workload


def step_flops(workload: Workload) -> int:
    """Of the matrix products and convolutions: forward, and the gradients of the weights and of the data.

    Nobody asks for the gradient of the images, so the first layer has none.
    """
    import cortex

    network = cortex.network(workload.description)
    forward = []
    for node in network.description.layers:
        kernel = network.parameters.get(f"{node.id}/kernel")
        if kernel is not None:
            positions = math.prod(network.types[node.id].shape[1:-1])
            forward.append(2 * kernel.size * positions)
    return workload.batch * (3 * sum(forward) - forward[0])

"""JAX's side: the same networks as functions; the whole step, Adam included, is one compiled function.

Started by `benchmarks.turns`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.serve import Step, Task, serve
from benchmarks.workloads import RESNET_FILTERS, WORKLOADS, batch_of

RATE, BETA1, BETA2, EPSILON = 0.001, 0.9, 0.999, 1e-8
MOMENTUM, NORM_EPSILON = 0.9, 1e-5
Arrays = dict[str, Any]


class Scope:
    """Parameters and running statistics by name, and the statistics of this step."""

    def __init__(self, parameters: Arrays, statistics: Arrays, training: bool) -> None:
        self.parameters, self.statistics, self.training = parameters, dict(statistics), training

    def dense(self, name: str, x: jax.Array) -> jax.Array:
        return x @ self.parameters[f"{name}/kernel"] + self.parameters[f"{name}/bias"]

    def conv(self, name: str, x: jax.Array, stride: int = 1, padding: int = 0) -> jax.Array:
        around = [(padding, padding)] * 2
        dimensions = ("NHWC", "HWIO", "NHWC")
        kernel = self.parameters[f"{name}/kernel"]
        y = lax.conv_general_dilated(x, kernel, (stride, stride), around, dimension_numbers=dimensions)
        bias = self.parameters.get(f"{name}/bias")
        return y if bias is None else y + bias

    def norm(self, name: str, x: jax.Array) -> jax.Array:
        mean, variance = self.statistics[f"{name}/mean"], self.statistics[f"{name}/variance"]
        if self.training:
            old_mean, old_variance = mean, variance
            mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
            n = x.size // x.shape[-1]
            new = {"mean": (old_mean, mean), "variance": (old_variance, variance * (n / (n - 1)))}
            for kind, (a, b) in new.items():
                self.statistics[f"{name}/{kind}"] = MOMENTUM * a + (1 - MOMENTUM) * b
        scale = self.parameters[f"{name}/scale"] * lax.rsqrt(variance + NORM_EPSILON)
        return (x - mean) * scale + self.parameters[f"{name}/shift"]


def max_pool(x: jax.Array) -> jax.Array:
    """2 x 2.  The gradient of lax.reduce_window, the usual way, takes more than twice as long on a CPU."""
    n, height, width, channels = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))


def mlp(p: Scope, x: jax.Array) -> jax.Array:
    for name in ("hidden0", "hidden1"):
        x = jax.nn.relu(p.dense(name, x))
    return p.dense("digit", x)


def convolutions(p: Scope, x: jax.Array, padding: int) -> jax.Array:
    for name in ("conv0", "conv1"):
        x = max_pool(jax.nn.relu(p.conv(name, x, padding=padding)))
    x = jax.nn.relu(p.dense("hidden", x.reshape(len(x), -1)))
    return p.dense("digit", x)


def resnet20(p: Scope, x: jax.Array) -> jax.Array:
    x = jax.nn.relu(p.norm("norm", p.conv("conv", x, padding=1)))
    for i, filters in enumerate(RESNET_FILTERS):
        widens = filters > x.shape[-1]
        stride = 2 if widens else 1
        y = jax.nn.relu(p.norm(f"unit{i}/norm0", p.conv(f"unit{i}/conv0", x, stride, padding=1)))
        y = p.norm(f"unit{i}/norm1", p.conv(f"unit{i}/conv1", y, padding=1))
        x = jax.nn.relu(y + (p.conv(f"unit{i}/short", x, stride) if widens else x))
    return p.dense("digit", x.mean((1, 2)))


NETWORKS: dict[str, Callable[[Scope, jax.Array], jax.Array]] = {
    "mlp": mlp,
    "cnn": partial(convolutions, padding=1),
    "lenet": partial(convolutions, padding=0),
    "resnet20": resnet20,
}


def make(task: Task) -> Step:
    """A training step with Adam, or a prediction."""
    workload = WORKLOADS[task["workload"]]
    image, label = map(jnp.asarray, batch_of(workload.shape, task["batch"]))
    parameters = {name: jnp.asarray(a) for name, a in np.load(task["file"]).items()}
    norms = {n.removesuffix("/scale"): a for n, a in parameters.items() if n.endswith("/scale")}
    statistics = {f"{n}/mean": jnp.zeros_like(a) for n, a in norms.items()}
    statistics |= {f"{n}/variance": jnp.ones_like(a) for n, a in norms.items()}
    made = predict if task["purpose"] == "predict" else train
    return made(NETWORKS[workload.name], parameters, statistics, image, label)


def train(network: Any, parameters: Arrays, statistics: Arrays, image: jax.Array, label: jax.Array) -> Step:
    def loss_of(parameters: Arrays, statistics: Arrays) -> tuple[jax.Array, Arrays]:
        scope = Scope(parameters, statistics, training=True)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(network(scope, image)), label[:, None], axis=1)
        return -chosen.mean(), scope.statistics

    @partial(jax.jit, donate_argnums=0)
    def update(state: tuple[Any, ...]) -> tuple[tuple[Any, ...], jax.Array]:
        count, parameters, statistics, m, v = state
        (loss, statistics), g = jax.value_and_grad(loss_of, has_aux=True)(parameters, statistics)
        count = count + 1
        m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
        v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
        rate, correction = RATE / (1 - BETA1**count), 1 / (1 - BETA2**count)

        def moved(p: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
            return p - rate * m / (jnp.sqrt(v * correction) + EPSILON)

        return (count, jax.tree.map(moved, parameters, m, v), statistics, m, v), loss

    def zeros() -> Arrays:
        return {name: jnp.zeros_like(a) for name, a in parameters.items()}

    state: tuple[Any, ...] = (jnp.float32(0), parameters, statistics, zeros(), zeros())

    def step() -> float:
        nonlocal state
        state, loss = update(state)
        return float(loss)

    return step


def predict(network: Any, parameters: Arrays, statistics: Arrays, image: jax.Array, label: jax.Array) -> Step:
    """Probabilities, as Cortex gives them."""

    @jax.jit
    def forward(parameters: Arrays, x: jax.Array) -> jax.Array:
        return jax.nn.softmax(network(Scope(parameters, statistics, training=False), x))

    return lambda: np.asarray(forward(parameters, image))


if __name__ == "__main__":
    serve(make)

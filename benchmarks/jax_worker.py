"""JAX's side: the same networks as functions; the whole step, Adam included, is one compiled function.

Started by `benchmarks.turns`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the others need memory, too

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.serve import Queued, Step, Task, serve
from benchmarks.workloads import (
    BATCHES,
    BLOCKS,
    HEADS,
    RESNET20_FILTERS,
    RESNET50_STAGES,
    batch_of,
    rows_of,
)

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
MOMENTUM, NORM_EPSILON = 0.9, 1e-5
Arrays = dict[str, Any]


class Scope:
    """Parameters and running statistics by name, and the statistics of this step.

    Products and convolutions compute in ``dtype``; the rest, what a norm makes of its input included, is done
    in float32 and rounded to it.
    """

    def __init__(self, parameters: Arrays, statistics: Arrays, training: bool, dtype: Any) -> None:
        self.parameters, self.statistics, self.training = parameters, dict(statistics), training
        self.dtype = dtype

    def of(self, name: str) -> jax.Array:
        return self.parameters[name].astype(self.dtype)

    def dense(self, name: str, x: jax.Array) -> jax.Array:
        return x.astype(self.dtype) @ self.of(f"{name}/kernel") + self.of(f"{name}/bias")

    def conv(self, name: str, x: jax.Array, stride: int = 1, padding: int = 0) -> jax.Array:
        around = [(padding, padding)] * 2
        dimensions = ("NHWC", "HWIO", "NHWC")
        x, kernel = x.astype(self.dtype), self.of(f"{name}/kernel")
        y = lax.conv_general_dilated(x, kernel, (stride, stride), around, dimension_numbers=dimensions)
        return y + self.of(f"{name}/bias") if f"{name}/bias" in self.parameters else y

    def norm(self, name: str, x: jax.Array) -> jax.Array:
        x = x.astype(jnp.float32)
        mean, variance = self.statistics[f"{name}/mean"], self.statistics[f"{name}/variance"]
        if self.training:
            old_mean, old_variance = mean, variance
            mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
            n = x.size // x.shape[-1]
            new = {"mean": (old_mean, mean), "variance": (old_variance, variance * (n / (n - 1)))}
            for kind, (a, b) in new.items():
                self.statistics[f"{name}/{kind}"] = MOMENTUM * a + (1 - MOMENTUM) * b
        scale = self.parameters[f"{name}/scale"] * lax.rsqrt(variance + NORM_EPSILON)
        return ((x - mean) * scale + self.parameters[f"{name}/shift"]).astype(self.dtype)

    def layer_norm(self, name: str, x: jax.Array) -> jax.Array:
        x = x.astype(jnp.float32)
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        scale = self.parameters[f"{name}/scale"] * lax.rsqrt(variance + NORM_EPSILON)
        return ((x - mean) * scale + self.parameters[f"{name}/shift"]).astype(self.dtype)


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
    for i, filters in enumerate(RESNET20_FILTERS):
        widens = filters > x.shape[-1]
        stride = 2 if widens else 1
        y = jax.nn.relu(p.norm(f"unit{i}/norm0", p.conv(f"unit{i}/conv0", x, stride, padding=1)))
        y = p.norm(f"unit{i}/norm1", p.conv(f"unit{i}/conv1", y, padding=1))
        x = jax.nn.relu(y + (p.conv(f"unit{i}/short", x, stride) if widens else x))
    return p.dense("digit", x.mean((1, 2)))


def overlapping_max_pool(x: jax.Array) -> jax.Array:
    """3 x 3 with stride 2 and a border of 1."""
    border = ((0, 0), (1, 1), (1, 1), (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), border)


def bottleneck(p: Scope, name: str, x: jax.Array, stride: int, short: jax.Array) -> jax.Array:
    y = jax.nn.relu(p.norm(f"{name}/norm0", p.conv(f"{name}/conv0", x)))
    y = jax.nn.relu(p.norm(f"{name}/norm1", p.conv(f"{name}/conv1", y, stride, padding=1)))
    return jax.nn.relu(p.norm(f"{name}/norm2", p.conv(f"{name}/conv2", y)) + short)


def resnet50(p: Scope, x: jax.Array) -> jax.Array:
    x = jax.nn.relu(p.norm("norm", p.conv("conv", x, stride=2, padding=3)))
    x = overlapping_max_pool(x)
    for i, (_, count) in enumerate(RESNET50_STAGES):
        first, stride = f"first{i}", 2 if i else 1
        short = p.norm(f"{first}/short_norm", p.conv(f"{first}/short", x, stride))
        x = bottleneck(p, first, x, stride, short)
        for k in range(count - 1):
            x = bottleneck(p, f"rest{i}.{k}", x, 1, x)
    return p.dense("digit", x.mean((1, 2)))


def lstm(p: Scope, x: jax.Array) -> jax.Array:
    u, units = p.of("lstm/recurrent_kernel"), len(p.of("lstm/recurrent_kernel"))
    gates = x.astype(p.dtype) @ p.of("lstm/kernel") + p.of("lstm/bias")

    def step(state: tuple[jax.Array, jax.Array], a: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        h, c = state
        i, f, g, o = jnp.split(a + h @ u, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zeros = jnp.zeros((len(x), units), p.dtype)
    (h, _), _ = lax.scan(step, (zeros, zeros), gates.swapaxes(0, 1))
    return p.dense("digit", h)


def char_gpt(p: Scope, x: jax.Array) -> jax.Array:
    table = p.of("characters/table")
    x = table[x] + p.of("positions/table")
    for i in range(BLOCKS):
        x = block(p, f"block.{i}", x)
    return p.layer_norm("norm", x) @ table.T


def block(p: Scope, name: str, x: jax.Array) -> jax.Array:
    attention, y = f"{name}/attention", p.layer_norm(f"{name}/layer_norm", x)
    kinds = ("query", "key", "value")
    kernel = jnp.concatenate([p.of(f"{attention}/{kind}_kernel") for kind in kinds], axis=1)
    bias = jnp.concatenate([p.of(f"{attention}/{kind}_bias") for kind in kinds])
    q, k, v = jnp.split((y @ kernel + bias).reshape(*x.shape[:2], 3 * HEADS, -1), 3, axis=2)
    y = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(x.shape)
    x = x + y @ p.of(f"{attention}/output_kernel") + p.of(f"{attention}/output_bias")
    y = jax.nn.gelu(p.dense(f"{name}/hidden", p.layer_norm(f"{name}/layer_norm_2", x)), approximate=False)
    return x + p.dense(f"{name}/output", y)


NETWORKS: dict[str, Callable[[Scope, jax.Array], jax.Array]] = {
    "mlp": mlp,
    "cnn": partial(convolutions, padding=1),
    "lenet": partial(convolutions, padding=0),
    "resnet20": resnet20,
    "resnet50": resnet50,
    "lstm": lstm,
    "char_gpt": char_gpt,
}


def make(task: Task) -> Step | Queued:
    """A training step, or a prediction."""
    if task["device"] == "gpu":
        if jax.default_backend() == "cpu":
            raise ModuleNotFoundError(f"JAX {jax.__version__} finds no CUDA device")
        return queued(task)
    image, label = map(jnp.asarray, batch_of(task["description"], task["batch"]))
    if task["purpose"] == "predict":
        return predict(task, image)
    update, state = jax.jit(partial(trained, task), donate_argnums=0), state_of(task)

    def step() -> float:
        nonlocal state
        state, loss = update(state, image, label)
        return float(loss)

    return step


def parameters_of(task: Task) -> tuple[Arrays, Arrays]:
    """Cortex's parameters, and the running statistics of their norms."""
    parameters = {name: jnp.asarray(a) for name, a in np.load(task["file"]).items()}
    norms = {n.removesuffix("/scale"): a for n, a in parameters.items() if n.endswith("/scale")}
    statistics = {f"{n}/mean": jnp.zeros_like(a) for n, a in norms.items()}
    statistics |= {f"{n}/variance": jnp.ones_like(a) for n, a in norms.items()}
    return parameters, statistics


def state_of(task: Task) -> tuple[Any, ...]:
    """What a step takes and gives: the number of steps, parameters, statistics, and two moments of each."""
    parameters, statistics = parameters_of(task)

    def zeros() -> Arrays:
        return {name: jnp.zeros_like(a) for name, a in parameters.items()}

    return jnp.float32(0), parameters, statistics, zeros(), zeros()


def trained(
    task: Task, state: tuple[Any, ...], image: jax.Array, label: jax.Array
) -> tuple[tuple[Any, ...], jax.Array]:
    """The state after a step, and its loss."""
    count, parameters, statistics, m, v = state

    def loss_of(parameters: Arrays) -> tuple[jax.Array, Arrays]:
        scope = Scope(parameters, statistics, True, jnp.dtype(task["precision"]))
        logits = NETWORKS[task["workload"]](scope, image).astype(jnp.float32)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), label[..., None], axis=-1)
        return -chosen.mean(), scope.statistics

    (loss, statistics), g = jax.value_and_grad(loss_of, has_aux=True)(parameters)
    count = count + 1
    ((name, options),) = task["description"]["train"]["optimizer"].items()
    rate = options["learning_rate"]
    if name == "sgd":
        m = jax.tree.map(lambda m, g: options["momentum"] * m + g, m, g)
        parameters = jax.tree.map(lambda p, m: p - rate * m, parameters, m)
        return (count, parameters, statistics, m, v), loss
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
    rate, correction = rate / (1 - BETA1**count), 1 / (1 - BETA2**count)

    def moved(p: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        return p - rate * m / (jnp.sqrt(v * correction) + EPSILON)

    return (count, jax.tree.map(moved, parameters, m, v), statistics, m, v), loss


def queued(task: Task) -> Queued:
    """A training step that is only launched, on JAX's first device."""
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if task["tf32"] else "highest")
    on_device = task["data"] == "device"
    size = BATCHES * task["batch"] if on_device else task["batch"]
    image, label = batch_of(task["description"], size)
    if on_device:
        image, label = jax.device_put(image), jax.device_put(label)
    rows = cycle([jax.device_put(r) for r in rows_of(task["batch"])])

    def gathered(state: tuple[Any, ...], image: jax.Array, label: jax.Array, chosen: jax.Array) -> Any:
        return trained(task, state, image[chosen], label[chosen])

    update = jax.jit(gathered if on_device else partial(trained, task), donate_argnums=0)
    state, loss = state_of(task), jnp.float32(0)

    def one() -> None:
        nonlocal state, loss
        state, loss = update(state, image, label, *([next(rows)] if on_device else []))

    return Queued(one, lambda: float(loss))


def predict(task: Task, image: jax.Array) -> Step:
    """Probabilities, as Cortex gives them."""
    parameters, statistics = parameters_of(task)

    @jax.jit
    def forward(parameters: Arrays, x: jax.Array) -> jax.Array:
        scope = Scope(parameters, statistics, False, jnp.float32)
        return jax.nn.softmax(NETWORKS[task["workload"]](scope, x))

    return lambda: np.asarray(forward(parameters, image))


if __name__ == "__main__":
    serve(make)

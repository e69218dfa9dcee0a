"""A prediction of a model of Keras, by Cortex or by Keras on JAX.  Started by `benchmarks.turns`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from benchmarks.serve import Step, Task, serve


def make(task: Task) -> Step:
    """The output for one batch, as an array of the host."""
    x = np.load(task["inputs"])
    made: Step = {"cortex": cortex, "keras": keras, "keras_jit": keras_jit}[task["way"]](task, x)
    return made


def cortex(task: Task, x: np.ndarray) -> Step:
    """A compiled program, as `Network.predict` runs it."""
    from cortex import compile, from_keras
    from cortex_compute.threads import set_threads

    set_threads(task["threads"])
    network = from_keras(task["file"])
    compiled = compile(network, backend=task["backend"], batch_size=len(x), purpose="predict")
    (name,) = (node.name for node in network.description.inputs)
    (output,) = network.description.outputs
    return lambda: np.asarray(compiled.run({name: x})[output])


def keras(task: Task, x: np.ndarray) -> Step:
    """What a user calls."""
    model = _loaded(task)
    return lambda: np.asarray(model.predict_on_batch(x))


def keras_jit(task: Task, x: np.ndarray) -> Step:
    """The model as one compiled function, without what Keras does around each call."""
    model = _loaded(task)
    import jax

    def outputs(trained: Any, others: Any, x: Any) -> Any:
        return model.stateless_call(trained, others, x, training=False)[0]

    function = jax.jit(outputs)
    state = [[v.value for v in vs] for vs in (model.trainable_variables, model.non_trainable_variables)]
    return lambda: np.asarray(function(*state, x))


def _loaded(task: Task) -> Any:
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    return keras.models.load_model(task["file"], compile=False)


if __name__ == "__main__":
    serve(make)

"""A model of Keras learns another task: how many loops a digit has, told by 40 pictures.

`digits.h5` tells the ten digits apart; it may be anybody's file.  What it learned stays as it is, bit for
bit, and a new head alone is trained: no loop, one (0, 6, 9) or two (8).

Accuracy on 857 pictures: at least 88 %; by the same head on a body that was never trained at most 72 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from someones_model import write

import cortex
from cortex import surgery

LOOPS = np.array([1, 0, 0, 0, 0, 0, 1, 0, 2, 1])  # of each digit

pixels, digits = load_digits(return_X_y=True)
pictures, loops = pixels.reshape(-1, 8, 8, 1).astype(np.float32), LOOPS[digits]
later = np.arange(900, len(digits))  # pictures that the file's author did not have
few = np.concatenate([later[digits[later] == digit][:4] for digit in range(10)])
rest = np.setdiff1d(later, few)


def tuned(network: Any, name: str) -> tuple[Any, float]:
    """A network with a head for loops, trained on the few pictures, and its accuracy on the rest."""
    changed = surgery.freeze(surgery.replace_head(network, 3), until="relu_2")
    run = cortex.train(
        changed,
        {"image": pictures[few], "target": loops[few]},
        overrides=["train.optimizer={adam: {learning_rate: 0.03}}"],
        epochs=30,
        batch_size=8,
        out=f"runs/{name}",
        progress=False,
        report=False,
    )
    right = run.network.predict(pictures[rest]).argmax(-1) == loops[rest]
    return run.network, right.mean()


write("digits.h5", pictures[:900], digits[:900])
imported = cortex.from_keras("digits.h5")
network, accuracy = tuned(imported, "loops")
untrained = cortex.network(imported.description.canonical)  # the same layers, with first weights
_, without = tuned(untrained, "loops-untrained")

print(surgery.report(imported, network))
print(f"accuracy {100 * accuracy:.1f} %, on an untrained body {100 * without:.1f} %")

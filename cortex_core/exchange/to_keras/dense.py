"""Dense layers, tokens and their positions."""

from __future__ import annotations

import numpy as np

from cortex_core.exchange.to_keras.activations import behind, ending
from cortex_core.exchange.to_keras.at import At, Result, exports
from cortex_core.exchange.to_keras.graph import Tensor
from cortex_core.layers.positional import frequencies

MOST_CONSTANTS = 1 << 19
"""How many numbers the configuration of a model may hold, which is text."""


@exports("dense", to="`Dense`")
def dense(at: At) -> Tensor:
    use_bias = at.layer.use_bias
    weights = at.arrays("kernel", "bias") if use_bias else at.arrays("kernel")
    y = at.put("Dense", at.x, weights=weights, units=at.layer.units, use_bias=use_bias, activation=ending(at))
    return behind(at, y)


@exports("embedding", to="`Embedding`; `ID.mask` as `not_equal`, which is given to the layers that take it")
def embedding(at: At) -> Result:
    y = at.put(
        "Embedding", at.x, weights=at.arrays("table"), input_dim=at.layer.tokens, output_dim=at.layer.units
    )
    if not at.layer.mask_zero:
        return y
    return {"": y, "mask": at.op("NotEqual", at.x, 0, part="mask", shape=at.x.shape, gives="bool")}


@exports("unembedding", to="`Dense` whose kernel is the table, turned, as it is now: a note says so")
def unembedding(at: At) -> Tensor:
    owner = str(at.source("table")).rpartition(".")[0]
    table = at.whole.array(at.whole.nodes[owner].name_of("table"))
    at.note(f"its kernel is a copy of the table of {owner} in Keras, where training moves them apart")
    return at.put("Dense", at.x, weights=[table.T], units=len(table), use_bias=False)


@exports(
    "positional_encoding",
    to="`Add` of constants, also of positions that were learned: a note says so",
    refuses="sequences of any length",
)
def positional_encoding(at: At) -> Tensor:
    length, channels = at.known(at.x, "the positions are constants in Keras")
    if at.layer.form == "learned":
        table = at.array("table")[:length]
        at.note("the positions that it has learned are constants in Keras: training leaves them as they are")
    else:
        table = waves(length, channels)
    if table.size > MOST_CONSTANTS:
        at.fail(f"its {table.size:,} numbers would be text; {MOST_CONSTANTS:,} are the most: give it fewer")
    return at.op("Add", at.x, table)


def waves(length: int, channels: int) -> np.ndarray:
    """sin(t f) in the even channels and cos(t f) in the odd ones, f = 10000^(-2 i / C) for pair i.  (T, C)"""
    turns = np.arange(length)[:, None] * np.repeat(frequencies(channels), 2)[:channels]
    found: np.ndarray = np.where(np.arange(channels) % 2, np.cos(turns), np.sin(turns)).astype(np.float32)
    return found

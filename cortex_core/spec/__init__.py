"""Networks as data: reading, checking, resolving and writing descriptions.

``read`` gives a frozen Description or raises SpecError with every mistake; ``inspect`` gives both.

Beside the fields of its kind, an entry of ``layers`` may have

- ``id``, and ``from``: an id, the name of an input, ``ID.OUTPUT`` (``words.mask``), ``BLOCK/ID``, or a list;
- ``trainable`` and ``learning_rate`` (a multiplier): where there are parameters; a block hands them down;
- ``penalty``: ``{l2: 0.001}`` on the kernel, or by parameter: ``{kernel: {l2: 0.001}, bias: {l1: 0.1}}``;
  l2 adds the value times the sum of squares to the loss, l1 times the sum of absolute values;
- ``loss``: losses of this layer, written as in the section ``loss`` without ``of``;
- ``repeat``: so often, one after the other, as ID.0, ID.1, ...; the ID alone is the last of them.

A layer without an id is called by its kind: conv2d, conv2d_2, ...  The id of a block means its last layer.
Every layer must lead to an output or a loss.  Anchors, aliases, tags and merge keys of YAML are refused.
"""

from __future__ import annotations

from cortex_core.spec.description import (
    UNKNOWN_SOURCE,
    Description,
    InputNode,
    LayerNode,
    LossNode,
    MetricNode,
    Penalty,
)
from cortex_core.spec.resolve import inspect, locate, read
from cortex_core.spec.train import EarlyStopping, TrainOptions

__all__ = [
    "UNKNOWN_SOURCE",
    "Description",
    "EarlyStopping",
    "InputNode",
    "LayerNode",
    "LossNode",
    "MetricNode",
    "Penalty",
    "TrainOptions",
    "inspect",
    "locate",
    "read",
]

"""The layers of the list-of-layers style; see `layer_list`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from cortex_compute.errors import SpecError


class Listed:
    """A layer of the list: its ``entry`` in a description, and what has to arrive at it.

    ``rank`` is that of an example: 1 for numbers, 2 for sequences, 3 for images, None for any.  ``width`` is
    the expected size of its last axis.
    """

    rank: ClassVar[int | None] = None
    width: int | None = None

    @property
    def gives(self) -> tuple[int | None, int | None]:
        """The rank of what it gives, and of sequences the size of each step."""
        return self.rank, None

    @property
    def entry(self) -> Any:
        """The layer as a description has it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Dense(Listed):
    """y = x W + b, from ``inputs`` to ``outputs`` numbers.

    Images that arrive are flattened first, and so are sequences, unless ``inputs`` are those of one step.
    """

    inputs: int
    outputs: int
    rank: ClassVar[int | None] = 1

    @property
    def width(self) -> int:  # type: ignore[override]
        return self.inputs

    @property
    def entry(self) -> Any:
        return {"dense": {"units": self.outputs}}


@dataclass(frozen=True)
class Convolutional(Listed):
    """Convolution of images (height, width, ``in_channels``) with ``filters`` windows of size ``kernel``.

    ``kernel`` and ``stride`` are a number or (height, width); ``padding`` is "valid", "same" or a number.
    """

    in_channels: int
    filters: int
    kernel: int | tuple[int, int]
    stride: int | tuple[int, int] = 1
    padding: str | int = "valid"
    rank: ClassVar[int | None] = 3

    @property
    def width(self) -> int:  # type: ignore[override]
        return self.in_channels

    @property
    def entry(self) -> Any:
        fields = {"kernel": self.kernel, "stride": self.stride, "padding": self.padding}
        return {"conv2d": {"filters": self.filters, **fields}}


@dataclass(frozen=True)
class Pooling(Listed):
    """The largest (``mode`` "max") or the mean ("average") of each window; ``stride``: ``size``."""

    size: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    mode: str = "max"
    rank: ClassVar[int | None] = 3

    @property
    def entry(self) -> Any:
        kinds = {"max": "max_pool2d", "average": "avg_pool2d"}
        if self.mode not in kinds:
            raise SpecError(f"Pooling: unknown mode {self.mode!r}: expected 'max' or 'average'")
        return {kinds[self.mode]: {"size": self.size, "stride": self.stride or self.size}}


@dataclass(frozen=True)
class Embedding(Listed):
    """A learnt vector of ``units`` numbers for each of ``tokens`` whole numbers.

    (length,) -> (length, units).  With ``mask_zero`` 0 is padding: each `Recurrent` behind it skips it, up
    to a layer that does not treat each step by itself, such as a pooling.  Layers as descriptions write them
    name the mask: {"lstm": {"units": 8, "mask": "embedding.mask"}}.
    """

    tokens: int
    units: int
    mask_zero: bool = False
    rank: ClassVar[int | None] = 1

    @property
    def gives(self) -> tuple[int | None, int | None]:
        return 2, self.units

    @property
    def entry(self) -> Any:
        return {"embedding": {"tokens": self.tokens, "units": self.units, "mask_zero": self.mask_zero}}


@dataclass(frozen=True)
class Recurrent(Listed):
    """A recurrence of ``units`` numbers along sequences (length, ``inputs``): ``kind`` "lstm", "gru", "rnn".

    It gives its last state, or with ``return_sequences`` that of each step; with ``bidirectional`` those of
    both directions side by side.
    """

    inputs: int
    units: int
    kind: str = "lstm"
    return_sequences: bool = False
    bidirectional: bool = False
    rank: ClassVar[int | None] = 2

    @property
    def width(self) -> int:  # type: ignore[override]
        return self.inputs

    @property
    def gives(self) -> tuple[int | None, int | None]:
        return (2, self.units * (1 + self.bidirectional)) if self.return_sequences else (1, None)

    @property
    def entry(self) -> Any:
        return self.masked(None)

    def masked(self, mask: str | None) -> Any:
        """The entry; only the steps that count by ``mask``, the name of a value, are walked."""
        kinds = {"lstm": "lstm", "gru": "gru", "rnn": "simple_rnn"}
        if self.kind not in kinds:
            raise SpecError(f"Recurrent: unknown kind {self.kind!r}: expected 'lstm', 'gru' or 'rnn'")
        fields: dict[str, Any] = {"units": self.units}
        fields["return"] = "sequence" if self.return_sequences else "last"
        fields |= {} if mask is None else {"mask": mask}
        layer = {kinds[self.kind]: fields}
        return {"bidirectional": {"layer": layer}} if self.bidirectional else layer


@dataclass(frozen=True)
class ReLU(Listed):
    """max(x, 0)"""

    entry: ClassVar[str] = "relu"


@dataclass(frozen=True)
class Sigmoid(Listed):
    """1 / (1 + exp(-x))"""

    entry: ClassVar[str] = "sigmoid"


@dataclass(frozen=True)
class Tanh(Listed):
    """tanh(x)"""

    entry: ClassVar[str] = "tanh"


@dataclass(frozen=True)
class Softmax(Listed):
    """exp(x) / sum(exp(x)) over the last axis."""

    entry: ClassVar[str] = "softmax"

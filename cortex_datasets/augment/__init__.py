"""Examples that are never twice the same: ``train.augment: [flip, {crop: 4}, {rotate: 10}]``.

What is drawn follows from (seed, epoch, sample) alone.  `augmented` wraps a source of examples in one that
varies them.
"""

from __future__ import annotations

from cortex_datasets.augment.chain import augmented

__all__ = ["augmented"]

"""A value of a Keras model as it is here."""

from __future__ import annotations

from cortex_compute.frozen import frozen
from cortex_core.exchange.build import Shape


@frozen
class Value:
    """What a layer gives.

    ``shape`` is as Keras has it, without the batch axis; None is an axis of any length.  ``source`` is what a
    description calls it.  ``moved``: there the channels are last, in Keras first.  ``mask`` says which of
    the steps count: another value of the description, or None where all do.  ``whole`` is the type, such as
    uint8, in whose whole numbers Keras computes what is floating here; empty for all others.
    """

    source: str
    shape: Shape
    dtype: str = "float32"
    moved: bool = False
    mask: str | None = None
    whole: str = ""

    @property
    def there(self) -> Shape:
        """The shape in the description."""
        return (*self.shape[1:], self.shape[0]) if self.moved else self.shape

"""What surgery kept: two networks compared by the names and the numbers of their parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cortex_compute.frozen import frozen
from cortex_core.network import network
from cortex_core.summary import align

SHOWN = 5  # names in a row of the table


@frozen
class Report:
    """Parameters and running statistics by name.

    ``kept``: those with the same bits as before.  ``new``: those that were not there, or have other numbers.
    ``removed``: those that are gone.  Each maps a name to its shape.  ``frozen``: the names of those that are
    there and not trained.  ``layers``: what became of layers, by the same words, parameters or not.
    """

    kept: dict[str, tuple[int, ...]]
    new: dict[str, tuple[int, ...]]
    removed: dict[str, tuple[int, ...]]
    frozen: dict[str, tuple[int, ...]]
    layers: dict[str, tuple[str, ...]]

    @property
    def _parts(self) -> dict[str, dict[str, tuple[int, ...]]]:
        return {"kept": self.kept, "new": self.new, "removed": self.removed, "frozen": self.frozen}

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        shapes = {part: {name: list(s) for name, s in found.items()} for part, found in self._parts.items()}
        return {**shapes, "layers": {part: list(names) for part, names in self.layers.items()}}

    def __str__(self) -> str:
        table = [("", "layers", "numbers", "")]
        for part, found in self._parts.items():
            names = self.layers[part]
            listed = ", ".join(names[:SHOWN]) + (f", {len(names) - SHOWN} more" if len(names) > SHOWN else "")
            shown = listed if part in ("new", "removed") else ""
            table.append((part, f"{len(names):,}", f"{_count(found):,}", shown))
        return "\n".join(align(table, right=(1, 2)))


def report(before: Any, after: Any) -> Report:
    """What of ``before`` is in ``after``, what is new there, and what is gone: of networks, .cortex files or
    folders of runs."""
    before, after = network(before), network(after)
    old = {**before.parameters, **before.variables}
    now = {**after.parameters, **after.variables}
    kept = {name: x.shape for name, x in now.items() if name in old and _same(old[name], x)}
    new = {name: x.shape for name, x in now.items() if name not in kept}
    removed = {name: x.shape for name, x in old.items() if name not in now}
    frozen = {n: now[n].shape for n, slot in after.slots.items() if not slot.segment.trainable}
    ids = [node.id for node in before.description.layers], [node.id for node in after.description.layers]
    drawn = {*_owners(new), *(id_ for id_ in ids[1] if id_ not in ids[0])}
    layers = {
        "kept": tuple(id_ for id_ in ids[1] if id_ not in drawn),
        "new": tuple(id_ for id_ in ids[1] if id_ in drawn),
        "removed": tuple(id_ for id_ in ids[0] if id_ not in ids[1]),
        "frozen": tuple(dict.fromkeys(_owners(frozen))),
    }
    return Report(kept, new, removed, frozen, layers)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def _owners(names: Iterable[str]) -> Iterable[str]:
    """The layers of parameters."""
    return (name.rpartition("/")[0] for name in names)


def _count(shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes.values())

"""Network surgery: functions from a network to a changed one that keep the weights.

    smaller = surgery.remove(network, "dropout")
    other = surgery.freeze(surgery.replace_head(network, 5), until="dense")
    print(surgery.report(network, other))             # what was kept, what is new, what is gone
    cortex.train(other, data=...)

Each takes a `Network`, a .cortex file or the folder of a run, changes its description, and gives a new
network: the numbers of equal name and shape are those of the old one, which stays as it is; the others are
drawn anew.  What the optimiser remembers (its moments, the step) is not kept: training begins anew.  Of a
description (a dict, or its file) they make the changed description as canonical data.
"""

from __future__ import annotations

from cortex_core.surgery.operate import (
    add,
    freeze,
    freeze_norms,
    remove,
    replace_head,
    resize_input,
    unfreeze,
)
from cortex_core.surgery.report import Report, report

__all__ = [
    "Report",
    "add",
    "freeze",
    "freeze_norms",
    "remove",
    "replace_head",
    "report",
    "resize_input",
    "unfreeze",
]

"""What the second line of an example states: what it reaches, and how that was measured."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cortex_compute.errors import SpecError

FORMS = (
    "# Test accuracy: at least 97.0 %; seed 0, 2 minutes, onednn.",
    "# Validation loss: at most 1.75 nats per character; seed 0, 9 minutes, onednn.",
)
_LINE = re.compile(
    r"# (?P<part>Test|Validation) (?P<metric>\w+): at (?P<bound>least|most) (?P<value>[0-9.]+)"
    r" (?P<unit>[^;]+); seed (?P<seed>\d+), (?P<minutes>[0-9.]+) minutes?, (?P<backend>\w+)\."
)


@dataclass(frozen=True)
class Stated:
    """A number that a training reaches.  ``minutes``: what it took from ``seed``, on two cores."""

    part: str  # of the data: test or validation
    metric: str
    better: Literal["higher", "lower"]
    value: float
    unit: str
    seed: int
    minutes: float
    backend: str

    @property
    def told(self) -> str:
        """What is measured, and in which unit."""
        return f"{self.part} {self.metric}, {self.unit}"

    def measured(self, metrics: dict[str, dict[str, float]]) -> float:
        """The number in a run's ``metrics``, in the unit."""
        return metrics[self.part][self.metric] * (100 if self.unit == "%" else 1)


def stated(path: Path) -> Stated:
    """Reads the second line of a description.  Raises `SpecError` where that is none of `FORMS`."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = _LINE.fullmatch(lines[1]) if len(lines) > 1 and lines[0].startswith("# ") else None
    if found is None:
        forms = "' or '".join(FORMS)
        raise SpecError(f"{path}: the first line should say what it is, the second '{forms}'")
    return Stated(
        part=found["part"].lower(),
        metric=found["metric"],
        better="higher" if found["bound"] == "least" else "lower",
        value=float(found["value"]),
        unit=found["unit"],
        seed=int(found["seed"]),
        minutes=float(found["minutes"]),
        backend=found["backend"],
    )

"""What a suite says of one case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """What one case gave.  ``value`` is the worst error in units of what is allowed; good is at most 1.

    Suites that measure something else say so by ``metric``, and whether ``better`` is "lower" or "higher".
    """

    name: str
    value: float
    seconds: float
    peak_bytes: int
    detail: str = ""
    threshold: float = 1.0
    metric: str = "error / allowed"
    better: str = "lower"

    @property
    def passed(self) -> bool:
        return self.value >= self.threshold if self.better == "higher" else self.value <= self.threshold

    def json(self) -> dict[str, Any]:
        """The entry of ``verify --json``."""
        return {
            "name": self.name, "metric": self.metric, "value": self.value, "threshold": self.threshold,
            "better": self.better, "seconds": self.seconds, "peak_bytes": self.peak_bytes,
            "passed": self.passed,
        }  # fmt: skip


def summary(results: Sequence[Result]) -> str:
    """Lines for people: the failures, then the counts."""
    bad = [f"{r.name}: {r.value:.3g} of what is allowed ({r.detail})" for r in results if not r.passed]
    worst = max((r.value for r in results if r.passed), default=0.0)
    return "\n".join([*bad, f"{len(results) - len(bad)} of {len(results)} passed, worst {worst:.3g}"])

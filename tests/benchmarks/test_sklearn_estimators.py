"""What the benchmark of estimators makes of its rounds."""

from __future__ import annotations

from benchmarks.sklearn_estimators import Round, line, passes, summary


def cross_validation(seconds: float, accuracy: float) -> Round:
    return {"seconds": seconds, "processor": seconds / 2, "accuracy": accuracy}


def rounds(accuracy: float) -> list[dict[str, Round]]:
    return [
        {"cortex": cross_validation(ours, accuracy), "sklearn": cross_validation(theirs, 0.9)}
        for ours, theirs in ((1.0, 2.0), (1.0, 3.5), (2.0, 8.0))
    ]


def test_a_ratio_is_the_median_of_those_of_each_round() -> None:
    told = summary(rounds(0.9))
    assert told["seconds_ratio"] == told["processor_ratio"] == 3.5
    assert (told["cortex"]["seconds"], told["sklearn"]["seconds"]) == (1.0, 3.5)


def test_less_accuracy_does_not_pass() -> None:
    assert passes(summary(rounds(0.9)))
    assert not passes(summary(rounds(0.8999)))
    assert not passes({**summary(rounds(0.95)), "seconds_ratio": 2.9})


def test_the_line_for_people() -> None:
    row = {"name": "wine", **summary(rounds(0.95)), "first": summary(rounds(0.9)[:1])}
    assert "3.5 times as fast" in line(row)
    assert "2.0 in the first round" in line(row)

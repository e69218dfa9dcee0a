"""Networks with one score: two classes, or a number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DataError
from cortex_core.network import Network, network
from cortex_core.training.source import Arrays
from cortex_datasets.source import ArraySource
from cortex_viz.learned.examples import class_names, class_of, is_single, predicted, titles_of
from cortex_viz.learned.gradcam import gradcam_of
from cortex_viz.learned.saliency import saliency_of
from tests.viz.learned.networks import IMAGES, classifier, source

BRIGHT = np.stack([np.full((4, 4, 1), 0.9), np.full((4, 4, 1), 0.1)]).astype(np.float32)


def of_one(loss: str, **options: bool) -> Network:
    """The score is the mean of the pixels - 0.5."""
    layers: list[Any] = [
        {"relu": {"id": "maps"}},
        "flatten",
        {"dense": {"units": 1, "id": "y"}},
    ]
    made = network(
        {
            "name": "one",
            "inputs": {"x": [4, 4, 1]},
            "layers": layers,
            "loss": {loss: {"of": "y", "target": "t", **options}},
        }
    )
    made.parameters["y/kernel"] = np.full((16, 1), 1 / 16)
    made.parameters["y/bias"] = np.full(1, -0.5)
    return made


def test_one_probability_is_of_two_classes() -> None:
    made = of_one("binary_cross_entropy", from_logits=True)
    labels = np.array([[1.0], [0.0]], np.float32)
    assert is_single(made)
    names = class_names(made, Arrays({"x": BRIGHT, "t": labels}))
    assert names == ["0", "1"]
    assert predicted(made, {"x": BRIGHT}, names) == ([1, 0], ["1", "0"])
    assert class_of(names, "1") == 1
    told = class_names(made, ArraySource({"x": BRIGHT, "t": labels}, {"t": ("dark", "bright")}))
    assert predicted(made, {"x": BRIGHT}, told)[1] == ["bright", "dark"]


def test_titles_say_true_and_predicted_class_and_the_score_looked_at() -> None:
    made, labels = of_one("binary_cross_entropy", from_logits=True), np.array([[1.0], [1.0]], np.float32)
    known = ArraySource({"x": BRIGHT, "t": labels}, {"t": ("dark", "bright")})
    # The score is the mean of the picture - 0.5, and its negative for the first class.
    means = BRIGHT.reshape(2, -1).mean(axis=1) - 0.5
    assert titles_of(made, known, [0, 1], {"x": BRIGHT}, [1, 0]) == [
        f"example 0\ntrue bright\npredicted bright\nscore {means[0]:.3g} of bright",
        f"example 1\ntrue bright\npredicted dark\nscore {-means[1]:.3g} of dark",
    ]
    alone = Arrays({"x": BRIGHT})
    assert titles_of(made, alone, [1], {"x": BRIGHT[1:]}, [1]) == [
        f"example 1\npredicted 0\nscore {means[1]:.3g} of 1"
    ]
    four = classifier(["flatten", {"dense": {"units": 4, "id": "out"}}])
    four.parameters["out/kernel"] = np.zeros((36, 4))
    four.parameters["out/bias"] = np.array([0.5, -2.0, 3.25, 1.0])
    found = titles_of(four, source(), [5], {"x": IMAGES[5:6]}, [1])
    assert found == ["example 5\ntrue 1\npredicted 2\nscore -2 of 1"]


def test_what_speaks_for_the_second_class_speaks_against_the_first() -> None:
    made = of_one("binary_cross_entropy", from_logits=True)
    x = {"x": BRIGHT}
    # d score / d map is 1/16 everywhere: Grad-CAM is max(0, +-pixel / 16)
    np.testing.assert_allclose(gradcam_of(made, x, classes=[1, 1]), BRIGHT[..., 0] / 16, rtol=1e-5)
    assert gradcam_of(made, x, classes=[0, 0]).max() == 0
    expected = np.stack([BRIGHT[0, ..., 0] / 16, np.zeros((4, 4))])  # predicted: bright, dark
    np.testing.assert_allclose(gradcam_of(made, x), expected, rtol=1e-5)
    np.testing.assert_allclose(saliency_of(made, x, [0, 1]), np.full((2, 4, 4), 1 / 16))
    with pytest.raises(DataError, match="expected 0 or 1 for each of 2 examples"):
        gradcam_of(made, x, classes=[2, 0])


def test_a_number_is_named_by_its_value() -> None:
    made = of_one("mse")
    assert not is_single(made)
    names = class_names(made, Arrays({"x": BRIGHT, "t": np.zeros((2, 1))}))
    assert predicted(made, {"x": BRIGHT}, names) == ([0, 0], ["0.4", "-0.4"])
    assert (gradcam_of(made, {"x": BRIGHT}) > 0).all()

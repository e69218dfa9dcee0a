"""The registry: classes whose fields are the fields of descriptions."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.backends import get
from cortex_compute.errors import SpecError
from cortex_core.initializers import Constant
from cortex_core.layers.activations import LeakyRelu, Relu
from cortex_core.layers.conv import Conv1D, Conv2D
from cortex_core.layers.dense import Dense
from cortex_core.layers.pool import MaxPool2D
from cortex_core.registry import (
    INITIALIZERS,
    LAYERS,
    LOSSES,
    METRICS,
    OPTIMIZERS,
    SCHEDULES,
    Registry,
    data_of,
    field,
    fields_of,
    layer,
    loss,
    metric,
    named_data,
    nearest,
    split,
)
from cortex_core.registry.named import load_plugins
from cortex_core.spec import read
from cortex_core.spec.schema import schema
from cortex_core.verify import gradients

REGISTRIES = (LAYERS, LOSSES, METRICS, OPTIMIZERS, SCHEDULES, INITIALIZERS)
EVERYTHING = [cls for registry in REGISTRIES for cls in registry.values()]

NAMES = [
    "dense",
    "conv1d",
    "conv2d",
    "max_pool1d",
    "max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "global_avg_pool1d",
    "global_avg_pool2d",
    "global_max_pool1d",
    "global_max_pool2d",
    "flatten",
    "reshape",
    "permute",
    "add",
    "multiply",
    "concatenate",
    "batch_norm",
    "layer_norm",
    "dropout",
    "embedding",
    "linear",
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "gelu_tanh",
    "silu",
    "sigmoid",
    "tanh",
    "softplus",
    "softsign",
    "softmax",
    "log_softmax",
    "hard_sigmoid",
    "hard_swish",
    "mish",
    "exponential",
]


def test_the_names_of_the_interface_are_there() -> None:
    assert set(NAMES) <= set(LAYERS)
    assert {"softmax_cross_entropy", "binary_cross_entropy", "mse", "mae"} <= set(LOSSES)
    assert {
        "sgd",
        "adam",
        "adamw",
        "rmsprop",
        "adagrad",
        "adadelta",
        "radam",
        "lion",
        "adamax",
        "nadam",
    } <= set(OPTIMIZERS)
    assert {"constant", "step", "exponential", "cosine", "reduce_on_plateau"} <= set(SCHEDULES)
    assert {"auto", "orthogonal", "he_normal", "glorot_uniform"} <= set(INITIALIZERS)


@pytest.mark.parametrize("cls", EVERYTHING, ids=lambda cls: f"{cls.__name__}")
def test_each_class_is_documented_and_its_main_field_exists(cls: Any) -> None:
    assert inspect.getdoc(cls)
    known = fields_of(cls)
    assert all(known_field.doc for known_field in known.values())
    assert cls.main is None or cls.main in known or cls in LOSSES.values()


def test_an_instance_is_a_frozen_dataclass() -> None:
    made = Dense(units=3)
    assert dataclasses.is_dataclass(made)
    assert [f.name for f in dataclasses.fields(made)][:2] == ["units", "activation"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.units = 4
    with pytest.raises(dataclasses.FrozenInstanceError):
        del made.units
    assert dataclasses.replace(made, units=5) == Dense(units=5)
    assert made == Dense(units=3) != Dense(units=4)
    assert len({made, Dense(units=3), Dense(units=4)}) == 2
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made
    assert repr(Constant(value=2)) == "Constant(value=2.0)"


def test_values_take_their_canonical_form() -> None:
    made = Conv2D(filters=np.int64(8), kernel=3, padding=1, activation={"leaky_relu": 0.2})
    assert (made.kernel, made.stride, made.padding) == ((3, 3), (1, 1), ((1, 1), (1, 1)))
    assert made.activation == LeakyRelu(slope=0.2)
    assert type(made.filters) is int
    assert Conv1D(filters=1, kernel=3).kernel == (3,)
    assert MaxPool2D(size=[2, 3]).stride == (2, 3)
    assert MaxPool2D(size=2, padding=0) == MaxPool2D(size=2, padding="valid")
    assert Dense(units=1, activation=Relu()) == Dense(units=1, activation="relu")


def test_data_reads_back() -> None:
    made = Conv2D(filters=8, kernel=3, padding=1, activation={"leaky_relu": 0.2})
    assert Conv2D(**data_of(made)) == made
    assert named_data(Relu()) == "relu"
    assert named_data(LeakyRelu(slope=0.2)) == {"leaky_relu": {"slope": 0.2}}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(units=0), r"Dense.units: 0 is too small: expected a whole number, at least 1"),
        (lambda: Dense(), r"Dense: 'units' is missing: expected a whole number"),
        (lambda: Dense(units=True), r"Dense.units: true is a truth value"),
        (lambda: Dense(units=2, activation="rleu"), r"unknown activation 'rleu'. Did you mean 'relu'\?"),
        (lambda: Constant(value=float("nan")), r"Constant.value: nan is not finite"),
        (lambda: Constant(value=10**400), r"Constant.value: inf is not finite"),
        (lambda: Dense(units=2**63), r"Dense.units: 9223372036854775808 is too large"),
    ],
)
def test_wrong_values_are_spec_errors(make: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()


def test_an_unknown_keyword_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"Dense has no field 'unit'. Did you mean 'units'\?"):
        Dense(unit=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Dense(3)  # type: ignore[misc]


def test_a_name_is_given_once() -> None:
    registry = Registry("thing")
    registry.add("a", int)
    registry.add("a", int)
    with pytest.raises(SpecError, match=r"thing 'a' is already registered, by builtins\.int"):
        registry.add("a", float)


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (
            lambda: layer("idle")(type("Idle", (), {})),
            r"layer 'idle': the class Idle has no method forward\(self, p",
        ),
        (
            lambda: loss("idle")(type("Idle", (), {})),
            r"loss 'idle': .* has no method per_sample\(self, x, target",
        ),
        (lambda: metric("idle")(type("Idle", (), {})), r"metric 'idle': .* has no method sums\("),
        (
            lambda: split("idle")(type("Idle", (), {"divide": print})),
            r"split 'idle': .* has no method folds\(self, rows, k, column",
        ),
    ],
)
def test_a_class_that_cannot_do_its_work(register: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        register()
    assert "idle" not in {**LAYERS, **LOSSES, **METRICS}


MSE = """\
import cortex

@cortex.loss("mse")
class Mine:
    def per_sample(self, x, target):
        return x, None
"""


def test_the_owner_of_a_name_is_named_also_where_it_is_not_loaded_yet(tmp_path: Path) -> None:
    """In a fresh process, for here all names are loaded."""
    (tmp_path / "mine.py").write_text(MSE)
    done = subprocess.run(
        [sys.executable, "-m", "cortex", "--use", "mine.py", "backends"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    owner = "cortex_core.losses.distance.MeanSquaredError"
    assert done.stderr == f"mine.py:3: loss 'mse' is already registered, by {owner}: choose another name\n"
    assert done.returncode == 2


def test_a_name_that_is_no_python_name() -> None:
    @layer("test_only_layer")
    class Sequence:
        """For this test."""

        returns: str = field(default="last", choices=("last", "both"), name="return")

        def forward(self, p: Any, x: Any) -> Any:
            return x

    try:
        assert Sequence(returns="both").returns == "both"
        assert data_of(Sequence()) == {"return": "last"}
        with pytest.raises(
            SpecError, match=r"Sequence.return: 'bth' is text: expected last or both. Did you mean"
        ):
            Sequence(returns="bth")
    finally:
        LAYERS._classes.pop("test_only_layer")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Conv2D", "conv2d"),
        ("MaxPool2d", "max_pool2d"),
        ("LeakyReLU", "leaky_relu"),
        ("fc", "dense"),
        ("BatchNormalization", "batch_norm"),
        ("swish", "silu"),
        ("drpout", "dropout"),
        ("Conv1DTranspose", "conv_transpose1d"),
        ("deconv2d", "conv_transpose2d"),
        ("DepthwiseConv2D", "depthwise_conv2d"),
        ("ZeroPad2d", "padding2d"),
        ("ZeroPadding1D", "padding1d"),
        ("RepeatVector", "repeat_vector"),
        ("pad", "padding2d"),
        ("Dropout2d", "spatial_dropout2d"),
        ("lrn", "local_response_normalization"),
        ("mul", "multiply"),
    ],
)
def test_the_name_that_was_meant(name: str, meant: str) -> None:
    assert nearest(name, LAYERS) == f"Did you mean '{meant}'?"
    assert nearest("quux", LAYERS) == ""
    assert nearest("bfgx", ["CG", "BFGS"]) == "Did you mean 'BFGS'?"  # capitals do not count


FOREIGN = """\
from cortex_core.registry import field, layer, loss

@layer("foreign_layer")
class Foreign:
    factor: float = field(doc="what x is multiplied with", above=1)

    def forward(self, p, x):
        return x * x * self.factor

@loss("foreign_loss")
class ForeignLoss:
    def per_sample(self, x, target):
        return (x[:, 0] - target[:, 1]) ** 2, None
"""


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_registry: None) -> Iterator[Path]:
    """The module of a package that is installed and names it under ``cortex.layers``."""
    module = tmp_path / "foreign_layers.py"
    module.write_text(FOREIGN)
    metadata = tmp_path / "foreign-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[cortex.layers]\nforeign = foreign_layers\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    load_plugins.cache_clear()
    yield module
    load_plugins.cache_clear()
    sys.modules.pop("foreign_layers", None)


@pytest.mark.usefixtures("foreign")
def test_layers_of_other_packages_are_found_when_a_name_is_unknown() -> None:
    read({"inputs": {"x": [3]}, "layers": ["relu"]})
    assert "foreign_layers" not in sys.modules
    description = read({"inputs": {"x": [3]}, "layers": [{"foreign_layer": {"factor": 3}}]})
    assert description.layers[0].layer.kind == "foreign_layer"


@pytest.mark.usefixtures("foreign")
def test_losses_of_other_packages_are_found_when_a_name_is_unknown() -> None:
    written = {"foreign_loss": {"of": "relu", "target": "t"}}
    description = read({"inputs": {"x": [3]}, "layers": ["relu"], "loss": written})
    assert description.losses[0].kind == "foreign_loss"


@pytest.mark.usefixtures("foreign")
def test_what_other_packages_bring_is_in_the_schema() -> None:
    made = json.dumps(schema())
    assert all(text in made for text in ("foreign_layer", "what x is multiplied with", "foreign_loss"))


@pytest.mark.usefixtures("foreign")
def test_what_other_packages_bring_is_in_the_gradient_suite() -> None:
    found = gradients.run(get("numpy"), "foreign_l")
    cases = {r.name.rpartition("/")[0] for r in found}
    assert cases == {"layer/foreign_layer/training", "layer/foreign_layer/prediction", "loss/foreign_loss"}
    assert [f"{r.name}: {r.detail}" for r in found if not r.passed] == []


def test_a_package_that_cannot_be_loaded_is_named(foreign: Path) -> None:
    foreign.write_text("import nothing_of_that_name\n")
    with pytest.raises(SpecError, match=r"the layers of 'foreign_layers' cannot be loaded: ModuleNotFound"):
        read({"inputs": {"x": [3]}, "layers": ["no_such_layer"]})

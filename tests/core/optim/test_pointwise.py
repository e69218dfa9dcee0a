"""Every pointwise optimiser against PyTorch's, one row for each set of options."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, CheckpointError, ShapeError
from cortex_core import optim
from cortex_core.nn import Linear, Sequential
from cortex_core.optim.pointwise import Pointwise
from cortex_core.registry import OPTIMIZERS
from cortex_core.tensor import Tensor

STEPS = 100
TABLE: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "dampening": 0.5, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01, "maximize": True, "weight_decay": 0.01}),
    ("Adam", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.1, "betas": (0.8, 0.7)}),
    ("AdamW", {"lr": 0.05, "amsgrad": True, "maximize": True, "betas": (0.8, 0.7)}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "betas": (0.5, 0.9)}),
    ("AdamW", {"lr": 0.05, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.02, "alpha": 0.9, "momentum": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.02, "centered": True}),
    ("RMSprop", {"lr": 0.02, "centered": True, "momentum": 0.5, "maximize": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.05, "weight_decay": 0.1, "eps": 1e-4}),
    ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.3, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.05, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.05, "betas": (0.8, 0.7), "eps": 1e-2, "weight_decay": 0.1}),
    ("Adamax", {"lr": 0.05, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1, "momentum_decay": 0.5}),
    ("NAdam", {"lr": 0.05, "maximize": True}),
]
WITH_LION = [*TABLE, ("Lion", {}), ("Lion", {"lr": 0.01, "weight_decay": 0.1, "maximize": True})]
row = pytest.mark.parametrize(("name", "options"), TABLE, ids=lambda x: x if isinstance(x, str) else "")
row_with_lion = pytest.mark.parametrize(("name", "options"), WITH_LION, ids=lambda x: str(x))
SHAPES = ((4, 3), (), (5,))


@pytest.fixture
def torch() -> Iterator[Any]:
    """PyTorch in float64, also for what it keeps beside the moments."""
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(before)


def starts(dtype: str = "float64") -> list[np.ndarray]:
    return [np.linspace(-1.5, 2.0, int(np.prod(s)), dtype=dtype).reshape(s) for s in SHAPES]


def gradient(p: np.ndarray, step: int) -> np.ndarray:
    """Some gradient that depends on the parameter and on the step."""
    return np.asarray(np.sin(3 * p + 0.7 * step) + 0.3 * p, p.dtype)


def parameters(dtype: str = "float64") -> list[Tensor]:
    return [Tensor(x, requires_grad=True) for x in starts(dtype)]


def give(params: list[Tensor], step: int) -> None:
    for p in params:
        p.grad = Tensor(gradient(p.numpy(), step))


def train(optimizer: Any, params: list[Tensor], steps: range) -> None:
    for step in steps:
        give(params, step)
        optimizer.step()


@pytest.mark.peers
@row
def test_a_hundred_steps_are_pytorchs(torch: Any, name: str, options: dict[str, Any]) -> None:
    ours, theirs = parameters(), [torch.nn.Parameter(torch.tensor(x)) for x in starts()]
    mine, other = getattr(optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for step in range(STEPS):
        for p, q in zip(ours, theirs):
            g = gradient(q.detach().numpy(), step)
            p.grad, q.grad = Tensor(g), torch.tensor(g)
        mine.step()
        other.step()
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-10, atol=1e-14)
    saved, known = mine.state_dict(), other.state_dict()
    assert [g["params"] for g in saved["param_groups"]] == [g["params"] for g in known["param_groups"]]
    for i, kept in known["state"].items():
        for key, value in kept.items():
            if value is not None:
                np.testing.assert_allclose(np.asarray(saved["state"][i][key]), value, rtol=1e-9, atol=1e-14)


@pytest.mark.peers
@row
def test_pytorchs_state_loads(torch: Any, name: str, options: dict[str, Any]) -> None:
    theirs = [torch.nn.Parameter(torch.tensor(x)) for x in starts()]
    other = getattr(torch.optim, name)(theirs, **options)
    for step in range(20):
        if step == 10:
            ours = [Tensor(q.detach().numpy().copy(), requires_grad=True) for q in theirs]
            mine = getattr(optim, name)(ours)
            mine.load_state_dict(other.state_dict())
        for q in theirs:
            q.grad = torch.tensor(gradient(q.detach().numpy(), step))
        if step >= 10:
            give(ours, step)
            mine.step()
        other.step()
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.peers
@row
def test_defaults_are_pytorchs(torch: Any, name: str, options: dict[str, Any]) -> None:
    mine = getattr(optim, name)(parameters()).defaults
    known = getattr(torch.optim, name)([torch.nn.Parameter(torch.zeros(1))]).defaults
    assert mine.pop("lazy", False) is False  # ours alone
    assert mine == {k: known[k] for k in mine}


@row_with_lion
def test_a_loaded_state_goes_on_with_the_same_bits(name: str, options: dict[str, Any]) -> None:
    through, params = parameters("float32"), parameters("float32")
    make = getattr(optim, name)
    train(make(through, **options), through, range(20))
    optimizer = make(params, **options)
    train(optimizer, params, range(10))
    saved = optimizer.state_dict()
    train(optimizer, params, range(3))  # what was saved is a copy
    resumed = [Tensor(p, requires_grad=True) for p in starts("float32")]
    train(make(resumed, **options), resumed, range(10))
    other = make(resumed, lr=7.0)
    other.load_state_dict(saved)
    train(other, resumed, range(10, 20))
    for p, q in zip(through, resumed):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


@row_with_lion
def test_parameters_are_written_in_their_own_memory(name: str, options: dict[str, Any]) -> None:
    arrays = starts()
    params = [Tensor(x, requires_grad=True) for x in arrays]
    optimizer = getattr(optim, name)(params, **options)
    train(optimizer, params, range(2))
    for p, array, start in zip(params, arrays, starts()):
        assert np.shares_memory(p.numpy(), array)
        assert not np.array_equal(array, start)
        assert p.is_leaf


def test_a_step_of_sgd_by_hand() -> None:
    p = Tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.SGD([p], lr=0.1, momentum=0.5)
    (p * p).sum().backward()
    optimizer.step()  # v = 2 p
    assert p.tolist() == pytest.approx([0.8, 1.6])
    optimizer.zero_grad()
    assert p.grad is None
    (p * p).sum().backward()
    optimizer.step()  # v = 0.5 (2, 4) + (1.6, 3.2)
    assert p.tolist() == pytest.approx([0.54, 1.08])


def test_a_parameter_without_gradient_stays_and_counts_no_step() -> None:
    p, q = (Tensor([1.0], requires_grad=True) for _ in range(2))
    optimizer = optim.Adam([p, q], lr=0.1)
    p.grad = Tensor([1.0])
    optimizer.step()
    assert q.item() == 1.0
    assert q not in optimizer.state
    q.grad = Tensor([1.0])
    optimizer.step()  # the first step of q is as long as the first of p was
    assert q.item() == pytest.approx(0.9)


def test_groups_have_their_own_options() -> None:
    p, q, r = (Tensor([1.0], requires_grad=True) for _ in range(3))
    optimizer = optim.SGD([{"params": [p]}, {"params": q, "lr": 0.5}], lr=0.1)
    optimizer.add_param_group({"params": [r], "lr": 0.25, "momentum": 0.9})
    for x in (p, q, r):
        x.grad = Tensor([1.0])
    optimizer.step()
    assert [p.item(), q.item(), r.item()] == pytest.approx([0.9, 0.5, 0.75])
    assert [g["momentum"] for g in optimizer.param_groups] == [0.0, 0.0, 0.9]


def test_parameters_may_be_named() -> None:
    module = Linear(2, 3)
    optimizer = optim.SGD(module.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["params"] == [module.weight, module.bias]
    assert optimizer.param_groups[0]["param_names"] == ("weight", "bias")
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.add_param_group({"params": [("scale", leaf())], "lr": 0.5})
    assert optimizer.state_dict()["param_groups"][1]["param_names"] == ("scale",)


def test_an_option_may_change_between_steps() -> None:
    p = Tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([p], lr=0.1)
    p.grad = Tensor([1.0])
    optimizer.step()
    optimizer.param_groups[0].update(lr=0.2, momentum=0.9)
    optimizer.step()
    assert p.item() == pytest.approx(0.7)
    assert "momentum_buffer" in optimizer.state[p]


def test_new_memory_and_new_state_are_seen() -> None:
    p = Tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
    p.grad = Tensor([1.0])
    optimizer.step()
    p.data = np.array([5.0], np.float32)
    optimizer.state[p]["momentum_buffer"] = Tensor([10.0])
    optimizer.step()  # v = 9 + 1
    assert p.item() == pytest.approx(4.0)


def test_moments_follow_a_module_to_its_new_data_type() -> None:
    module = Linear(1, 1, bias=False)
    module.load_state_dict({"weight": np.ones((1, 1))})
    optimizer = optim.SGD(module.parameters(), lr=1.0, momentum=0.5)
    for kind, wanted in [("float32", 0.0), ("float64", -1.5)]:  # 1 - 1, and 0 - (0.5 + 1)
        module.to(kind)
        optimizer.zero_grad()
        module(Tensor(np.ones((1, 1), kind))).sum().backward()
        optimizer.step()
        assert module.weight.item() == wanted
        assert str(optimizer.state[module.weight]["momentum_buffer"].dtype) == kind


def test_a_closure_is_evaluated_with_gradients_and_its_loss_returned() -> None:
    from cortex_core.modes import no_grad

    p = Tensor([3.0], requires_grad=True)
    optimizer = optim.SGD([p], lr=0.1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert p.item() == pytest.approx(2.4)


def test_zero_grad_to_zeros() -> None:
    p = Tensor([3.0], requires_grad=True)
    optimizer = optim.SGD([p])
    p.grad = Tensor([2.0])
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0]


def test_a_transposed_parameter_is_updated() -> None:
    array = np.arange(6.0).reshape(2, 3)
    p = Tensor(array.T, requires_grad=True)
    p.grad = Tensor(np.ones((3, 2)))
    optimizer = optim.SGD([p], lr=1.0, momentum=0.9)
    optimizer.step()
    np.testing.assert_array_equal(array, np.arange(6.0).reshape(2, 3) - 1)


def test_a_gradient_of_another_shape_is_refused() -> None:
    p = Tensor([1.0, 2.0], requires_grad=True)
    p.grad = Tensor([1.0])
    with pytest.raises(ShapeError, match=r"float32\[2\] is float32\[1\]"):
        optim.SGD([p]).step()


def leaf() -> Tensor:
    return Tensor([1.0], requires_grad=True)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: optim.SGD([]), ArgumentError, "empty.*list of it"),
        (lambda: optim.SGD(leaf()), TypeError, "expected a list"),
        (lambda: optim.SGD({leaf()}), TypeError, "set"),
        (lambda: optim.SGD([("weight", leaf()), leaf()]), TypeError, "parameter 0 is a tuple"),
        (
            lambda: optim.SGD(Sequential(Linear(2, 3))),
            TypeError,
            r"such as model\.parameters",
        ),
        (lambda: optim.SGD([leaf() * 2]), ArgumentError, "computed.*leaf"),
        (lambda: optim.SGD([Tensor([1])]), ArgumentError, "int64.*expected float16"),
        (lambda: optim.SGD([leaf()], lr=-0.1), ArgumentError, "lr is -0.1, expected.*0 or more"),
        (lambda: optim.SGD([leaf()], lr="fast"), ArgumentError, "lr is 'fast'"),
        (lambda: optim.SGD([leaf()], lr=float("nan")), ArgumentError, "lr is nan"),
        (lambda: optim.SGD([leaf()], momentum=1.5), ArgumentError, "momentum.*1.5.*below 1"),
        (lambda: optim.SGD([leaf()], nesterov=True), ArgumentError, "momentum above 0"),
        (lambda: optim.Adam([leaf()], betas=(0.9,)), ArgumentError, "betas.*two numbers"),
        (lambda: optim.Adam([leaf()], betas=(0.9, 1.0)), ArgumentError, "beta2"),
        (lambda: optim.RAdam([leaf()], amsgrad=True), TypeError, "amsgrad"),
        (lambda: optim.NAdam([leaf()], decoupled_weight_decay=True), TypeError, "decoupled_weight_decay"),
        (lambda: optim.NAdam([leaf()], momentum_decay=-1), ArgumentError, "momentum_decay.*-1"),
        (lambda: optim.Adamax([leaf()], eps=0), ArgumentError, "^Adamax: epsilon: 0.*above 0"),
        (lambda: optim.Adam([leaf()], fused=True), TypeError, "fused"),
        (lambda: optim.Adam([{"params": [leaf()], "learning_rate": 1}]), TypeError, "'learning_rate'"),
        (lambda: optim.Adam([{"weights": [leaf()]}]), TypeError, "'params'"),
        (lambda: optim.SGD([leaf()], step_size=1), TypeError, "step_size"),
    ],
)
def test_what_is_wrong_is_said(make: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make()


def test_a_parameter_belongs_to_one_group() -> None:
    p = leaf()
    with pytest.raises(ArgumentError, match="twice"):
        optim.SGD([p, p])
    optimizer = optim.SGD([p])
    with pytest.raises(ArgumentError, match="twice"):
        optimizer.add_param_group({"params": [p]})
    assert len(optimizer.param_groups) == 1


def test_loading_refuses_what_does_not_fit_and_changes_nothing() -> None:
    params = parameters()
    optimizer = optim.Adam(params, lr=0.1)
    train(optimizer, params, range(2))
    before = optimizer.state_dict()

    def changed(**changes: Any) -> dict[str, Any]:
        return {**copy.copy(before), **changes}

    wrong = {i: dict(kept) for i, kept in before["state"].items()}
    wrong[0]["exp_avg"] = Tensor(np.zeros((3, 4)))
    group = before["param_groups"][0]
    for state, match in [
        (changed(state=wrong), r"parameter 0: exp_avg has shape \(3, 4\), expected \(4, 3\)"),
        (changed(param_groups=[{**group, "params": [0, 1]}]), r"\[2\] parameters, this optimiser has \[3\]"),
        (changed(state={9: {}}), "state for 9"),
        (changed(state={0: {"step": 1, "momentum_buffer": params[0]}}), "momentum_buffer.*exp_avg"),
        (changed(param_groups=[{**group, "capturable": True}]), "no option 'capturable'"),
        (changed(param_groups=[{**group, "amsgrad": True}]), "the options need .*max_exp_avg_sq"),
    ]:
        with pytest.raises(CheckpointError, match=match):
            optimizer.load_state_dict(state)
    with pytest.raises(ArgumentError, match="lr is -1"):
        optimizer.load_state_dict(changed(param_groups=[{**group, "lr": -1}]))
    for i, p in enumerate(params):
        np.testing.assert_array_equal(
            optimizer.state[p]["exp_avg"].numpy(), before["state"][i]["exp_avg"].numpy()
        )
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.peers
def test_nadam_multiplies_the_momenta_that_a_schedule_gave(torch: Any) -> None:
    ours, theirs = parameters(), [torch.nn.Parameter(torch.tensor(x)) for x in starts()]
    both = optim.NAdam(ours), torch.optim.NAdam(theirs)
    schedules = optim.lr_scheduler.OneCycleLR, torch.optim.lr_scheduler.OneCycleLR
    rates = [schedule(optimizer, 0.1, total_steps=40) for schedule, optimizer in zip(schedules, both)]
    for step in range(30):
        for p, q in zip(ours, theirs):
            g = gradient(q.detach().numpy(), step)
            p.grad, q.grad = Tensor(g), torch.tensor(g)
        for optimizer, rate in zip(both, rates):
            optimizer.step()
            rate.step()
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-10, atol=1e-14)


def test_nadam_needs_the_product_of_its_momenta() -> None:
    params = parameters()
    optimizer = optim.NAdam(params)
    train(optimizer, params, range(3))
    state = optimizer.state_dict()
    del state["state"][1]["mu_product"]
    with pytest.raises(CheckpointError, match="parameter 1 has no mu_product"):
        optimizer.load_state_dict(state)


def test_every_formula_of_the_descriptions_has_its_class() -> None:
    classes = [getattr(optim, name) for name in optim.__all__]
    made = {x.formula.kind for x in classes if isinstance(x, type) and issubclass(x, Pointwise)}
    assert made == set(OPTIMIZERS)


def test_one_kernel_serves_all_options() -> None:
    rules = []
    for options in {"lr": 0.1}, {"lr": 0.2}, {"betas": (0.8, 0.99), "eps": 1e-4}:
        optimizer = optim.Adam([leaf()], **options)
        rules.append(optimizer.rule(optimizer.param_groups[0]))
    assert rules[0] is rules[1]
    assert rules[0].primitive is rules[2].primitive


def test_repr_lists_the_options() -> None:
    assert "Adam (" in repr(optim.Adam([leaf()]))
    assert "lr: 0.001" in repr(optim.Adam([leaf()]))

"""A step as a program: the numbers of the eager loop, in the module's and the optimiser's own memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import CortexError, DTypeError, ShapeError
from cortex_core import generator, nn, optim
from cortex_core.ops.pointwise import relu
from cortex_core.tensor import Tensor, no_grad
from cortex_core.traced_step import TracedStep, trace_step

Make = Callable[[Any], optim.Optimizer]

OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.05, momentum=0.9, weight_decay=1e-2, nesterov=True),
    "dampened": lambda p: optim.SGD(p, 0.05, momentum=0.9, dampening=0.5),
    "adam": lambda p: optim.Adam(p, 0.01),
    "adamw": lambda p: optim.AdamW(p, 0.01, maximize=True),
    "rmsprop": lambda p: optim.RMSprop(p, 0.01, momentum=0.5, centered=True),
    "adagrad": lambda p: optim.Adagrad(p, 0.05, lr_decay=0.1),
    "accumulator": lambda p: optim.Adagrad(p, 0.05, initial_accumulator_value=0.1),
    "adadelta": lambda p: optim.Adadelta(p, 0.5),
    "lion": lambda p: optim.Lion(p, 1e-3),
    "radam": lambda p: optim.RAdam(p, 0.01),
    "adamax": lambda p: optim.Adamax(p, 0.01),
    "nadam": lambda p: optim.NAdam(p, 0.01),
}
TOLERANCE = {"float64": 1e-10, "float32": 1e-4}


def mlp(dtype: str = "float64") -> nn.Module:
    generator.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8, dtype=dtype), nn.Tanh(), nn.Linear(8, 3, dtype=dtype))


def cnn(dtype: str = "float64") -> nn.Module:
    generator.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1, bias=False, dtype=dtype), nn.BatchNorm2d(4, dtype=dtype), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1, dtype=dtype), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(20, 3, dtype=dtype)),
    )


def batch(seed: int = 0, size: int = 12, image: bool = False, dtype: str = "float64") -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((size, 2, 8, 8) if image else (size, 6))
    return x.astype(dtype), generator.integers(0, 3, size)


def eager_step(module: Any, criterion: Any, optimizer: Any, x: Any, y: Any) -> float:
    optimizer.zero_grad()
    loss = criterion(module(Tensor(x)), Tensor(y))
    loss.backward()
    optimizer.step()
    return float(loss)


class Pair:
    """The same training twice: by the eager loop, and by a program."""

    def __init__(
        self,
        make: Callable[[str], nn.Module],
        optimizer: Make = OPTIMIZERS["adam"],
        dtype: str = "float64",
        **options: Any,
    ) -> None:
        self.criterion, self.dtype, self.image = nn.CrossEntropyLoss(), dtype, make is cnn
        self.eager, self.module = make(dtype), make(dtype)
        self.optimizers = optimizer(self.eager.parameters()), optimizer(self.module.parameters())
        self.traced = trace_step(self.module, self.criterion, self.optimizers[1], *self.batch(), **options)

    def batch(self, seed: int = 0, size: int = 12) -> tuple[Any, Any]:
        return batch(seed, size, self.image, self.dtype)

    def steps(self, count: int, size: int = 12, **options: Any) -> None:
        """So many steps of both, whose losses agree."""
        for seed in range(count):
            x, y = self.batch(seed, size)
            expected = eager_step(self.eager, self.criterion, self.optimizers[0], x, y)
            np.testing.assert_allclose(float(self.traced(x, y)), expected, rtol=TOLERANCE[self.dtype])

    def compare(self) -> None:
        """Parameters, buffers and the optimisers' states agree."""
        limit = TOLERANCE[self.dtype]
        expected = self.eager.state_dict()
        for name, tensor in self.module.state_dict().items():
            np.testing.assert_allclose(tensor.data, expected[name].data, limit, limit, err_msg=name)
        one, other = (o.state_dict()["state"] for o in self.optimizers)
        assert one.keys() == other.keys()
        for i, kept in one.items():
            assert kept.keys() == other[i].keys()
            for name, value in kept.items():
                np.testing.assert_allclose(other[i][name], value, limit, limit, err_msg=f"{name} of {i}")


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_each_optimiser_makes_the_steps_of_the_eager_loop(name: str, dtype: str) -> None:
    pair = Pair(mlp, OPTIMIZERS[name], dtype)
    start = pair.module[0].weight.data.copy()
    pair.steps(20)
    pair.compare()
    assert not np.allclose(pair.module[0].weight.data, start, atol=1e-3)


@pytest.mark.parametrize("backend", ["numpy", "auto"])
def test_a_convolutional_network(backend: str) -> None:
    pair = Pair(cnn, backend=backend)
    pair.steps(20)
    pair.compare()
    pair.module.eval()
    pair.eager.eval()
    x, _ = pair.batch(50)
    np.testing.assert_allclose(pair.module(Tensor(x)).data, pair.eager(Tensor(x)).data, rtol=1e-9)


def test_schedulers_and_eager_changes_in_between() -> None:
    pair = Pair(mlp, lambda p: optim.SGD(p, 0.1, momentum=0.9))
    schedulers = [optim.lr_scheduler.StepLR(o, 2, 0.5) for o in pair.optimizers]
    for _ in range(5):
        pair.steps(1)
        for scheduler in schedulers:
            scheduler.step()
    assert pair.optimizers[1].param_groups[0]["lr"] == pytest.approx(0.025)
    for module, optimizer in zip((pair.eager, pair.module), pair.optimizers):
        eager_step(module, pair.criterion, optimizer, *batch(7))
    pair.steps(2)
    programs = set()
    for momentum in (0.5, 0.6, 0.7, 0.0, 0.9):  # options are literals of the program, until one changes
        for optimizer in pair.optimizers:
            optimizer.param_groups[0]["momentum"] = momentum
        pair.steps(2)
        programs.add(pair.traced.compile(*batch()))
    assert len(programs) == 3  # of momentums, without one, and with one again
    for module in (pair.eager, pair.module):
        module[0].weight.data = np.full((8, 6), 0.1)
        with no_grad():
            module[2].weight.mul_(0.5)
    pair.steps(2)
    pair.compare()


def test_going_on_from_a_state() -> None:
    pair = Pair(mlp)
    pair.steps(3)
    weights, states = pair.module.state_dict(), [o.state_dict() for o in pair.optimizers]
    weights = {name: tensor.clone() for name, tensor in weights.items()}
    pair.steps(2)
    for module, optimizer, state in zip((pair.eager, pair.module), pair.optimizers, states):
        module.load_state_dict(weights)
        optimizer.load_state_dict(state)
    pair.steps(3)
    pair.compare()


def test_parameters_keep_their_identity_and_shape() -> None:
    module = cnn()
    before = list(module.parameters())
    shapes = [p.shape for p in before]
    step = trace_step(module, nn.CrossEntropyLoss(), optim.Adam(before), *batch(image=True))
    numbers = [p.numpy() for p in before]
    copies = [a.copy() for a in numbers]
    step(*batch(image=True))
    assert all(a is b for a, b in zip(module.parameters(), before))
    assert [p.shape for p in before] == shapes
    assert all(p.numpy() is a for p, a in zip(before, numbers))
    assert all((a != b).any() for a, b in zip(numbers, copies))
    assert all(p.grad is None for p in before)


def test_other_batch_sizes() -> None:
    pair = Pair(cnn)
    for size in (12, 5, 12, 7):
        pair.steps(1, size)
    pair.compare()


def test_groups_have_their_own_rates_and_frozen_parameters_stay() -> None:
    def groups(parameters: Any) -> optim.Optimizer:
        first, *rest = parameters
        return optim.SGD([{"params": [first], "lr": 0.5}, {"params": rest, "weight_decay": 0.1}], 0.01)

    def frozen(dtype: str) -> nn.Module:
        module = mlp(dtype)
        module[2].weight.requires_grad_(False)
        return module

    pair = Pair(frozen, groups)
    pair.steps(3)
    pair.compare()
    np.testing.assert_array_equal(pair.module[2].weight.data, mlp()[2].weight.data)
    for module in (pair.eager, pair.module):
        module[2].weight.requires_grad_(True)
    pair.steps(3)
    pair.compare()
    assert (pair.module[2].weight.data != mlp()[2].weight.data).all()


def test_two_types_in_one_group() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            generator.manual_seed(0)
            self.wide, self.narrow = nn.Linear(6, 4, dtype="float64"), nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            return self.narrow(self.wide(x).float())

    pair = Pair(lambda dtype: Mixed(), clip_norm=100.0)
    pair.dtype = "float64"
    x, y = batch()
    losses = [
        (eager_step(pair.eager, pair.criterion, pair.optimizers[0], x, y), float(pair.traced(x, y)))
        for _ in range(10)
    ]
    np.testing.assert_allclose(*np.transpose(losses), rtol=1e-4)


def test_clipping_is_that_of_clip_grad_norm() -> None:
    pair = Pair(mlp, OPTIMIZERS["sgd"], clip_norm=0.1)
    x, y = batch()
    for _ in range(3):
        pair.optimizers[0].zero_grad()
        pair.criterion(pair.eager(Tensor(x)), Tensor(y)).backward()
        norm = optim.clip_grad_norm_(pair.eager.parameters(), 0.1)
        assert float(norm) > 0.1
        pair.optimizers[0].step()
        pair.traced(x, y)
    pair.compare()


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    pair = Pair(cnn)
    pair.steps(2)
    before = {name: tensor.data.copy() for name, tensor in pair.module.state_dict().items()}
    x, y = pair.batch()
    x[0, 0, 0, 0] = np.nan
    assert np.isnan(float(pair.traced(x, y)))
    assert pair.traced.skipped == 1
    for name, tensor in pair.module.state_dict().items():
        np.testing.assert_array_equal(tensor.data, before[name], err_msg=name)
    pair.steps(2)
    pair.compare()


def test_shared_modules_get_the_sum_of_their_gradients() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            generator.manual_seed(0)
            self.a, self.b = nn.Linear(6, 6, dtype="float64"), nn.Linear(6, 6, dtype="float64")
            self.b.weight = self.a.weight
            self.out = nn.Linear(6, 3, dtype="float64")

        def forward(self, x: Any) -> Any:
            return self.out(relu(self.b(relu(self.a(relu(self.a(x)))))))

    pair = Pair(lambda dtype: Twice())
    pair.steps(5)
    pair.compare()


def test_detached_values_and_no_grad_stop_gradients() -> None:
    class Stopped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            generator.manual_seed(0)
            self.a, self.b, self.c = (nn.Linear(6, 6, dtype="float64") for _ in range(3))
            self.out = nn.Linear(6, 3, dtype="float64")

        def forward(self, x: Any) -> Any:
            with no_grad():
                y = self.b(x)
            return self.out(self.a(x).tanh() * y + self.c(x).detach())

    pair = Pair(lambda dtype: Stopped(), lambda p: optim.SGD(p, 0.1, weight_decay=0.1))
    pair.steps(5)
    for layer in ("b", "c"):  # not even their decay moves them
        np.testing.assert_array_equal(
            getattr(pair.module, layer).weight.data, getattr(Stopped(), layer).weight.data
        )


def test_dropout_draws_anew_in_each_step() -> None:
    module = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 3, dtype="float64"))
    step = trace_step(module, nn.CrossEntropyLoss(), optim.SGD(module.parameters(), 0.0), *batch())
    generator.manual_seed(3)
    losses = [float(step(*batch())) for _ in range(5)]
    assert len(set(losses)) == 5
    generator.manual_seed(3)
    assert [float(step(*batch())) for _ in range(5)] == losses


def test_several_inputs_and_parameters_of_the_criterion() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(np.ones(6))

        def forward(self, a: Any, b: Any) -> Any:
            return {"sum": (a + b["x"]) * self.scale}

    offset = nn.Parameter(np.zeros(6))

    def criterion(out: Any, target: Any) -> Any:
        return ((out["sum"] - target[0] - offset) ** 2).mean()

    module = Two()
    x, _ = batch()
    step = trace_step(module, criterion, optim.SGD([module.scale, offset], 0.5), (x, {"x": x}), [3 * x + 1])
    losses = [float(step((x, {"x": x}), [3 * x + 1])) for _ in range(200)]
    assert losses[-1] < 1e-6
    np.testing.assert_allclose(module.scale.data, 1.5, atol=1e-2)
    np.testing.assert_allclose(offset.data, -1, atol=1e-2)


def test_two_steps_over_one_module_take_turns() -> None:
    pair = Pair(mlp)
    other = trace_step(pair.module, pair.criterion, optim.SGD(pair.module.parameters(), 0.1), *batch())
    plain = optim.SGD(pair.eager.parameters(), 0.1)
    for seed in range(3):
        pair.steps(1)
        x, y = batch(seed)
        eager_step(pair.eager, pair.criterion, plain, x, y)
        other(x, y)
    pair.compare()


def test_one_update_for_all_and_no_copies_of_weights() -> None:
    module = cnn("float32")
    step = trace_step(
        module, nn.CrossEntropyLoss(), optim.Adam(module.parameters()), *batch(image=True, dtype="float32")
    )
    plan = step.compile(*batch(image=True, dtype="float32")).plan
    updates = [i for i in plan.instructions if any(x.buffer.startswith("state:group") for x in i.outputs)]
    assert len(updates) == 1
    for instruction in plan.instructions:
        for x in instruction.inputs:
            assert x is None or not x.buffer.startswith("state") or x.strides is None, str(instruction)


def test_what_cannot_be_a_step_is_refused() -> None:
    module, data = mlp(), batch()
    adam = optim.Adam(module.parameters())
    with pytest.raises(CortexError, match="LBFGS does not update each number by itself"):
        trace_step(module, nn.CrossEntropyLoss(), optim.LBFGS(module.parameters()), *data)
    with pytest.raises(ShapeError, match=r"the criterion gave float64\[12\], expected one number"):
        trace_step(module, nn.CrossEntropyLoss(reduction="none"), adam, *data)
    with pytest.raises(CortexError, match="depends on no parameter"):
        trace_step(module, nn.CrossEntropyLoss(), optim.SGD(mlp().parameters(), 0.1), *data)
    step = trace_step(module, nn.CrossEntropyLoss(), adam, *data)
    with pytest.raises(DTypeError, match="was float64"):
        step(data[0].astype(np.float32), data[1])
    assert isinstance(step, TracedStep)


def test_a_momentum_that_changes_at_every_step_needs_no_new_program() -> None:
    pair = Pair(mlp, lambda p: optim.Adam(p, 0.01))
    cycles = [optim.lr_scheduler.OneCycleLR(o, 0.05, total_steps=8) for o in pair.optimizers]
    pair.steps(1)
    program = pair.traced.compile(*pair.batch())
    for _ in range(6):
        for cycle in cycles:
            cycle.step()
        pair.steps(1)
        assert pair.traced.compile(*pair.batch()) is program
    pair.compare()


def test_an_embedding() -> None:
    """Eager gradients of gathered rows are rows; the program's are dense, and the same."""

    def model() -> nn.Module:
        generator.manual_seed(0)
        embedding = nn.Embedding(20, 4, dtype="float64")
        return nn.Sequential(embedding, nn.Flatten(), nn.Linear(12, 3, dtype="float64"))

    eager, module, criterion = model(), model(), nn.CrossEntropyLoss()
    one, other = optim.Adam(eager.parameters(), 0.01), optim.Adam(module.parameters(), 0.01)
    numbers = np.random.default_rng(0)
    words, labels = numbers.integers(0, 20, (6, 4, 3)), numbers.integers(0, 3, (6, 4))
    step = trace_step(module, criterion, other, words[0], labels[0])
    for x, y in zip(words, labels):
        assert float(step(x, y)) == pytest.approx(eager_step(eager, criterion, one, x, y), rel=1e-12)
    np.testing.assert_allclose(module[0].weight.data, eager[0].weight.data, rtol=1e-10)


@pytest.mark.peers
def test_a_curve_is_that_of_pytorch() -> None:
    import torch

    module = cnn()
    layers = [
        *(torch.nn.Conv2d(2, 4, 3, padding=1, bias=False), torch.nn.BatchNorm2d(4), torch.nn.ReLU()),
        *(torch.nn.MaxPool2d(2), torch.nn.Conv2d(4, 5, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)),
        *(torch.nn.Flatten(), torch.nn.Linear(20, 3)),
    ]
    peer = torch.nn.Sequential(*layers).double()
    peer.load_state_dict({n: torch.tensor(t.data) for n, t in module.state_dict().items()})
    theirs = torch.optim.AdamW(peer.parameters(), 1e-3)
    ours = optim.AdamW(module.parameters(), 1e-3)
    step = trace_step(module, nn.CrossEntropyLoss(), ours, *batch(image=True))
    for seed in range(100):
        x, y = batch(seed, image=True)
        theirs.zero_grad()
        loss = torch.nn.functional.cross_entropy(peer(torch.tensor(x)), torch.tensor(y))
        loss.backward()
        theirs.step()
        assert float(step(x, y)) == pytest.approx(loss.item(), rel=1e-7)
    for name, tensor in peer.state_dict().items():
        np.testing.assert_allclose(module.state_dict()[name].data, tensor.numpy(), rtol=1e-6, atol=1e-9)


class Both(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Any) -> Any:
        return self.b(self.a(x).tanh())


def _swap_tensors(both: Both) -> None:
    both.a.weight, both.b.weight = both.b.weight, both.a.weight


def _swap_arrays(both: Both) -> None:
    both.a.weight.data, both.b.weight.data = both.b.weight.data, both.a.weight.data


def _swap_modules(both: Both) -> None:
    both.a, both.b = both.b, both.a


def _tie(both: Both) -> None:
    both.b.weight = both.a.weight


@pytest.mark.parametrize("change", [_swap_tensors, _swap_arrays, _swap_modules, _tie])
def test_parameters_that_change_places(change: Callable[[Both], None]) -> None:
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    traced = Both().double()
    eager = copy.deepcopy(traced)
    mine, other = (optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (traced, eager))
    step = trace_step(traced, nn.MSELoss(), mine, x, t)
    for i in range(6):
        if i == 3:
            change(traced)
            change(eager)
        step(x, t)
        other.zero_grad()
        nn.MSELoss()(eager(Tensor(x)), Tensor(t)).backward()
        other.step()
    for p, q in zip(traced.parameters(), eager.parameters()):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-9, atol=1e-12)


def test_hooks_on_gradients_are_refused() -> None:
    model = nn.Linear(2, 1)
    x, t = Tensor(np.ones((3, 2), np.float32)), Tensor(np.ones((3, 1), np.float32))
    step = trace_step(model, nn.MSELoss(), optim.SGD(model.parameters(), 0.1), x, t)
    handle = model.weight.register_hook(lambda g: g * 0)
    with pytest.raises(CortexError, match="a program calls no hooks on gradients"):
        step(x, t)
    handle.remove()
    step(x, t)
    model.register_full_backward_hook(lambda *_: None)
    with pytest.raises(CortexError, match="no hooks"):
        step(x, t)

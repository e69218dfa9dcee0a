"""Eager code as a program: the same numbers, over the module's own memory, however it changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import BackendError, DTypeError, GradientError, ShapeError
from cortex_core import generator, nn, optim
from cortex_core.ops.indexing import concatenate
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import exp, select, tanh
from cortex_core.ops.random import bernoulli
from cortex_core.ops.reduce import mean
from cortex_core.recording import fresh_key
from cortex_core.tensor import Tensor, no_grad
from cortex_core.tracing import trace
from cortex_core.transforms import grad


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def mlp(dtype: str = "float64") -> nn.Module:
    generator.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8, dtype=dtype), nn.Tanh(), nn.Linear(8, 3, dtype=dtype))


def cnn(dtype: str = "float64") -> nn.Module:
    generator.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1, dtype=dtype), nn.BatchNorm2d(4, dtype=dtype), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, stride=2, dtype=dtype), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(45, 3, dtype=dtype)),
    )


def assert_same(traced: Any, eager: Any, tolerance: float = 1e-12) -> None:
    """Both have the same structure and, to rounding, the same numbers."""
    if isinstance(eager, (tuple, list)):
        assert type(traced) is type(eager)
        assert len(traced) == len(eager)
        for a, b in zip(traced, eager):
            assert_same(a, b, tolerance)
    elif isinstance(eager, dict):
        assert list(traced) == list(eager)
        for name in eager:
            assert_same(traced[name], eager[name], tolerance)
    elif isinstance(eager, Tensor):
        assert isinstance(traced, Tensor)
        assert traced.operation in ("", "program")
        assert traced.type == eager.type
        np.testing.assert_allclose(traced.data, eager.data, rtol=tolerance, atol=tolerance)
    else:
        assert traced == eager


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "one": lambda x: tanh(x) * 2.0,
    "itself": lambda x: x,
    "tuple": lambda x: (x + 1.0, [x.sum(), 3, None]),
    "dict": lambda x: {"y": exp(x), "same": exp(x), "shape": x.shape},
    "view": lambda x: x.T,
    "constant": lambda x: x * np.arange(4.0) + Tensor(np.ones((3, 4))),
    "iadd": lambda x: _in_place(x),
    "rows": lambda x: [row * 2.0 for row in x],
    "select": lambda x: select(x > 0, x, -x),
    "types": lambda x: (x.float(), x.to("float32"), (x > 0).int(), x.detach(), x.clone()),
}


def _in_place(x: Any) -> Any:
    y = x * 2.0
    y += x
    return y


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("backend", ["numpy", "auto"])
def test_a_function_gives_what_it_gives_eagerly(name: str, backend: str) -> None:
    f, x = FUNCTIONS[name], numbers(3, 4)
    traced = trace(f, x, backend=backend)
    for seed in (0, 1):
        x = numbers(3, 4, seed=seed)
        assert_same(traced(x), f(Tensor(x)))
        assert_same(traced(Tensor(x)), f(Tensor(x)))


def test_arguments_may_be_nested_and_hold_numbers() -> None:
    def f(pair: Any, more: Any, scale: float) -> Any:
        return (pair[0] + more["b"]) * scale

    def arguments(scale: float) -> tuple[Any, ...]:
        return (numbers(2), Tensor(numbers(2))), {"b": numbers(2, seed=3)}, scale

    traced = trace(f, *arguments(2.0))
    for scale in (2.0, 3.0):  # a number is part of the program; another one makes another
        pair, more, _ = arguments(scale)
        np.testing.assert_array_equal(traced(pair, more, scale).data, (pair[0] + more["b"]) * scale)


@pytest.mark.parametrize("make", [mlp, cnn])
@pytest.mark.parametrize("training", [True, False])
def test_a_module_and_its_buffers(make: Callable[[], nn.Module], training: bool) -> None:
    eager, module = make().train(training), make().train(training)
    shape = (5, 6) if make is mlp else (5, 2, 14, 14)
    traced = trace(module, numbers(*shape))
    for seed in range(3):
        x = numbers(*shape, seed=seed)
        assert_same(traced(x), eager(Tensor(x)))
    for (name, a), (_, b) in zip(eager.named_buffers(), module.named_buffers()):
        np.testing.assert_allclose(b.data, a.data, rtol=1e-12, err_msg=name)
        assert type(b) is Tensor


def test_the_mode_is_that_of_the_module() -> None:
    module, x = cnn(), numbers(5, 2, 14, 14)
    traced = trace(module, x)
    traced(x)
    module.eval()
    assert_same(traced(x), module(Tensor(x)))


def test_changes_of_parameters_are_seen() -> None:
    module, x = mlp(), numbers(5, 6)
    traced = trace(module, x)
    other = nn.Sequential(nn.Linear(6, 8, dtype="float64"), nn.Tanh(), nn.Linear(8, 3, dtype="float64"))

    def descend() -> None:
        optimizer = optim.SGD(module.parameters(), 0.5)
        module(Tensor(x)).sum().backward()
        optimizer.step()

    def replace_data() -> None:
        module[0].weight.data = numbers(8, 6, seed=1)

    def replace_parameter() -> None:
        module[0].weight = nn.Parameter(numbers(8, 6, seed=2))

    def turn() -> None:  # another layout: the program is made anew
        module[0].weight.data = np.asfortranarray(numbers(8, 6, seed=3))

    def gaps() -> None:
        module[0].weight.data = numbers(8, 12, seed=3)[:, ::2]

    def replace_module() -> None:
        module[2] = nn.Linear(8, 3, dtype="float64")

    def write() -> None:
        module[0].weight.numpy()[...] = 0.5

    def load() -> None:
        module.load_state_dict(other.state_dict())

    before = traced(x).data
    for change in (descend, load, replace_data, write, turn, gaps, replace_parameter, replace_module):
        change()
        now = traced(x)
        assert_same(now, module(Tensor(x)))
        assert not np.allclose(now.data, before), change.__name__
        before = now.data


def test_buffers_that_eager_code_replaces_are_followed() -> None:
    module, eager, x = cnn(), cnn(), numbers(5, 2, 14, 14)
    traced = trace(module, x)
    for _ in range(2):
        assert_same(traced(x), eager(Tensor(x)))
        module(Tensor(x))
        eager(Tensor(x))
    for a, b in zip(eager.buffers(), module.buffers()):
        np.testing.assert_allclose(b.data, a.data, rtol=1e-12)


def test_shared_modules_and_tied_weights() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 4, dtype="float64"), nn.Linear(4, 4, dtype="float64")
            self.last.weight = self.first.weight

        def forward(self, x: Any) -> Any:
            return self.last(tanh(self.first(self.first(x))))

    module, x = Tied(), numbers(3, 4)
    traced = trace(module, x)
    module.first.weight.data[...] *= 2
    assert_same(traced(x), module(Tensor(x)))
    module.last.weight = nn.Parameter(numbers(4, 4, seed=5))  # not tied any more
    assert_same(traced(x), module(Tensor(x)))


def test_functions_know_modules_by_name() -> None:
    module, x = cnn(), numbers(5, 2, 14, 14)

    class Holder:
        def __init__(self) -> None:
            self.nets = [module]

        def method(self, x: Any) -> Any:
            return self.nets[0](x)

        __call__ = method

    for f in (lambda x: module(x), module.forward, Holder().method, Holder(), partial(_call, module)):
        eager = cnn()
        module.load_state_dict(eager.state_dict())
        assert_same(trace(f, x)(x), eager(Tensor(x)))
        np.testing.assert_allclose(module[1].running_mean.data, eager[1].running_mean.data, rtol=1e-12)


def test_a_module_that_the_trace_does_not_know_is_not_changed() -> None:
    holder = {"deep": [{"er": cnn()}]}
    with pytest.raises(TypeError, match="running_mean would become a symbolic value: the trace does not"):
        trace(lambda x: holder["deep"][0]["er"](x), numbers(5, 2, 14, 14))
    np.testing.assert_array_equal(holder["deep"][0]["er"][1].running_mean.data, 0.0)


def _call(module: nn.Module, x: Any) -> Any:
    return module(x)


def test_tensors_that_require_gradients_are_no_constants() -> None:
    w, fixed = Tensor(numbers(4, 4), requires_grad=True), Tensor(numbers(4))
    doubled = w * 2.0  # what was computed from one is computed by the program
    x = numbers(3, 4)
    traced = trace(lambda x: matmul(x, doubled) + w.sum() + fixed, x)
    expected = x @ (2 * w.data) + w.data.sum() + fixed.data
    np.testing.assert_allclose(traced(x).data, expected)
    w.data[...] = 1.0
    np.testing.assert_allclose(traced(x).data, x @ np.full((4, 4), 2.0) + 16 + fixed.data)


def test_what_was_computed_from_parameters_while_tracing_is_computed_by_the_program() -> None:
    w = Tensor(numbers(4), requires_grad=True)

    def f(x: Any) -> Any:
        for factor in range(2, 9):  # each product is gone before the next one comes
            x = x + w * factor
        return x

    x = numbers(4)
    traced = trace(f, x)
    w.data[...] = 1.0
    np.testing.assert_allclose(traced(x).data, x + sum(range(2, 9)))


def test_each_run_draws_anew_and_the_seed_decides() -> None:
    layer, x = nn.Dropout(0.25), np.ones((40, 50), np.float32)
    traced = trace(layer, x)
    generator.manual_seed(5)
    first, second = traced(x).data, traced(x).data
    assert (first != second).any()
    assert abs((first == 0).mean() - 0.25) < 0.05
    generator.manual_seed(5)
    np.testing.assert_array_equal(traced(x).data, first)
    layer.eval()
    np.testing.assert_array_equal(traced(x).data, x)


def test_two_draws_of_a_run_differ_and_are_those_of_their_key() -> None:
    def f(x: Any) -> Any:
        (key, first), (again, second) = generator.next_key(), generator.next_key()
        return bernoulli(key, 0.5, x.shape, first), bernoulli(again, 0.5, x.shape, second)

    x = np.zeros((100,))
    traced = trace(f, x)
    generator.manual_seed(1)
    key = fresh_key()
    generator.manual_seed(1)
    a, b = traced(x)
    assert (a.data != b.data).any()
    for mask, stream in ((a, 1), (b, 2)):
        np.testing.assert_array_equal(mask.data, bernoulli(Tensor(key), 0.5, (100,), stream).data)


def test_other_shapes_make_other_programs() -> None:
    module = mlp()
    traced = trace(module, numbers(2, 6))
    for _ in range(2):
        for batch in range(1, 12):  # more than are kept
            x = numbers(batch, 6)
            assert_same(traced(x), module(Tensor(x)))


def test_transposed_inputs_are_read_as_they_are() -> None:
    x = numbers(6, 5).T
    module = mlp()
    assert_same(trace(module, x)(x), module(Tensor(x)))


def test_channels_first_code_has_no_copies_between_kernels() -> None:
    generator.manual_seed(0)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: Any) -> Any:
            y = self.norm(self.a(x)).relu() + self.b(x)
            return mean(concatenate([y, x], 1) * 2.0, (2, 3))

    module, x = nn.Sequential(nn.Conv2d(2, 3, 3), Block()), numbers(2, 2, 8, 8).astype(np.float32)
    traced = trace(module, x)
    inputs = [x for i in traced.compile(x).program.plan.instructions for x in i.inputs if x is not None]
    strided = [x for x in inputs if x.strides is not None and not x.buffer.startswith("state")]
    assert strided == []
    assert_same(traced(x), module(Tensor(x)), 1e-5)


CONTROL_FLOW: dict[str, Callable[[Any], Any]] = {
    "if": lambda x: x if x.sum() > 0 else -x,
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x.sum()),
    "numpy": lambda x: x.numpy(),
    "asarray": lambda x: np.asarray(x),
    "range": lambda x: list(range(x.sum())),
}


@pytest.mark.parametrize("name", CONTROL_FLOW)
def test_numbers_are_refused_while_tracing(name: str) -> None:
    with pytest.raises(TypeError, match=r"has no number yet.*where\(condition, a, b\)"):
        trace(CONTROL_FLOW[name], numbers(3))


def test_changes_in_place_are_refused_while_tracing() -> None:
    def assigns(x: Any) -> Any:
        x[0] = 1.0
        return x

    with pytest.raises(TypeError, match=r"changed in place; instead of x\[i\] = v"):
        trace(assigns, numbers(3))
    with pytest.raises(AttributeError, match=r"changed in place; instead of x\.add_"):
        trace(lambda x: x.add_(1.0), numbers(3))
    with pytest.raises(AttributeError, match=r"no attribute 'backward'; differentiate with"):
        trace(lambda x: x.sum().backward(), numbers(3))


def test_a_failed_trace_leaves_the_module_as_it_was() -> None:
    module = cnn()
    before = dict(module.state_dict(keep_vars=True))
    with pytest.raises(ShapeError):
        trace(module, numbers(5, 3, 14, 14))
    after = module.state_dict(keep_vars=True)
    assert all(after[name] is tensor for name, tensor in before.items())
    assert_same(trace(module.eval(), numbers(5, 2, 14, 14))(numbers(5, 2, 14, 14)), module(numbers_tensor()))


def numbers_tensor() -> Tensor:
    return Tensor(numbers(5, 2, 14, 14))


def test_what_does_not_fit_is_named() -> None:
    traced = trace(mlp(), numbers(2, 6))
    with pytest.raises(DTypeError, match=r"array 0 of the arguments was float64 .* now it is float32"):
        traced(numbers(2, 6).astype(np.float32))
    with pytest.raises(BackendError):
        trace(mlp(), numbers(2, 6), backend="abacus")
    with pytest.raises(TypeError, match="inside another trace"):
        trace(lambda x: traced(x), numbers(2, 6))


def test_no_grad_around_a_trace_changes_nothing() -> None:
    module, x = mlp(), numbers(2, 6)
    with no_grad():
        traced = trace(module, x)
    module[0].weight.data[...] = 0.1
    assert_same(traced(x), module(Tensor(x)))


def test_a_graph_that_needs_what_a_run_has_overwritten_says_so() -> None:
    from cortex_compute.errors import GradientError

    module, x = nn.BatchNorm1d(3, affine=False, dtype="float64"), numbers(4, 3)
    w = Tensor(numbers(3), requires_grad=True)
    y = (w * module.running_mean).sum()
    trace(module, x)(x)
    with pytest.raises(GradientError):
        y.backward()


def test_a_module_in_the_place_of_another_is_seen() -> None:
    x = np.ones((2, 3), np.float32)
    model = nn.Sequential(nn.Linear(3, 2))
    traced = trace(model, x)
    for _ in range(10):  # the new one may lie where the old one lay
        del model._modules["0"]
        model._modules["0"] = nn.Linear(3, 2)
        np.testing.assert_allclose(traced(x).numpy(), model(Tensor(x)).numpy(), rtol=1e-6)


def test_a_parameter_that_a_module_gets_later_is_seen() -> None:
    x = np.ones((2, 3), np.float32)
    model = nn.Linear(3, 2, bias=False)
    traced = trace(model, x)
    model.bias = nn.Parameter(np.array([1.0, 2.0], np.float32))
    np.testing.assert_allclose(traced(x).numpy(), model(Tensor(x)).numpy(), rtol=1e-6)


def test_nothing_flows_through_a_program_in_silence() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    cubes = trace(lambda x: (x**3).sum(), x)
    with pytest.raises(GradientError, match=r"a program of cortex.trace gives no gradients"):
        grad(cubes)(x)
    with pytest.raises(GradientError, match="no gradients"):
        (cubes(x) + x.sum()).backward()
    model = nn.Linear(2, 2)
    body, head = trace(model, x.detach()), nn.Linear(2, 1)
    with pytest.raises(GradientError, match="no gradients"):
        head(body(x.detach())).sum().backward()
    with no_grad():
        features = body(x.detach())
    head(features).sum().backward()
    assert head.weight.grad is not None


def test_an_argument_that_cannot_be_compared_is_told() -> None:
    with pytest.raises(TypeError, match=r"an argument that is no array is part of the program.*'set'"):
        trace(lambda x, axes: x, np.ones(3), {1, 2})


def test_a_buffer_that_is_registered_while_tracing_is_refused() -> None:
    class Keeps(nn.Module):
        def forward(self, x: Any) -> Any:
            if "kept" not in self._buffers:
                self.register_buffer("kept", x.detach())
            return x + self.kept

    model = Keeps()
    with pytest.raises(TypeError, match="Keeps registers 'kept' while it is traced"):
        trace(model, Tensor([1.0]))
    assert model.state_dict() == {}

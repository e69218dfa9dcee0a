"""What a Module keeps and how it is walked, moved, saved, hooked and shown."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, CheckpointError, DTypeError, ShapeError
from cortex_core import nn
from cortex_core.nn.vector import parameters_to_vector, vector_to_parameters
from cortex_core.tensor import Tensor


def ones(*shape: int) -> Tensor:
    return Tensor(np.ones(shape, np.float32), requires_grad=True)


class Net(nn.Module):
    """Two layers that share a weight, a buffer, a list."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.second = nn.Linear(2, 2, bias=False)
        self.second.weight = self.first.weight
        self.rest = nn.ModuleList([nn.ReLU(), nn.Linear(2, 1)])
        self.register_buffer("scale", Tensor([2.0]))
        self.register_buffer("scratch", Tensor([0.0]), persistent=False)

    def forward(self, x: Any) -> Any:
        x = self.second(self.first(x)) * self.scale
        for layer in self.rest:
            x = layer(x)
        return x


def test_walks_see_everything_once() -> None:
    net = Net()
    assert [name for name, _ in net.named_parameters()] == [
        "first.weight", "first.bias", "rest.1.weight", "rest.1.bias",
    ]  # fmt: skip
    assert [name for name, _ in net.named_buffers()] == ["scale", "scratch"]
    assert [name for name, _ in net.named_modules()] == ["", "first", "second", "rest", "rest.0", "rest.1"]
    assert [name for name, _ in net.named_children()] == ["first", "second", "rest"]
    assert len(list(net.parameters())) == 4
    assert [type(m).__name__ for m in net.children()] == ["Linear", "Linear", "ModuleList"]


def test_a_state_has_both_names_of_a_shared_weight_and_no_transient_buffer() -> None:
    state = Net().state_dict()
    assert list(state) == [
        "scale", "first.weight", "first.bias", "second.weight", "rest.1.weight", "rest.1.bias",
    ]  # fmt: skip
    assert not any(tensor.requires_grad for tensor in state.values())


def test_a_state_goes_into_another_module() -> None:
    a, b = Net(), Net()
    weight = b.first.weight
    found = b.load_state_dict(a.state_dict())
    assert found == ([], [])
    assert b.first.weight is weight
    np.testing.assert_array_equal(a(ones(3, 2)).numpy(), b(ones(3, 2)).numpy())
    a.first.weight.detach().zero_()
    assert b.first.weight.numpy().any()


def test_a_state_that_does_not_fit_changes_nothing_and_every_fault_is_named() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    before = {k: v.numpy().copy() for k, v in net.state_dict().items()}
    state = {k: v.numpy() + 1 for k, v in net.state_dict().items()}
    del state["1.running_var"]
    state["0.weigth"] = np.zeros(2)
    state["0.bias"] = np.zeros((2, 2))
    with pytest.raises(CheckpointError) as caught:
        net.load_state_dict(state)
    message = str(caught.value)
    assert "missing: 1.running_var" in message
    assert "unexpected: 0.weigth" in message
    assert "0.bias is (2, 2) in the state, (3,) in the module" in message
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key])
    with pytest.raises(CheckpointError, match=r"0.bias is \(2, 2\)"):
        net.load_state_dict(state, strict=False)
    del state["0.bias"]
    found = net.load_state_dict(state, strict=False)
    assert found.missing_keys == ["0.bias", "1.running_var"]
    assert found.unexpected_keys == ["0.weigth"]
    np.testing.assert_array_equal(net[0].weight.numpy(), before["0.weight"] + 1)
    assert net[1].num_batches_tracked.item() == 1


def test_numbers_of_a_state_are_cast() -> None:
    layer = nn.Linear(1, 1)
    layer.load_state_dict({"weight": np.array([[0.1]]), "bias": np.array([3])})
    assert layer.weight.numpy() == np.float32(0.1)
    assert layer.bias.numpy().dtype == np.float32


ODD: dict[str, Any] = {
    "texts": (np.array(["a", "b"]), "bias holds <U1 that is no float32"),
    "complex": (np.array([1j, 2.0]), "bias holds complex128 that is no float32"),
    "objects": (np.array([1.0, None]), "bias holds object that is no float32"),
    "ragged": ([[1], [1, 2]], "bias is a list that is no array: "),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_number_changes_nothing(name: str) -> None:
    given, told = ODD[name]
    layer = nn.Linear(2, 2)
    before = layer.weight.numpy().copy()
    with pytest.raises(CheckpointError, match=f"nothing was loaded:\n  {told}"):
        layer.load_state_dict({"weight": np.zeros((2, 2)), "bias": given})
    np.testing.assert_array_equal(layer.weight.numpy(), before)


def test_a_count_that_is_no_whole_number_is_refused() -> None:
    norm = nn.BatchNorm1d(2)
    for count in (np.nan, 0.5, np.inf):
        with pytest.raises(CheckpointError, match="num_batches_tracked holds float64 that is no int64"):
            norm.load_state_dict({**norm.state_dict(), "num_batches_tracked": np.array(count)})
    norm.load_state_dict({**norm.state_dict(), "num_batches_tracked": np.array(3.0)})
    assert norm.num_batches_tracked.item() == 3


def test_a_name_that_is_no_text_is_unexpected() -> None:
    layer = nn.Linear(1, 1)
    with pytest.raises(CheckpointError, match=r"unexpected: 1$"):
        layer.load_state_dict({**layer.state_dict(), 1: np.zeros(1)})  # type: ignore[dict-item]


def test_what_cannot_be_read_changes_nothing() -> None:
    class Unreadable:
        shape = (1,)

        def __array__(self, *_: Any, **__: Any) -> Any:
            raise OSError("gone")

    layer = nn.Linear(1, 1)
    before = layer.weight.item()
    with pytest.raises(OSError, match="gone"):
        layer.load_state_dict({"weight": [[before + 1]], "bias": Unreadable()})
    assert layer.weight.item() == before
    layer.load_state_dict({"weight": [[7.0]], "bias": [1.0]})
    assert layer.weight.item() == 7


def test_another_data_type_keeps_the_parameters_themselves() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    parameters = list(net.parameters())
    net(ones(3, 2)).sum().backward()
    net.double()
    assert all(p is q for p, q in zip(parameters, net.parameters()))
    assert {p.dtype.name for p in net.parameters()} == {"float64"}
    assert net[0].weight.grad.dtype.name == "float64"
    assert net[1].running_mean.dtype.name == "float64"
    assert net[1].num_batches_tracked.dtype.name == "int64"
    net(Tensor(np.ones((3, 2)))).sum().backward()
    assert net.float()[0].weight.dtype.name == "float32"


def test_another_backend() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).to("numpy")
    assert {x.backend for x in net.state_dict().values()} == {"numpy"}
    assert net(Tensor(np.eye(2, dtype=np.float32)).to("numpy")).backend == "numpy"


def test_modes_freezing_and_forgetting() -> None:
    net = Net()
    net.eval()
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())
    net(ones(1, 2)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert not net.first.weight.grad.numpy().any()
    net.zero_grad()
    assert net.first.weight.grad is None
    net.requires_grad_(False)
    assert not net(Tensor([[1.0, 1.0]])).requires_grad


def test_apply_visits_the_inner_ones_first() -> None:
    seen: list[str] = []
    net = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU()))
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "ReLU", "Sequential", "Sequential"]


def test_attributes() -> None:
    net = Net()
    assert {"first", "scale", "parameters"} <= set(dir(net))
    assert {"weight", "bias"} <= set(dir(net.first))
    with pytest.raises(TypeError, match="is a Parameter; give another one or None, not a Tensor"):
        net.first.weight = Tensor([1.0])
    with pytest.raises(TypeError, match="first is a Module"):
        net.first = 3
    with pytest.raises(TypeError, match="scale is a Tensor"):
        net.scale = 3.0
    net.scale = Tensor([5.0])
    assert dict(net.named_buffers())["scale"].item() == 5
    with pytest.raises(AttributeError, match="Net has no attribute 'frist'"):
        net.frist  # noqa: B018
    with pytest.raises(KeyError, match="must not be empty or have a dot"):
        net.register_buffer("a.b", None)
    net.scale = nn.Parameter([1.0])
    assert "scale" in dict(net.named_parameters())
    assert "scale" not in dict(net.named_buffers())
    del net.scale
    assert not hasattr(net, "scale")


def test_a_module_without_its_base() -> None:
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"Forgetful: call super\(\).__init__\(\) before anything else"):
        Forgetful()


def test_a_module_without_forward() -> None:
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        nn.Module()(1)


def test_a_deep_copy_shares_nothing() -> None:
    net = Net()
    other = copy.deepcopy(net)
    assert other.second.weight is other.first.weight
    other.first.weight.detach().zero_()
    assert net.first.weight.numpy().any()


def test_forward_hooks() -> None:
    layer, seen = nn.Identity(), []
    first = layer.register_forward_pre_hook(lambda m, args: (args[0] * 2.0,))
    second = layer.register_forward_hook(lambda m, args, y: seen.append((args[0].item(), y.item())))
    third = layer.register_forward_hook(lambda m, args, y: y + 1.0)
    assert layer(Tensor([3.0])).item() == 7
    assert seen == [(6, 6)]
    third.remove()
    third.remove()
    assert layer(Tensor([3.0])).item() == 6
    second.remove()
    with first:
        pass
    assert layer(Tensor([3.0])).item() == 3
    assert len(seen) == 2


class Product(nn.Module):
    """Several inputs, several outputs."""

    def forward(self, a: Any, b: Any, unused: Any = None) -> Any:
        return a * b, a + 1.0


def test_backward_hooks_see_and_change_gradients() -> None:
    """With y = a b and z = a + 1:  d(y + 3 z) = (b + 3) da + a db"""
    module, seen = Product(), []

    def hook(m: Any, grad_input: Any, grad_output: Any) -> Any:
        seen.append((grad_input, grad_output))
        return (grad_input[0] * 10.0, *grad_input[1:])

    handle = module.register_full_backward_hook(hook)
    a, b = Tensor([2.0, 3.0], requires_grad=True), Tensor([[5.0, 7.0]], requires_grad=True)
    y, z = module(a, b, 4)
    (y.sum() + 3.0 * z.sum()).backward()
    (((da, db, none), (dy, dz)),) = seen
    assert none is None
    assert da.tolist() == [8, 10]
    assert db.tolist() == [[2, 3]]
    assert dy.tolist() == [[1, 1]]
    assert dz.tolist() == [3, 3]
    assert a.grad is not None
    assert a.grad.tolist() == [80, 100]
    handle.remove()
    module(a, b)[0].sum().backward()
    assert len(seen) == 1


def test_backward_hooks_without_gradients_of_inputs() -> None:
    layer, seen = nn.Linear(1, 1), []
    layer.register_full_backward_hook(lambda m, i, o: seen.append((i, o[0].item())))
    layer(Tensor([[3.0]])).sum().backward()
    assert seen == [((None,), 1.0)]
    assert layer.weight.grad is not None
    assert layer.weight.grad.item() == 3


def test_containers() -> None:
    a, b, c = nn.Linear(1, 1), nn.ReLU(), nn.Tanh()
    line = nn.Sequential({"a": a, "b": b})
    assert line.a is a
    assert line[-1] is b
    assert list(line[:1].named_children()) == [("a", a)]
    listed = nn.ModuleList([a, b])
    listed.insert(1, c)
    listed[0] = b
    assert list(listed) == [b, c, b]
    assert len(listed.append(a).extend([c])) == 5
    named = nn.ModuleDict({"x": a})
    named["y"] = b
    named.update({"z": c})
    assert list(named) == ["x", "y", "z"]
    assert "y" in named
    assert named.pop("y") is b
    del named["z"]
    assert list(named.items()) == [("x", a)]
    assert [n for n, _ in named.named_parameters()] == ["x.weight", "x.bias"]


def test_repr() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding="same", bias=False), nn.Sequential(nn.ReLU()))
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), padding='same', bias=False)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "  )\n"
        ")"
    )


def test_the_table_for_notebooks_counts_parameters() -> None:
    text = Net()._repr_html_()
    assert "<td>first</td><td>Linear(in_features=2, out_features=2, bias=True)</td><td>6</td>" in text
    assert "<td>9</td></tr></table>" in text


def test_parts_by_their_paths() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.BatchNorm1d(3)))
    assert model.get_submodule("1.0") is model[1][0]
    assert model.get_submodule("") is model
    assert model.get_parameter("0.weight") is model[0].weight
    assert model.get_buffer("1.0.running_mean") is model[1][0].running_mean
    with pytest.raises(AttributeError, match=r"no module '1\.2': there is no '2' in Sequential; known are 0"):
        model.get_submodule("1.2")
    with pytest.raises(AttributeError, match=r"no parameter '0\.wait'; known in Linear are weight, bias"):
        model.get_parameter("0.wait")
    model.register_module("last", nn.ReLU())
    assert isinstance(model.last, nn.ReLU)


def test_other_types_of_a_module() -> None:
    model = nn.Linear(2, 3)
    assert model.half().weight.numpy().dtype == np.float16
    assert model.cpu() is model


def test_a_list_of_parameters() -> None:
    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scales = nn.ParameterList([nn.Parameter(Tensor([1.0])), Tensor([2.0])])
            self.scales.append(nn.Parameter(Tensor([3.0])))

    model = Steps()
    assert [name for name, _ in model.named_parameters()] == ["scales.0", "scales.1", "scales.2"]
    assert [p.item() for p in model.scales] == [1.0, 2.0, 3.0]
    model.scales[-1] = Tensor([4.0])
    assert model.scales[2].item() == 4.0
    assert isinstance(model.scales[1], nn.Parameter)
    assert len(model.scales[:2]) == 2
    with pytest.raises(TypeError, match="needs a Parameter, not a list"):
        model.scales.append([1.0])


def test_an_embedding_of_known_vectors() -> None:
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    layer = nn.Embedding.from_pretrained(table, padding_idx=0)
    assert layer(Tensor(np.array([2, 0]))).tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert not layer.weight.requires_grad
    assert np.shares_memory(layer.weight.numpy(), table)
    assert nn.Embedding.from_pretrained(Tensor(table), freeze=False).weight.requires_grad
    with pytest.raises(ShapeError, match=r"needs \(n, units\)"):
        nn.Embedding.from_pretrained(table[0])


@pytest.mark.parametrize(
    ("make", "given", "told"),
    [
        (lambda: nn.Linear(3, 2), None, r"^Linear\(.*the input is None, expected a Tensor"),
        (
            lambda: nn.Linear(3, 2),
            [1.0, 2.0, 3.0],
            r"^Linear\(.*is a list, expected a Tensor; ",
        ),
        (lambda: nn.Sequential(nn.Flatten()), None, r"^Flatten\(.*the input is None"),
        (lambda: nn.Embedding(3, 2), [0, 1], r"^Embedding\(3, 2\): the input is a list"),
        (
            lambda: nn.Sequential(nn.ReLU(), nn.Linear(3, 2)),
            np.zeros((1, 3)),
            r"^Linear\(.*is float64, the parameters are float32; cast the input by \.float\(\), or the "
            r"model by \.double\(\)$",
        ),
        (
            lambda: nn.Conv2d(3, 2, 1).double(),
            np.zeros((1, 3, 2, 2), int),
            r"int64.* the input by \.double\(\)$",
        ),
        (lambda: nn.Embedding(3, 2), np.zeros(2), r"^Embedding\(3, 2\): the input is float64; needs whole"),
    ],
)
def test_a_layer_says_what_it_was_given(make: Any, given: Any, told: str) -> None:
    with pytest.raises(DTypeError, match=told):
        make()(given)


def test_an_error_inside_a_forward_stays() -> None:
    class Wrong(nn.Module):
        def forward(self, x: Any) -> Any:
            return x + self.missing.shape

    with pytest.raises(AttributeError, match="Wrong has no attribute 'missing'"):
        Wrong()(Tensor([1.0]))


@pytest.mark.parametrize("given", ["weights.safetensors", nn.Linear(2, 3)])
def test_a_state_is_a_dict(given: Any) -> None:
    with pytest.raises(DTypeError, match=r"expected a dict of Tensors: a file is read by load_safetensors"):
        nn.Linear(2, 3).load_state_dict(given)


def test_a_name_of_a_shared_parameter_and_counts_of_batches_may_be_missing() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[1].weight = model[0].weight
    state = {name: np.full(x.shape, 7.0) for name, x in model.state_dict().items()}
    del state["0.weight"], state["2.num_batches_tracked"]
    assert model.load_state_dict(state) == ([], [])
    assert model[0].weight.tolist() == [[7.0, 7.0], [7.0, 7.0]]
    assert model[2].num_batches_tracked.item() == 0
    del state["1.weight"]
    assert model.load_state_dict(state, strict=False) == (["0.weight", "1.weight"], [])


def test_parameters_as_one_vector_and_back() -> None:
    model = nn.Linear(2, 3)
    before = np.concatenate([p.numpy().ravel() for p in model.parameters()])
    vector = parameters_to_vector(model.parameters())
    np.testing.assert_array_equal(vector.numpy(), before)
    (vector * Tensor(np.arange(9, dtype=np.float32))).sum().backward()
    assert model.bias.grad.tolist() == [6.0, 7.0, 8.0]
    memory = model.weight.numpy()
    vector_to_parameters(Tensor(np.arange(9, dtype=np.float32)), model.parameters())
    assert memory.tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert model.bias.tolist() == [6.0, 7.0, 8.0]
    with pytest.raises(ShapeError, match=r"vec has shape \(8,\); the parameters need \(9,\)"):
        vector_to_parameters(Tensor(np.zeros(8)), model.parameters())


def test_arguments_that_do_not_mix_are_named() -> None:
    with pytest.raises(DTypeError, match=r"MSELoss\(\): the inputs are float32 and float64; cast one"):
        nn.MSELoss()(Tensor([1.0]), np.zeros(1))
    with pytest.raises(DTypeError, match=r"CrossEntropyLoss\(\): argument 2 is a list"):
        nn.CrossEntropyLoss()(Tensor([[1.0, 2.0]]), [1])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (nn.ReLU, r"not the class ReLU: write ReLU\(\.\.\.\)"),
        ([nn.ReLU()], "not a list: give its modules one by one"),
        (len, "functions are called in a forward"),
        (5, "needs a Module, not a int$"),
    ],
)
def test_what_is_no_module_is_said(given: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        nn.Sequential(nn.Linear(2, 2), given)


@pytest.mark.parametrize("make", [lambda: nn.Linear("2", 3), lambda: nn.Linear(2, -3)])
def test_sizes_are_whole_numbers(make: Any) -> None:
    with pytest.raises(ArgumentError, match="expected whole numbers of 0 or more"):
        make()


def test_a_copy_of_a_model_has_no_gradients() -> None:
    model = nn.Linear(2, 1)
    model(Tensor([1.0, 2.0])).sum().backward()
    made = copy.deepcopy(model)
    assert made.weight.grad is None
    assert isinstance(made.weight, nn.Parameter)
    assert model.weight.grad is not None

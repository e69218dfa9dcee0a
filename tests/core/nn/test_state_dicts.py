"""State of PyTorch's modules in safetensors files, there and back: names, shapes, numbers, outputs.

Files are written and read in two ways: by the few lines here, from the published format, and by the reference
implementation.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import CheckpointError
from cortex_core import nn
from cortex_core.exchange.safetensors import load_safetensors, save_safetensors
from cortex_core.tensor import Tensor, no_grad
from tests.core.nn.rows import LOSSES, MODULES, Row, inputs_of, row, square

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:Using padding='same'"),
    pytest.mark.filterwarnings("ignore:enable_nested_tensor"),
    pytest.mark.filterwarnings("ignore:LSTM with projections"),
]
State = dict[str, Any]
CODES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64"}


def write_plainly(state: State, path: Path) -> None:
    header: State = {}
    data = b""
    for name, x in state.items():
        code = next(code for code, dtype in CODES.items() if str(x.dtype) == f"torch.{dtype}")
        content = x.detach().reshape(-1).view(import_module("torch").uint8).numpy().tobytes()
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": code, "shape": list(x.shape), "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read_plainly(path: Path) -> State:
    torch, content = import_module("torch"), path.read_bytes()
    start = 8 + struct.unpack("<Q", content[:8])[0]
    state = {}
    for name, entry in json.loads(content[8:start]).items():
        begin, end = entry["data_offsets"]
        numbers = bytearray(content[start + begin : start + end])
        state[name] = torch.frombuffer(numbers, dtype=getattr(torch, CODES[entry["dtype"]]))
        state[name] = state[name].reshape(entry["shape"])
    return state


def reference() -> Any:
    """The reference implementation, which has to be there in CI."""
    if os.environ.get("CI_PEERS") == "1":
        return import_module("safetensors.torch")
    return pytest.importorskip("safetensors.torch")


@pytest.fixture(params=["plainly", "reference"])
def way(request: pytest.FixtureRequest) -> tuple[Callable[..., None], Callable[..., State]]:
    """A function that writes a state of PyTorch into a file, and one that reads it."""
    pytest.importorskip("torch")
    if request.param == "plainly":
        return write_plainly, read_plainly
    return reference().save_file, reference().load_file


def containers(nn: Any, t: Any) -> Any:
    """Every kind of container, inside each other, with parameters and buffers of their own."""

    class Whole(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(t(2.0))
            self.register_buffer("shift", t([1.0, 2.0, 3.0, 4.0]))
            self.register_buffer("passing", t([5.0]), persistent=False)
            self.register_parameter("none", None)
            self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.PReLU()) for _ in range(2)])
            self.heads = nn.ModuleDict({"a": nn.Linear(4, 4, bias=False), "b": nn.BatchNorm1d(4)})
            self.listed = nn.ParameterList([nn.Parameter(t([0.5])), nn.Parameter(t([0.25] * 4))])
            layer = nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True)
            self.encoder = nn.TransformerEncoder(nn.TransformerEncoder(layer, 2).layers[0], 2)
            self.attention = square(nn, nn.MultiheadAttention(4, 2, batch_first=True))

        def forward(self, x: Any) -> Any:
            for block in self.blocks:
                x = block(x) * self.scale + self.shift
            x = self.heads["b"](self.heads["a"](x)) * self.listed[0] + self.listed[1]
            return self.attention(self.encoder(x[None])) + self.passing

    return Whole()


def tied(nn: Any, t: Any) -> Any:
    """An encoder and a decoder that share their weight, as those of tokens often do."""
    made = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    made[2].weight = made[0].weight
    return made


ROWS: dict[str, Row] = {**MODULES, "containers": row(containers, (5, 4))}


def ours(numbers: Any) -> Tensor:
    return Tensor(np.array(numbers, np.float32))


def theirs(numbers: Any) -> Any:
    return import_module("torch").tensor(numbers)


STATEFUL = [name for name, one in ROWS.items() if one.make(nn, ours).state_dict()]


def both(name: str) -> tuple[Any, Any, list[np.ndarray]]:
    """A module of each library, each with numbers of its own that training has changed, and inputs."""
    torch, rng = import_module("torch"), np.random.default_rng(3)
    one = ROWS[name]
    inputs = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in inputs_of(one, rng)]
    m, t = one.make(nn, ours), one.make(torch.nn, theirs)
    with no_grad():
        for p in m.parameters():
            p += 0.3 * rng.standard_normal(p.shape).astype(np.float32)
    for p in t.parameters():
        p.data += 0.3 * torch.tensor(rng.standard_normal(tuple(p.shape)), dtype=torch.float32)
    m(*map(Tensor, inputs))
    t(*map(torch.tensor, inputs))
    return m, t, inputs


def expect_equal(m: Any, t: Any, inputs: list[np.ndarray]) -> None:
    """The same names in the same order, the same numbers, and outputs within 1e-5."""
    mine, other = m.state_dict(), t.state_dict()
    assert list(mine) == list(other)
    for key, value in other.items():
        np.testing.assert_array_equal(mine[key].numpy(), value.numpy(), err_msg=key, strict=True)
    y = m.eval()(*map(Tensor, inputs)).numpy()
    z = t.eval()(*map(import_module("torch").tensor, inputs)).detach().numpy()
    np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", STATEFUL)
def test_from_pytorch(name: str, way: Any, tmp_path: Path) -> None:
    m, t, inputs = both(name)
    way[0](t.state_dict(), tmp_path / "x.safetensors")
    m.load_state_dict(load_safetensors(tmp_path / "x.safetensors"))
    expect_equal(m, t, inputs)


@pytest.mark.parametrize("name", STATEFUL)
def test_to_pytorch(name: str, way: Any, tmp_path: Path) -> None:
    m, t, inputs = both(name)
    save_safetensors(tmp_path / "x.safetensors", m.state_dict())
    t.load_state_dict(way[1](tmp_path / "x.safetensors"), strict=True)
    expect_equal(m, t, inputs)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_have_the_same_buffers(name: str) -> None:
    torch = pytest.importorskip("torch")
    m, t = LOSSES[name].make(nn, ours), LOSSES[name].make(torch.nn, theirs)
    assert {k: v.shape for k, v in m.state_dict().items()} == {k: v.shape for k, v in t.state_dict().items()}


def test_every_module_with_state_is_tried() -> None:
    """Of those that PyTorch has too."""
    tried = {type(x).__name__ for name in STATEFUL for x in ROWS[name].make(nn, ours).modules()}
    classes = (getattr(nn, name) for name in nn.__all__)
    modules = [cls for cls in classes if isinstance(cls, type) and issubclass(cls, nn.Module)]
    stateless = {
        type(x).__name__
        for one in (*MODULES.values(), *LOSSES.values())
        for x in one.make(nn, ours).modules()
    }
    unknown = {cls.__name__ for cls in modules} - tried - stateless
    assert unknown == {"CTCLoss", "Dropout1d", "Exponential", "HingeLoss", "Module"}  # which have no state


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_data_types_become_float32(dtype: str, way: Any, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    t = torch.nn.Linear(5, 3).to(getattr(torch, dtype))
    way[0](t.state_dict(), tmp_path / "x.safetensors")
    m = nn.Linear(5, 3)
    m.load_state_dict(load_safetensors(tmp_path / "x.safetensors"))
    np.testing.assert_array_equal(m.weight.numpy(), t.weight.detach().float().numpy(), strict=True)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tensors_of_pytorch_themselves(dtype: str, tmp_path: Path) -> None:
    """Its parameters require gradients, and NumPy has no arrays of bfloat16."""
    torch = pytest.importorskip("torch")
    t = torch.nn.Linear(5, 3).to(getattr(torch, dtype))
    m = nn.Linear(5, 3)
    m.load_state_dict(dict(t.named_parameters()))
    np.testing.assert_array_equal(m.weight.numpy(), t.weight.detach().float().numpy(), strict=True)
    save_safetensors(tmp_path / "x.safetensors", dict(t.named_parameters()))
    torch.testing.assert_close(read_plainly(tmp_path / "x.safetensors")["bias"], t.bias.detach().float())
    with pytest.raises(CheckpointError, match="weight is a Tensor that is no array"):
        m.load_state_dict({**t.state_dict(), "weight": torch.eye(3, 5).to_sparse()})


def test_a_tied_weight_is_given_under_one_name(tmp_path: Path) -> None:
    """Which is what save_model does: of the names of one memory it keeps one."""
    torch = pytest.importorskip("torch")
    m, t = tied(nn, ours), tied(torch.nn, theirs)
    for kept, left in (("0.weight", "2.weight"), ("2.weight", "0.weight")):
        state = t.state_dict()
        del state[left]
        write_plainly(state, tmp_path / "x.safetensors")
        found = m.load_state_dict(load_safetensors(tmp_path / "x.safetensors"))
        assert found == ([], [])
        np.testing.assert_array_equal(m[0].weight.numpy(), state[kept].detach().numpy())
        assert m[0].weight is m[2].weight


def test_tied_weights_by_the_reference(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    m, t = tied(nn, ours), tied(torch.nn, theirs)
    reference().save_model(t, str(tmp_path / "x.safetensors"))
    m.load_state_dict(load_safetensors(tmp_path / "x.safetensors"))
    expect_equal(m, t, [np.ones((2, 3), np.float32)])
    with no_grad():
        m[0].weight.copy_(np.eye(3, dtype=np.float32))
    save_safetensors(tmp_path / "y.safetensors", m.state_dict())
    t.load_state_dict(reference().load_file(tmp_path / "y.safetensors"), strict=True)
    expect_equal(m, t, [np.ones((2, 3), np.float32)])


def test_files_without_counts_of_batches_load_as_there() -> None:
    """PyTorch before 0.4.1 did not save them."""
    torch = pytest.importorskip("torch")
    m, t = nn.Sequential(nn.BatchNorm2d(2)), torch.nn.Sequential(torch.nn.BatchNorm2d(2))
    state = {k: v for k, v in t.state_dict().items() if not k.endswith("tracked")}
    assert len(state) == 4
    assert t.load_state_dict(state) == ([], [])
    assert m.load_state_dict(state) == ([], [])


def test_what_does_not_fit_is_told_as_there() -> None:
    torch = pytest.importorskip("torch")
    m, t = containers(nn, ours), containers(torch.nn, theirs)
    state = {k: v for k, v in t.state_dict().items() if "blocks" not in k}
    state |= {"fc.weight": torch.zeros(1), "heads.c.bias": torch.zeros(1)}
    found, expected = m.load_state_dict(state, strict=False), t.load_state_dict(state, strict=False)
    assert found == tuple(expected)
    assert (len(found.missing_keys), len(found.unexpected_keys)) == (6, 2)
    state["heads.a.weight"] = state["shift"] = torch.zeros(7)
    with pytest.raises(RuntimeError) as there:
        t.load_state_dict(state)
    with pytest.raises(CheckpointError) as here:
        m.load_state_dict(state)
    for name in (*found.missing_keys, *found.unexpected_keys, "heads.a.weight", "shift"):
        assert name in str(there.value)
        assert name in str(here.value)


@pytest.mark.parametrize("archive", [True, False])
def test_pickles_of_pytorch_are_refused(archive: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.pt"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path, _use_new_zipfile_serialization=archive)
    with pytest.raises(
        CheckpointError, match=r"safetensors\.torch\.save_file\(model\.state_dict\(\), path\)"
    ):
        load_safetensors(path)

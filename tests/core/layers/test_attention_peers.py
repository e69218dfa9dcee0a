"""Attention and the standard blocks against PyTorch and Keras, in float64 from equal weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_core.ops.differentiate import differentiate
from cortex_core.registry import LAYERS
from cortex_core.spec import read
from cortex_core.tensor import Tensor
from cortex_core.trace import trace
from tests.core.keras_in_float64 import keras_in_float64
from tests.core.layers.use import Used

pytestmark = pytest.mark.peers
RNG = np.random.default_rng(22)
X, MEMORY, VALUES = (RNG.standard_normal(s) for s in ((2, 5, 8), (2, 3, 6), (2, 3, 4)))
KEYS = np.array([[True, False, True, True, False], [False, True, True, True, True]])
MEMORY_KEYS = np.array([[True, False, True], [False, True, True]])


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


def close(ours: Any, theirs: Any) -> None:
    found, wanted = np.asarray(ours.data), theirs.detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


def leaves(torch: Any, *x: np.ndarray) -> list[Any]:
    return [torch.tensor(v, requires_grad=True) for v in x]


def projections(module: Any) -> dict[str, Any]:
    """Our names, and the part of a parameter of PyTorch's that each is, transposed where it is a matrix."""
    width = module.embed_dim
    found = {}
    for i, name in enumerate(("query", "key", "value")):
        part = slice(i * width, (i + 1) * width)
        whole = module.in_proj_weight
        own = getattr(module, f"{name[0]}_proj_weight") if whole is None else whole[part]
        found[f"{name}_kernel"], found[f"{name}_bias"] = own.T, module.in_proj_bias[part]
    found["output_kernel"], found["output_bias"] = module.out_proj.weight.T, module.out_proj.bias
    return found


def numbers(parts: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: part.detach().numpy() for name, part in parts.items()}


@pytest.mark.parametrize("inputs", [(X,), (X, MEMORY), (X, MEMORY, VALUES)], ids=["one", "two", "three"])
@pytest.mark.parametrize("masked", ["", "keys", "causal", "pairs"])
def test_attention_is_pytorchs(torch: Any, inputs: tuple[np.ndarray, ...], masked: str) -> None:
    keys = inputs[-1].shape[1]
    sizes = {"kdim": inputs[min(1, len(inputs) - 1)].shape[-1], "vdim": inputs[-1].shape[-1]}
    module = torch.nn.MultiheadAttention(8, 4, batch_first=True, dtype=torch.float64, **sizes)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    x = leaves(torch, *inputs)
    given, options = {}, {}
    if masked == "keys":
        given["mask"] = KEYS if keys == 5 else MEMORY_KEYS
        options["key_padding_mask"] = torch.tensor(~given["mask"])
    elif masked == "pairs":
        given["mask"] = RNG.random((2, 5, keys)) < 0.6
        given["mask"][..., 0] = True  # PyTorch gives NaN where nothing is seen
        options["attn_mask"] = torch.tensor(~given["mask"]).repeat_interleave(4, 0)
    elif masked == "causal":
        options["attn_mask"] = torch.tensor(~np.tri(5, keys, dtype=bool))
    y, _ = module(*(x + x[-1:] * (3 - len(x))), need_weights=False, **options)
    fields = {"heads": 4, "causal": masked == "causal", **({"mask": "m"} if given else {})}
    used = Used(
        LAYERS["multi_head_attention"](**fields), *inputs, values=numbers(projections(module)), **given
    )
    close(used.output, y)
    (used.output * used.output * used.output).sum().backward()
    (y * y * y).sum().backward()
    for ours, theirs in zip(used.inputs, x):
        close(ours.grad, theirs.grad)
    for parameter in module.parameters():
        parameter.data = parameter.grad  # so that the parts of gradients have the names of the parts
    for name, theirs in projections(module).items():
        close(used.parameters[name].grad, theirs)


def dense(module: Any) -> dict[str, Any]:
    return {"kernel": module.weight.T, "bias": module.bias}


def norm(module: Any) -> dict[str, Any]:
    return {"scale": module.weight, "shift": module.bias}


def encoder(module: Any) -> dict[str, Any]:
    """The parts of PyTorch's block by the names in ours."""
    return {
        "layer_norm": norm(module.norm1), "attention": projections(module.self_attn),
        "layer_norm_2": norm(module.norm2), "hidden": dense(module.linear1), "output": dense(module.linear2),
    }  # fmt: skip


def decoder(module: Any) -> dict[str, Any]:
    return {
        "layer_norm": norm(module.norm1), "attention": projections(module.self_attn),
        "layer_norm_2": norm(module.norm2), "memory": projections(module.multihead_attn),
        "layer_norm_3": norm(module.norm3), "hidden": dense(module.linear1), "output": dense(module.linear2),
    }  # fmt: skip


def compare_block(
    torch: Any, use: dict[str, Any], parts: Any, module: Any, y: Any, x: list[Any], seen: np.ndarray
) -> None:
    """Our block, run eagerly in float64, and the gradients of the sum of the cubes of what it gives."""
    names = use[next(iter(use))]["from"]
    inputs = {name: Tensor(v.detach().numpy(), requires_grad=True) for name, v in zip(names, x)}
    given = {**inputs, "seen": Tensor(seen)}
    described = {name: {"shape": list(v.shape[1:]), "dtype": str(v.dtype)} for name, v in given.items()}
    description = read({"inputs": described, "layers": [use]})
    flat = {f"b/{layer}/{name}": p for layer, own in parts(module).items() for name, p in own.items()}
    own = {name: Tensor(p, requires_grad=True) for name, p in numbers(flat).items()}
    traced = trace(description, given, lambda name, *_: own[name], None, True)
    ours = traced.values[description.layers[-1].id]
    close(ours, y)
    (y * y * y).sum().backward()
    found = differentiate(
        [(ours * ours * ours).sum()], [Tensor(np.array(1.0))], [*inputs.values(), *own.values()]
    )
    for parameter in module.parameters():
        parameter.data = parameter.grad
    wanted = [v.grad for v in x]
    wanted += [p for layer in parts(module).values() for p in layer.values()]
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted):
        close(a, b)


def lively(torch: Any, module: Any) -> Any:
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return module


SIZES = {"units": 8, "heads": 2, "hidden": 12, "id": "b"}


@pytest.mark.parametrize("causal", [False, True])
def test_the_encoder_is_pytorchs(torch: Any, causal: bool) -> None:
    module = lively(torch, torch.nn.TransformerEncoderLayer(
        8, 2, 12, 0.0, "gelu", batch_first=True, norm_first=True, dtype=torch.float64
    ))  # fmt: skip
    (x,) = leaves(torch, X)
    masks = {"src_mask": torch.tensor(~np.tri(5, dtype=bool))} if causal else {}
    keys = KEYS | (np.arange(5) == 0)
    y = module(x, src_key_padding_mask=torch.tensor(~keys), **masks)
    use = {"transformer_encoder": {**SIZES, "causal": causal, "mask": "seen", "from": ["x"]}}
    compare_block(torch, use, encoder, module, y, [x], seen=keys)


def test_the_decoder_is_pytorchs(torch: Any) -> None:
    module = lively(torch, torch.nn.TransformerDecoderLayer(
        8, 2, 12, 0.0, "relu", batch_first=True, norm_first=True, dtype=torch.float64
    ))  # fmt: skip
    x, memory = leaves(torch, X, RNG.standard_normal((2, 3, 8)))
    later = torch.tensor(~np.tri(5, dtype=bool))
    y = module(x, memory, tgt_mask=later, memory_key_padding_mask=torch.tensor(~MEMORY_KEYS))
    fields = {**SIZES, "activation": "relu", "memory_mask": "seen", "from": ["x", "memory"]}
    compare_block(torch, {"transformer_decoder": fields}, decoder, module, y, [x, memory], seen=MEMORY_KEYS)


# Keras: heads are an axis of the kernels


@pytest.fixture(scope="module")
def keras() -> Any:
    return keras_in_float64()


@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("causal", [False, True])
def test_heads_of_any_size_are_keras(keras: Any, key_heads: int, causal: bool) -> None:
    size = 3
    if key_heads == 4:
        made = keras.layers.MultiHeadAttention(4, size)
    else:
        made = keras.layers.GroupQueryAttention(size, 4, key_heads)
    mask = np.broadcast_to(KEYS[:, None], (2, 5, 5))
    fields = {"heads": 4, "key_heads": key_heads, "size": size, "causal": causal, "mask": "m"}
    used = Used(LAYERS["multi_head_attention"](**fields), X, mask=KEYS)
    values = {n: RNG.normal(size=p.shape) for n, p in used.parameters.items()}
    used = Used(LAYERS["multi_head_attention"](**fields), X, values=values, mask=KEYS)
    made(X, X)
    weights = [values[f"{n}_{w}"] for n in ("query", "key", "value", "output") for w in ("kernel", "bias")]
    made.set_weights([v.reshape(w.shape) for v, w in zip(weights, made.weights)])
    scored = {"return_attention_scores": True}  # without them JAX computes the scores in float32
    y = np.asarray(made(X, X, attention_mask=mask, use_causal_mask=causal, **scored)[0])
    seen = (mask & np.tri(5, dtype=bool) if causal else mask).any(-1)
    assert seen.sum() >= 9
    np.testing.assert_allclose(used.y[seen], y[seen], rtol=1e-10, atol=1e-12)

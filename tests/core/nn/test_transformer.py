"""Attention modules: masks, weights, what is refused.  Values and gradients without masks are in `rows`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, DTypeError, ShapeError
from cortex_core import nn, optim
from cortex_core.generator import manual_seed
from cortex_core.tensor import Tensor, no_grad
from cortex_core.traced_step import trace_step
from cortex_core.tracing import trace
from tests.core.nn.test_against_pytorch import equal

RNG = np.random.default_rng(0)
PADDING = np.array([[False] * 5, [False, False, False, True, True]])
HIDDEN = np.triu(np.ones((4, 5), bool), 2)
BIAS = RNG.standard_normal((6, 4, 5))
MASKS: dict[str, dict[str, Any]] = {
    "padding": {"key_padding_mask": PADDING},
    "padding of numbers": {"key_padding_mask": RNG.standard_normal((2, 5))},
    "mask": {"attn_mask": HIDDEN},
    "mask of -inf": {"attn_mask": np.where(HIDDEN, -np.inf, 0.0)},
    "mask of each head": {"attn_mask": RNG.random((6, 4, 5)) < 0.3},
    "numbers": {"attn_mask": BIAS},
    "padding and numbers": {"key_padding_mask": PADDING, "attn_mask": BIAS},
    "both": {"key_padding_mask": PADDING, "attn_mask": HIDDEN},
    "causal": {"attn_mask": np.triu(np.ones((4, 5), bool), 1), "is_causal": True},
}


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:Support for mismatched")
@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("weights", ["none", "averaged", "all"])
@pytest.mark.parametrize("name", MASKS)
def test_masks_are_pytorchs(name: str, weights: str, more: bool) -> None:
    torch = pytest.importorskip("torch")
    if (name, weights, more) == ("causal", "none", True):
        pytest.skip("PyTorch then hides the keys of add_bias_kv and add_zero_attn too, from some queries")
    rng = np.random.default_rng(1)
    m = nn.MultiheadAttention(6, 3, add_bias_kv=more, add_zero_attn=more).double()
    t = torch.nn.MultiheadAttention(6, 3, add_bias_kv=more, add_zero_attn=more).double()
    m.load_state_dict(t.state_dict())
    arrays = [rng.standard_normal(s) for s in ((4, 2, 6), (5, 2, 6), (5, 2, 6))]
    ours = [Tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    asked = {"need_weights": weights != "none", "average_attn_weights": weights == "averaged"}
    other = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in MASKS[name].items()}
    y, w = m(*ours, **MASKS[name], **asked)
    z, v = t(*theirs, **other, **asked)
    equal(y, z, 1e-10, "values")
    equal(w, v, 1e-10, "weights")
    (y * y).sum().backward()
    (z * z).sum().backward()
    for a, b in zip([*ours, *m.parameters()], [*theirs, *t.parameters()], strict=True):
        equal(a.grad, b.grad, 1e-8, "gradients")


@pytest.mark.peers
def test_one_sequence_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    m, t = nn.MultiheadAttention(6, 2).double(), torch.nn.MultiheadAttention(6, 2).double()
    m.load_state_dict(t.state_dict())
    x = np.random.default_rng(2).standard_normal((5, 6))
    found = m(*[Tensor(x)] * 3, key_padding_mask=PADDING[1])
    expected = t(*[torch.tensor(x)] * 3, key_padding_mask=torch.tensor(PADDING[1]))
    for a, b in zip(found, expected, strict=True):
        equal(a, b, 1e-10, "values")


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("norm_first", [False, True])
def test_a_masked_transformer_is_pytorchs(norm_first: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    options = {"dropout": 0.0, "batch_first": True, "norm_first": norm_first}
    m = nn.Transformer(6, 2, 2, 2, 8, **options).double()
    t = torch.nn.Transformer(6, 2, 2, 2, 8, **options).double()
    m.load_state_dict(t.state_dict())
    src, tgt = rng.standard_normal((2, 5, 6)), rng.standard_normal((2, 4, 6))
    mask = nn.Transformer.generate_square_subsequent_mask(4, "float64")
    expected = torch.nn.Transformer.generate_square_subsequent_mask(4, dtype=torch.float64)
    np.testing.assert_array_equal(mask.numpy(), expected.numpy())
    padded = {"src_key_padding_mask": PADDING, "memory_key_padding_mask": PADDING}
    y = m(Tensor(src), Tensor(tgt), tgt_mask=mask, **padded)
    z = t(
        torch.tensor(src),
        torch.tensor(tgt),
        tgt_mask=expected,
        **{k: torch.tensor(v) for k, v in padded.items()},
    )
    equal(y, z, 1e-10, "values")
    (y * y).sum().backward()
    (z * z).sum().backward()
    for a, b in zip(m.parameters(), t.parameters(), strict=True):
        equal(a.grad, b.grad, 1e-8, "gradients")


def test_causal_needs_no_mask() -> None:
    m = nn.MultiheadAttention(6, 2, add_bias_kv=True).double()
    plain = nn.MultiheadAttention(6, 2).double()
    x = Tensor(np.random.default_rng(4).standard_normal((5, 3, 6)))
    hidden = np.triu(np.ones((5, 5), bool), 1)
    for module in (m, plain):
        y, w = module(x, x, x, is_causal=True)
        z, _ = module(x, x, x, attn_mask=hidden, need_weights=False)
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-12)
        np.testing.assert_allclose(w.detach().numpy().sum(-1), 1.0)


def test_a_query_without_keys_gets_the_bias() -> None:
    m = nn.MultiheadAttention(4, 2)
    m.out_proj.bias.data[...] = [1, 2, 3, 4]
    x = Tensor(np.ones((3, 2, 4), np.float32))
    for weights in (False, True):
        y, _ = m(x, x, x, key_padding_mask=np.array([[True] * 3, [False] * 3]), need_weights=weights)
        np.testing.assert_allclose(y.detach().numpy()[:, 0], [[1, 2, 3, 4]] * 3)


def test_a_query_whose_keys_are_all_at_minus_infinity_gets_nothing() -> None:
    """As one whose keys are hidden by booleans; where a mask is traced, too."""
    q = Tensor(np.random.default_rng(5).standard_normal((1, 2, 3, 4)))
    mask = np.array([[-np.inf] * 3, [0.3, -np.inf, 0.1], [0.0, 0.0, 0.0]])
    attend = nn.functional.scaled_dot_product_attention
    y = attend(q, q, q, mask).numpy()
    assert not y[:, :, 0].any()
    weights = np.exp(np.einsum("bhld,bhsd->bhls", q.numpy(), q.numpy()) / 2 + mask[1:2])[:, :, 1:2]
    expected = weights / weights.sum(-1, keepdims=True) @ q.numpy()
    np.testing.assert_allclose(y[:, :, 1:2], expected, rtol=1e-12)
    m = nn.MultiheadAttention(4, 2, batch_first=True).double()
    padding = np.array([[-np.inf] * 3, [0.0, 0.0, -np.inf]])

    def run(x: Any, hidden: Any) -> Any:
        return m(x, x, x, key_padding_mask=hidden)[0]

    x = Tensor(np.random.default_rng(6).standard_normal((2, 3, 4)))
    with no_grad():
        y = run(x, Tensor(padding)).numpy()
    np.testing.assert_allclose(y[0], [m.out_proj.bias.numpy()] * 3, atol=1e-12)
    np.testing.assert_allclose(trace(run, x, Tensor(padding))(x, Tensor(padding)).numpy(), y, atol=1e-12)


def test_three_axes_with_heads_among_them() -> None:
    """Each head by itself, the third and fourth of the query with the second of the keys."""
    rng = np.random.default_rng(5)
    q, k, v = (Tensor(rng.standard_normal(s)) for s in ((4, 5, 3), (2, 6, 3), (2, 6, 2)))
    mask = rng.random((5, 6)) < 0.7
    attend = nn.functional.scaled_dot_product_attention
    found = attend(q, k, v, mask, enable_gqa=True).numpy()
    for head in range(4):
        alone = attend(q[head], k[head // 2], v[head // 2], mask).numpy()
        np.testing.assert_allclose(found[head], alone, rtol=1e-12)
    with pytest.raises(ShapeError, match="the heads of the query a multiple of the others'"):
        attend(q, k[:0], v[:0], enable_gqa=True)


def test_dropout_drops_weights_in_training_only() -> None:
    manual_seed(0)
    m = nn.MultiheadAttention(4, 1, dropout=0.5)
    x = Tensor(np.random.default_rng(5).standard_normal((8, 1, 4)).astype(np.float32))
    _, w = m(x, x, x)
    assert 0.2 < (w.detach().numpy() == 0).mean() < 0.8
    _, w = m.eval()(x, x, x)
    np.testing.assert_allclose(w.detach().numpy().sum(-1), 1.0, rtol=1e-5)


def test_a_layer_of_16_bits_gives_what_a_wide_one_gives() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0)
    x = np.random.default_rng(7).standard_normal((5, 3, 8)).astype(np.float16)
    with no_grad():
        expected = layer(Tensor(x.astype(np.float32))).numpy()
    half = layer.half()
    y = half(Tensor(x))
    np.testing.assert_allclose(y.detach().numpy().astype(np.float32), expected, atol=0.02)
    y.sum().backward()
    assert {str(p.grad.dtype) for p in half.parameters()} == {"float16"}


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_norms_of_16_bits(norm: Any) -> None:
    x = np.random.default_rng(7).standard_normal((5, 8)).astype(np.float16)
    expected = norm(8, eps=1e-5)(Tensor(x.astype(np.float32))).detach().numpy()
    found = norm(8, eps=1e-5, dtype="float16")(Tensor(x)).detach().numpy()
    np.testing.assert_allclose(found.astype(np.float32), expected, rtol=2e-3, atol=1e-3)


def test_a_stack_has_copies() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8)
    stack = nn.TransformerEncoder(layer, 2)
    assert sum(p.size for p in stack.parameters()) == 2 * sum(p.size for p in layer.parameters())
    stack.layers[0].linear1.weight.data[...] = 0
    assert layer.linear1.weight.numpy().any()


class Writer(nn.Module):
    """The next token after each."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True)
        self.stack = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(8, 7)

    def forward(self, tokens: Any) -> Any:
        return self.head(self.stack(self.table(tokens), is_causal=True)).transpose(1, 2)


def test_traced_training_is_eager_training() -> None:
    rng = np.random.default_rng(6)
    module, other = Writer().double(), Writer().double()
    other.load_state_dict(module.state_dict())
    tokens, labels = rng.integers(0, 7, (3, 5)), rng.integers(0, 7, (3, 5))
    criterion, optimizer = nn.CrossEntropyLoss(), optim.Adam(other.parameters(), 0.01)
    step = trace_step(module, criterion, optim.Adam(module.parameters(), 0.01), tokens, labels)
    for _ in range(5):
        optimizer.zero_grad()
        loss = criterion(other(Tensor(tokens)), Tensor(labels))
        loss.backward()
        optimizer.step()
        assert float(step(tokens, labels)) == pytest.approx(float(loss), rel=1e-9)


def test_a_causal_stack_sees_nothing_of_what_comes() -> None:
    module, tokens = Writer().eval(), np.array([[1, 2, 3, 4, 5]])
    with no_grad():
        whole = module(Tensor(tokens)).numpy()
        part = module(Tensor(tokens[:, :3])).numpy()
    np.testing.assert_allclose(whole[:, :, :3], part, rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ArgumentError, match="embed_dim=6 does not split into num_heads=4"):
        nn.MultiheadAttention(6, 4)
    with pytest.raises(ArgumentError, match="activation='sin': choose 'relu', 'gelu' or a function"):
        nn.TransformerEncoderLayer(6, 2, activation="sin")
    wrong: Any = 1.5
    nothing: Any = None
    layer, mask = nn.TransformerEncoderLayer(4, 2, 8), nn.Transformer.generate_square_subsequent_mask
    for make, told in (
        (lambda: nn.MultiheadAttention(6, wrong), "num_heads=1.5; needs a whole number of 1 or more"),
        (lambda: nn.MultiheadAttention(6, 2, kdim=0), "kdim=0; needs a whole number of 1"),
        (lambda: nn.MultiheadAttention(6, 2, wrong), "dropout=1.5; needs a probability"),
        (lambda: nn.TransformerEncoder(layer, wrong), "num_layers=1.5; needs a whole number of 0"),
        (lambda: nn.TransformerDecoder(layer, -1), "num_layers=-1; needs a whole number of 0"),
        (lambda: nn.TransformerEncoder(nothing, 2), "a stack of a NoneType; needs a layer"),
        (lambda: mask(-1), "sz=-1; needs a whole number of 0"),
        (lambda: mask(3, "int64"), "dtype=int64 has no -inf; choose a float"),
    ):
        with pytest.raises(ArgumentError, match=told):
            make()
    with pytest.raises(DTypeError, match="tensors have no bfloat16"):
        mask(2, "bfloat16")
    assert mask(2, "float16").tolist() == [[0, -np.inf], [0, 0]]
    m, x = nn.MultiheadAttention(6, 2), Tensor(np.zeros((5, 3, 6), np.float32))
    with pytest.raises(ShapeError, match=r"shapes \(5, 3, 4\), .*needs \(L, N, 6\), \(S, N, 6\)"):
        m(x[:, :, :4], x, x)
    with pytest.raises(ShapeError, match=r"\(4, 3, 6\)"):
        m(x, x, x[:4])
    with pytest.raises(ShapeError, match=r"key_padding_mask has shape \(5, 3\); needs \(3, 5\)"):
        m(x, x, x, key_padding_mask=np.zeros((5, 3), bool))
    with pytest.raises(ShapeError, match=r"attn_mask has shape \(3, 5, 5\); needs \(5, 5\) or \(6, 5, 5\)"):
        m(x, x, x, attn_mask=np.zeros((3, 5, 5), bool))
    with pytest.raises(ArgumentError, match="attn_mask is int64; needs booleans, or numbers to be added"):
        m(x, x, x, attn_mask=np.zeros((5, 5), int))
    with pytest.raises(ArgumentError, match="a mask of int64: needs booleans, or floats to be added"):
        nn.functional.scaled_dot_product_attention(x, x, x, np.ones((3, 3), int))

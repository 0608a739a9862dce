"""The context transformer against a slow obvious one, and the cached path against the uncached one."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from contextssl.models.masks import pair_mask
from contextssl.models.transformer import ContextTransformer


def randomised(in_dim=7, out_dim=5, width=16, num_layers=2, num_heads=4, seed=0):
    model = ContextTransformer(in_dim, out_dim, width=width, num_layers=num_layers, num_heads=num_heads)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return model.eval()


def slow_forward(model, tokens, mask):
    """One sequence, one token and one head at a time."""
    x = model.read_in(tokens)
    for block in model.blocks:
        h = block.norm_attention(x)
        width = h.shape[-1]
        heads, size = block.attention.num_heads, width // block.attention.num_heads
        projected = block.attention.project_in(h)
        attended = torch.zeros_like(x)
        for q in range(len(x)):
            for head in range(heads):
                columns = slice(head * size, (head + 1) * size)
                query = projected[q, :width][columns]
                seen = [k for k in range(len(x)) if mask[q, k]]
                scores = torch.stack([query @ projected[k, width : 2 * width][columns] for k in seen]) / math.sqrt(size)
                weights = scores.exp() / scores.exp().sum()
                attended[q, columns] = sum(w * projected[k, 2 * width :][columns] for w, k in zip(weights, seen, strict=True))
        x = x + block.attention.project_out(attended)
        hidden = block.mlp_in(block.norm_mlp(x))
        x = x + block.mlp_out(hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2))))
    return model.read_out(model.norm(x))


def test_forward_equals_the_slow_transformer():
    model, tokens = randomised(), torch.randn(10, 7, generator=torch.Generator().manual_seed(3))
    mask = pair_mask(10)
    with torch.no_grad():
        fast = model(tokens[None], [mask, mask])[0]
        torch.testing.assert_close(fast, slow_forward(model, tokens, mask), atol=1e-5, rtol=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 6), st.sampled_from([1, 2, 4]), st.integers(1, 3), st.integers(0, 10**6))
def test_cached_queries_equal_the_uncached_forward(pairs, num_heads, num_layers, seed):
    model = randomised(width=8, num_heads=num_heads, num_layers=num_layers, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    context, queries = torch.randn(12, 7, generator=generator), torch.randn(5, 7, generator=generator)
    length = 2 * pairs
    with torch.no_grad():
        prefix = [(k[:, :, :length], v[:, :, :length]) for k, v in model.prefix(context[None], pair_mask(12))[0]]
        cached = model.query(queries[None], prefix)[0]
        for query, output in zip(queries, cached, strict=True):
            tokens = torch.cat([context[:length], query[None]])
            uncached = model(tokens[None], [pair_mask(length + 1)] * num_layers)[0, -1]
            torch.testing.assert_close(output, uncached, atol=1e-5, rtol=1e-4)


def test_second_member_of_a_pair_equals_a_query_after_the_pairs_before_it():
    model, tokens = randomised(), torch.randn(12, 7, generator=torch.Generator().manual_seed(5))
    mask = pair_mask(12)
    with torch.no_grad():
        block = model(tokens[None], [mask, mask])[0]
        prefix, _ = model.prefix(tokens[None], mask)
        for pair in range(6):
            past = [(k[:, :, : 2 * pair], v[:, :, : 2 * pair]) for k, v in prefix]
            both = model.query(tokens[None, 2 * pair : 2 * pair + 2], past)[0]
            torch.testing.assert_close(both, block[2 * pair : 2 * pair + 2], atol=1e-5, rtol=1e-4)


def test_no_output_depends_on_a_later_token():
    model, generator = randomised(), torch.Generator().manual_seed(2)
    tokens = torch.randn(8, 7, generator=generator)
    changed = torch.cat([tokens[:5], torch.randn(3, 7, generator=generator)])
    with torch.no_grad():
        before, after = (model(t[None], [pair_mask(8)] * 2)[0] for t in (tokens, changed))
    torch.testing.assert_close(before[:5], after[:5])
    assert (before[5:] - after[5:]).abs().min() > 1e-4


def test_queries_do_not_see_each_other_and_the_cache_is_one_copy():
    model, generator = randomised(), torch.Generator().manual_seed(2)
    prefix, _ = model.prefix(torch.randn(1, 6, 7, generator=generator), pair_mask(6))
    queries = torch.randn(1, 50, 7, generator=generator)
    with torch.no_grad():
        alone = torch.cat([model.query(queries[:, i : i + 1], prefix) for i in range(50)], dim=1)
        torch.testing.assert_close(model.query(queries, prefix), alone, atol=1e-5, rtol=1e-4)
    assert all(k.shape[0] == v.shape[0] == 1 for k, v in prefix)


def test_initialisation_follows_gpt2():
    model = ContextTransformer(40, 30, width=256, num_layers=3)
    assert model.blocks[0].attention.project_in.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.blocks[2].mlp_out.weight.std().item() == pytest.approx(0.02 / math.sqrt(6), rel=0.05)
    assert all((p == 0).all() for n, p in model.named_parameters() if n.endswith("bias") and "norm" not in n)
    wide = ContextTransformer(40, 30, width=256, fan_in_init=True)
    assert wide.read_in.weight.std().item() == pytest.approx(40**-0.5, rel=0.05)


def test_parameter_count_of_the_reference_size():
    with torch.device("meta"):
        model = ContextTransformer(518, 512, width=2048, num_layers=3, num_heads=4)
    assert sum(p.numel() for p in model.parameters()) == 153_190_912


def test_width_must_fit_the_heads():
    with pytest.raises(ValueError, match="not a multiple of its 3 heads"):
        ContextTransformer(4, 4, width=16, num_heads=3)


def test_a_prefix_holds_the_memory_of_its_keys_and_values_alone() -> None:
    model = ContextTransformer(7, 5, width=16, num_layers=2, num_heads=2)
    prefix, _ = model.prefix(torch.randn(1, 6, 7), pair_mask(6))
    held = {part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for pair in prefix for part in pair}
    assert sum(held.values()) == 2 * 2 * 6 * 16 * 4  # layers, keys and values, tokens, width, bytes

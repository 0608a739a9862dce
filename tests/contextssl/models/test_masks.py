"""The three masks against their definitions, token by token."""

import torch

from contextssl.models.masks import causal_mask, pair_mask, random_pair_mask, with_plain_items


def test_masks_match_their_definitions():
    for num_tokens in (0, 1, 2, 7, 12):
        causal, pair = causal_mask(num_tokens), pair_mask(num_tokens)
        for q in range(num_tokens):
            for k in range(num_tokens):
                assert causal[q, k] == (k <= q)
                assert pair[q, k] == (k <= q and not (q % 2 == 1 and k == q - 1))


def test_members_of_a_pair_see_the_same_past():
    mask = pair_mask(16)
    past = mask & ~torch.eye(16, dtype=torch.bool)
    assert torch.equal(past[0::2], past[1::2])


def test_random_mask_drops_whole_pairs_and_never_the_diagonal():
    allowed = pair_mask(20)
    masks = random_pair_mask(allowed, torch.tensor([0.5, 0.5, 0.5]), torch.Generator().manual_seed(1))
    assert (masks <= allowed).all()
    assert masks.diagonal(dim1=1, dim2=2).all()
    for q in range(20):
        past = masks[:, q, : q - q % 2]
        assert torch.equal(past[:, 0::2], past[:, 1::2])
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[:, 18, :18], masks[:, 19, :18])  # X_i and Y_i lose different pairs


def test_random_mask_limits_and_rate():
    generator = torch.Generator().manual_seed(0)
    allowed = pair_mask(32)
    nothing, everything = random_pair_mask(allowed, torch.tensor([0.0, 1.0]), generator)
    assert torch.equal(nothing, allowed)
    assert torch.equal(everything, torch.eye(32, dtype=torch.bool))
    many = random_pair_mask(allowed, torch.full((400,), 0.9), generator)
    visible_pairs = many[:, 30, :30].float().sum(1) / 2
    assert abs(visible_pairs.mean() - 1.5) < 0.2  # (1 - p) i past pairs at pair i = 15


def test_plain_items_see_the_past_of_their_pair_and_themselves_and_are_seen_by_nobody_else():
    generator = torch.Generator().manual_seed(0)
    for num_pairs in (1, 2, 5):
        size, allowed = 2 * num_pairs, pair_mask(2 * num_pairs)
        pairs, plain = random_pair_mask(allowed, torch.full((2, 1), 0.5).flatten(), generator)
        whole = with_plain_items(pairs, plain)
        for q in range(3 * num_pairs):
            for k in range(3 * num_pairs):
                if q < size:
                    assert whole[q, k] == (k < size and pairs[q, min(k, size - 1)])
                else:
                    pair = q - size
                    assert whole[q, k] == (k == q or (k < 2 * pair and plain[2 * pair, min(k, size - 1)]))


def test_plain_items_can_be_added_to_many_masks_at_once():
    generator = torch.Generator().manual_seed(0)
    masks = random_pair_mask(pair_mask(8), torch.full((3,), 0.5), generator)
    others = random_pair_mask(pair_mask(8), torch.full((3,), 0.5), generator)
    one_by_one = torch.stack([with_plain_items(mask, other) for mask, other in zip(masks, others, strict=True)])
    assert torch.equal(with_plain_items(masks, others), one_by_one)

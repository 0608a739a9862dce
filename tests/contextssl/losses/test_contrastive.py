"""Contrastive losses against loops over anchors, and against the limits that define them."""

import math

import pytest
import torch

from contextssl.losses.contrastive import all_negatives, cross_negatives, sequence_cross_negatives


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


def pairs(seed=0, shape=(2, 3, 4)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def slow_all_negatives(x, y, temperature, clamp):
    tokens = [*x.flatten(0, 1), *y.flatten(0, 1)]
    half, total = len(tokens) // 2, 0.0
    for anchor in range(len(tokens)):
        similarity = {
            other: max(cosine(tokens[anchor], tokens[other]), -2 if clamp is None else clamp) / temperature
            for other in range(len(tokens))
            if other != anchor
        }
        partner = (anchor + half) % len(tokens)
        total += -similarity[partner] + math.log(sum(math.exp(s) for s in similarity.values()))
    return total / len(tokens)


@pytest.mark.parametrize("clamp", [None, 1e-7])
def test_all_negatives_equals_a_loop(clamp):
    x, y = pairs()
    assert all_negatives(x, y, temperature=0.3, clamp=clamp).item() == pytest.approx(
        slow_all_negatives(x, y, 0.3, clamp), rel=1e-5
    )


def test_sequence_negatives_equal_a_loop_and_ignore_other_sequences():
    x, y = pairs(1)
    total = 0.0
    for b in range(2):
        for i in range(3):
            for anchors, others in ((x, y), (y, x)):
                similarity = [cosine(anchors[b, i], others[b, j]) / 0.2 for j in range(3)]
                total += -similarity[i] + math.log(sum(math.exp(s) for s in similarity))
    assert sequence_cross_negatives(x, y, temperature=0.2).item() == pytest.approx(total / 12, rel=1e-5)
    one = sequence_cross_negatives(x[:1], y[:1], temperature=0.2)
    other = sequence_cross_negatives(x[1:], y[1:], temperature=0.2)
    assert sequence_cross_negatives(x, y, temperature=0.2).item() == pytest.approx((one + other).item() / 2, rel=1e-5)


def test_batch_cross_negatives_see_all_sequences_as_one():
    x, y = pairs(2)
    merged = sequence_cross_negatives(x.reshape(1, 6, 4), y.reshape(1, 6, 4), temperature=0.2)
    assert cross_negatives(x, y, temperature=0.2).item() == pytest.approx(merged.item())
    assert cross_negatives(x, y).item() != pytest.approx(sequence_cross_negatives(x, y).item(), rel=1e-3)


def test_constant_outputs_give_the_logarithm_of_the_number_of_candidates():
    constant = torch.ones(2, 8, 5)
    assert all_negatives(constant, constant).item() == pytest.approx(math.log(2 * 16 - 1), rel=1e-5)
    assert sequence_cross_negatives(constant, constant).item() == pytest.approx(math.log(8), rel=1e-5)


def test_floor_of_the_clamped_loss():
    """Orthogonal pairs reach ln(1 + (2N - 2) e^(-1/tau)), and no gradient pushes them further (protocol 3.1)."""
    x = torch.eye(6).reshape(1, 6, 6).requires_grad_()
    loss = all_negatives(x, x.detach().clone(), temperature=0.1, clamp=1e-7)
    assert loss.item() == pytest.approx(math.log(1 + 10 * math.exp(-10)), rel=1e-3)


def test_clamp_gives_no_gradient_to_negative_cosines():
    x, y = torch.tensor([[[1.0, 0.1], [-1.0, 0.1]]]), torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    clamped, free = x.clone().requires_grad_(), x.clone().requires_grad_()
    all_negatives(clamped, y, clamp=1e-7).backward()
    all_negatives(free, y, clamp=None, temperature=1.0).backward()
    assert clamped.grad.abs().max() < 1e-3 < free.grad.abs().max()


def test_losses_do_not_depend_on_the_scale_or_the_order_of_pairs():
    x, y = pairs(3)
    order = torch.tensor([2, 0, 1])
    for loss in (all_negatives, cross_negatives, sequence_cross_negatives):
        torch.testing.assert_close(loss(3 * x, 0.5 * y), loss(x, y))
        torch.testing.assert_close(loss(x[:, order], y[:, order]), loss(x, y))
        torch.testing.assert_close(loss(y, x), loss(x, y))
        assert loss(x, y[:, order]) > loss(x, x)


def test_gradients_are_right():
    x, y = (t.double().requires_grad_() for t in pairs(4))
    for loss in (all_negatives, sequence_cross_negatives):
        # similarities are taken in float32 on purpose, so finite differences are coarse
        assert torch.autograd.gradcheck(lambda a, b, f=loss: f(a, b, temperature=1.0), (x, y), eps=1e-2, atol=2e-3, rtol=2e-2)

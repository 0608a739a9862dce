"""The leakage penalty: when its strength grows, what it finds readable, and what its queue is for."""

import torch
from seeded_noise import noise

from contextssl.losses.leakage import Leakage


def leakage(**settings):
    torch.manual_seed(0)
    return Leakage(2, 6, **({"adversary_updates": 0, "ramp": 10, "queue_length": 64} | settings))


def observe(penalty, told_r2):
    penalty.observe(torch.tensor(told_r2))
    penalty.move(penalty.is_shown)


def full_strength(**settings):
    penalty = leakage(**settings)
    penalty.strength.fill_(1.0)
    return penalty


def test_strength_grows_only_while_told_contexts_show_the_group():
    penalty = leakage(onset_r2=0.3)
    for _ in range(30):
        observe(penalty, 0.25)
    assert penalty.strength == 0
    strengths = []
    for _ in range(60):
        observe(penalty, 0.9)
        strengths.append(penalty.strength.item())
    assert strengths[0] == 0  # the running mean has to cross the onset first
    assert strengths == sorted(strengths)
    assert strengths[-1] == 1
    for _ in range(60):
        observe(penalty, 0.0)
    assert penalty.strength == 0
    assert penalty.told_r2 < 0.3


def test_one_lucky_step_is_no_onset():
    penalty = leakage(onset_r2=0.3)
    observe(penalty, 1.0)
    assert penalty.strength == 0


def test_penalty_is_strength_times_what_is_readable():
    embedding, latent = noise(200, 6), noise(200, 2, seed=1)
    leaky = torch.cat([latent, embedding[:, 2:]], dim=1)
    assert full_strength()(leaky, latent) > 0.9
    assert full_strength()(embedding, latent) < 0.15  # chance: 6 features, 200 rows
    half = full_strength()
    half.strength.fill_(0.5)
    torch.testing.assert_close(half(leaky, latent), full_strength()(leaky, latent) / 2)
    assert leakage()(leaky, latent) == 0
    assert full_strength(linear_budget=1.0)(leaky, latent) == 0


def test_adversary_finds_what_regression_cannot():
    """A product of two coordinates: no linear function knows it, a small network learns it in a few steps."""
    torch.manual_seed(0)
    product = Leakage(1, 4, adversary_updates=20, queue_length=0, linear_budget=1.0)
    product.strength.fill_(1.0)
    for seed in range(30):
        embedding = noise(256, 4, seed=seed)
        found = product(embedding, (embedding[:, :1] * embedding[:, 1:2]).sign())
    blind = Leakage(1, 4, adversary_updates=0, queue_length=0)
    blind.strength.fill_(1.0)
    assert found > 0.3
    assert blind(embedding, (embedding[:, :1] * embedding[:, 1:2]).sign()) < 0.1


def test_queue_keeps_the_newest_rows_and_no_more():
    penalty = full_strength(queue_length=64)
    for step in range(5):
        penalty(torch.full((24, 6), float(step)) + 0.01 * noise(24, 6, seed=step), noise(24, 2, seed=step))
        assert penalty.filled == min(64, 24 * (step + 1))
    assert penalty.queue.shape == (64, 8)
    newest = penalty.queue[:, :6].mean(1).round()
    assert newest.tolist() == [4.0] * 24 + [3.0] * 24 + [2.0] * 16


def test_queue_makes_small_batches_honest():
    """In-sample R2 of 10 rows with 6 features is high by chance; with a long queue it is not."""
    alone, queued = full_strength(queue_length=0), full_strength(queue_length=2000)
    for seed in range(250):
        by_chance, honest = (penalty(noise(10, 6, seed=2 * seed), noise(10, 2, seed=2 * seed + 1)) for penalty in (alone, queued))
    assert by_chance > 0.3
    assert honest / 8 < 0.05  # the share of the batch among its gradient is capped at 8

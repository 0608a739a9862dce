"""The leakage measures: what they read, what they cannot, and that an adversary's optimizer is Adam."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, Ridge

from contextssl.losses.auxiliary import told_group_error
from contextssl.losses.leakage import Adversary, Leakage, beyond, ridge_r2


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_ridge_r2_equals_the_explained_share_of_a_ridge_regression():
    z, u = noise(200, 6) * torch.tensor([1.0, 5, 0.1, 1, 2, 3]) + 3, noise(200, 2, seed=1)
    u[:, 0] += z[:, 1]
    scaled = ((z - z.mean(0)) / z.std(0, unbiased=False)).numpy()
    for column in range(2):
        centred = (u[:, column] - u[:, column].mean()).numpy()
        fitted = Ridge(alpha=0.05 * 200, fit_intercept=False).fit(scaled, centred).predict(scaled)
        expected = float((fitted * centred).mean() / centred.var())
        assert ridge_r2(z, u, ridge=0.05)[column].item() == pytest.approx(expected, rel=1e-4)


def test_ridge_r2_limits_and_invariances():
    z = noise(500, 4)
    known = z @ noise(4, 1, seed=1)
    assert ridge_r2(z, known, ridge=1e-6).item() == pytest.approx(1, abs=1e-3)
    assert ridge_r2(z, noise(500, 1, seed=2), ridge=1e-3).item() < 0.03
    torch.testing.assert_close(
        ridge_r2(z * torch.tensor([1e-3, 1, 10, 100]) + 7, 3 * known - 2), ridge_r2(z, known), rtol=1e-3, atol=1e-4
    )


def test_beyond_is_the_residual_of_a_regression_in_each_set():
    target, known = noise(3, 50, 2), noise(3, 50, 4, seed=1)
    known[..., 2] = 0  # nothing is said there
    known[1, :, 3] = 2 * known[1, :, 0] + 1  # and there, what is known already
    target = target + known[..., :1]
    for b in range(3):
        fitted = LinearRegression().fit(known[b].numpy(), target[b].numpy()).predict(known[b].numpy())
        torch.testing.assert_close(beyond(target, known)[b], target[b] - torch.from_numpy(fitted), rtol=1e-3, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=3, max_size=40))
def test_beyond_known_classes_every_class_has_the_same_mean(rows):
    group, label = torch.tensor([g for g, _ in rows]), torch.tensor([c for _, c in rows])
    rest = beyond(group.float()[None, :, None], torch.nn.functional.one_hot(label, 3).float()[None])[0, :, 0]
    for value in label.unique():
        members = group[label == value].float()
        torch.testing.assert_close(rest[label == value], members - members.mean(), rtol=0, atol=1e-3)


def test_rows_of_weight_zero_do_not_exist():
    """The same steps with the rows left out, and with weights: penalty, gradient, queue and adversary agree."""
    torch.manual_seed(0)
    weighted = Leakage(2, 5, queue_length=48, adversary_updates=2)
    weighted.strength.fill_(1.0)
    chosen = Leakage(2, 5, queue_length=48, adversary_updates=2)
    chosen.load_state_dict(weighted.state_dict())
    for step, num_rows in enumerate((7, 20, 0, 1, 20, 13, 20)):
        embedding, latent = noise(20, 5, seed=step).requires_grad_(), noise(20, 2, seed=100 + step)
        weight = torch.zeros(20)
        weight[torch.randperm(20, generator=torch.Generator().manual_seed(step))[:num_rows]] = 1
        found = weighted(embedding, latent, weight)
        (gradient,) = torch.autograd.grad(found, embedding)
        assert not gradient[weight == 0].any()
        if num_rows == 0:
            assert found == 0
            continue
        expected = chosen(embedding[weight > 0], latent[weight > 0])
        (expected_gradient,) = torch.autograd.grad(expected, embedding)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-5)
    filled = int(chosen.filled)
    assert filled == weighted.filled == 48
    torch.testing.assert_close(weighted.queue, chosen.queue, rtol=0, atol=0)
    for ours, theirs in zip(weighted.adversary.buffers(), chosen.adversary.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def test_descending_the_penalty_removes_what_is_known():
    z, secret = noise(300, 5), noise(300, 1, seed=1)
    z[:, :1] += 2 * secret
    z.requires_grad_()
    before = ridge_r2(z, secret).item()
    optimizer = torch.optim.SGD([z], lr=20.0)
    for _ in range(200):
        optimizer.zero_grad()
        ridge_r2(z, secret).sum().backward()
        optimizer.step()
    assert before > 0.7
    assert ridge_r2(z, secret).item() < 0.05


def test_adversary_reads_what_a_linear_reader_cannot():
    torch.manual_seed(0)
    z = noise(600, 4)
    secret = (z[:, :1] * z[:, 1:2]).sign()
    adversary = Adversary(4, 1, hidden_dims=(64, 64), learning_rate=1e-2)
    for _ in range(300):
        adversary.learn(z, secret)
    assert ridge_r2(z, secret).item() < 0.05
    assert ridge_r2(adversary.hidden(z), secret).item() > 0.7


def test_adversary_optimizer_is_adam():
    torch.manual_seed(0)
    adversary = Adversary(3, 2, hidden_dims=(8, 8), learning_rate=5e-3)
    twin = Adversary(3, 2, hidden_dims=(8, 8)).network.requires_grad_(True)
    twin.load_state_dict(adversary.network.state_dict())
    adam = torch.optim.Adam(twin.parameters(), lr=5e-3, betas=(0.9, 0.99))
    z, u = noise(20, 3), noise(20, 2, seed=1)
    for _ in range(5):
        adversary.learn(z, u)
        adam.zero_grad()
        (twin(z) - u).square().mean().backward()
        adam.step()
    for ours, theirs in zip(adversary.network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs.detach(), atol=1e-5, rtol=1e-3)


def test_adversary_gives_gradient_to_embeddings_and_takes_none_itself():
    adversary = Adversary(3, 1)
    z = noise(10, 3).requires_grad_()
    ridge_r2(adversary.hidden(z), noise(10, 1, seed=1)).sum().backward()
    assert z.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in adversary.network.parameters())


def test_auxiliary_error_counts_told_groups_of_told_sequences_only():
    prediction, target = noise(3, 4, 5), noise(3, 4, 5, seed=1)
    told = torch.tensor([[1.0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    error = (prediction - target) ** 2
    expected = torch.cat([error[0, :, :2], error[2, :, :2]]).mean() + error[2, :, 2:].mean()
    torch.testing.assert_close(told_group_error(prediction, target, told, [2, 3]), expected)
    prediction[1] = 1e6
    torch.testing.assert_close(told_group_error(prediction, target, told, [2, 3]), expected)
    assert told_group_error(target, target, told, [2, 3]) == 0
    assert told_group_error(prediction, target, torch.zeros(3, 5), [2, 3]) == 0


def test_the_ridge_bounds_how_faint_a_trace_is_seen():
    """Two nearly equal dimensions whose difference holds the secret: a large ridge is blind to it."""
    common, secret = noise(2000, 1), noise(2000, 1, seed=1)
    z = torch.cat([common, common + 0.05 * secret], dim=1)
    assert ridge_r2(z, secret, ridge=0.1).item() < 0.05
    assert ridge_r2(z, secret, ridge=1e-6).item() > 0.95

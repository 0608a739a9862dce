"""seq-JEPA against a slow formula, its limits, what it reads, and what gets a gradient."""

from __future__ import annotations

import math
from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from contextssl.batch import Transitions
from contextssl.commands.configuration import build as build_config
from contextssl.commands.configuration import compose_config
from contextssl.methods.seq_jepa import SeqJEPA
from contextssl.models.aggregator import Aggregator
from contextssl.schedule import warmup_cosine
from contextssl.testing import TinyEncoder, ToyAdapter, check_method

ADAPTER = ToyAdapter(trajectories=True, encoder=partial(TinyEncoder, out_dim=18))
SMALL = {"num_steps": 40, "action_embedding_dim": 8, "predictor_dim": 24}


def method(dropout: float = 0.0, num_layers: int = 2, seed: int = 0, **settings: object) -> SeqJEPA:
    torch.manual_seed(seed)
    made = SeqJEPA(
        ADAPTER.build_encoder(), ADAPTER.actions, aggregator=partial(Aggregator, num_layers=num_layers, dropout=dropout),
        **(SMALL | settings),
    )  # fmt: skip
    for parameter in made.parameters():  # away from zeros, ones and copies of each other, which would hide mistakes
        parameter.data += 0.05 * torch.randn(parameter.shape)
    return made


def batch(num_observations: int, num_sequences: int = 6) -> Transitions:
    return ADAPTER.held_out(num_observations, num_sequences, seed=num_observations)


def loss(model: SeqJEPA, data: Transitions, seed: int = 0) -> Tensor:
    (term,) = model.loss_terms(data, torch.Generator().manual_seed(seed)).values()
    return term


def normal(rows: list[Tensor], weight: Tensor | float = 1.0, bias: Tensor | float = 0.0) -> list[Tensor]:
    """Batch norm in training mode, by hand."""
    mean = sum(rows) / len(rows)
    variance = sum((row - mean) ** 2 for row in rows) / len(rows)
    return [(row - mean) / (variance + 1e-5).sqrt() * weight + bias for row in rows]


def layer_norm(row: Tensor, module: nn.LayerNorm) -> Tensor:
    centred = row - row.mean()
    return centred / ((centred**2).mean() + 1e-5).sqrt() * module.weight + module.bias


def attended(tokens: list[Tensor], attention: nn.MultiheadAttention) -> list[Tensor]:
    width, heads = attention.embed_dim, attention.num_heads
    weight, bias, size = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), width // heads
    query, key, value = ([w @ token + b for token in tokens] for w, b in zip(weight, bias, strict=True))
    outputs = []
    for asking in query:
        parts = []
        for head in range(heads):
            at = slice(head * size, (head + 1) * size)
            scores = torch.stack([(asking[at] * answering[at]).sum() / math.sqrt(size) for answering in key])
            shares = scores.exp() / scores.exp().sum()
            parts.append(sum(share * answer[at] for share, answer in zip(shares, value, strict=True)))
        outputs.append(attention.out_proj.weight @ torch.cat(parts) + attention.out_proj.bias)
    return outputs


def aggregated(tokens: list[Tensor], aggregator: Aggregator) -> Tensor:
    """The aggregate of one sequence, token by token: post-norm, ReLU."""
    width = len(aggregator.aggregate_token)
    tokens = [aggregator.aggregate_token, *(torch.cat([token, token.new_zeros(width - len(token))]) for token in tokens)]
    for layer in aggregator.layers.layers:
        tokens = [layer_norm(a + b, layer.norm1) for a, b in zip(tokens, attended(tokens, layer.self_attn), strict=True)]
        hidden = [(layer.linear1.weight @ token + layer.linear1.bias).clamp_min(0) for token in tokens]
        changes = [layer.linear2.weight @ row + layer.linear2.bias for row in hidden]
        tokens = [layer_norm(a + b, layer.norm2) for a, b in zip(tokens, changes, strict=True)]
    return layer_norm(tokens[0], aggregator.layers.norm)


@pytest.mark.parametrize("num_observations", [1, 3])
def test_the_loss_is_the_formula_written_out(num_observations: int) -> None:
    model, data = method().double().train(), batch(num_observations)
    data = Transitions(*(part.double() for part in (data.state, data.action, data.next_state, data.latent)))
    _, linear, _ = model.embed_action.layers
    actions = [linear.weight @ (row / ADAPTER.actions.action_scale.double()) for row in data.action.flatten(0, 1)]
    actions = normal(actions)
    hidden, targets = [], []
    for sequence in range(data.num_sequences):
        own = actions[sequence * num_observations : (sequence + 1) * num_observations]
        told = [*own[:-1], torch.zeros(8, dtype=torch.float64)]
        seen = model.encoder(data.state[sequence])
        tokens = [torch.cat([features, action]) for features, action in zip(seen, told, strict=True)]
        hidden.append(model.predictor[0].weight @ torch.cat([aggregated(tokens, model.aggregator), own[-1]]))
        targets.append(model.target.module(data.next_state[sequence, -1:])[0])
    hidden = [row.clamp_min(0) for row in normal(hidden, model.predictor[1].weight, model.predictor[1].bias)]
    predicted = [model.predictor[3].weight @ row + model.predictor[3].bias for row in hidden]
    cosines = [p @ t / p.norm() / t.norm() for p, t in zip(predicted, targets, strict=True)]
    torch.testing.assert_close(loss(model, data), 1 - sum(cosines) / len(cosines), rtol=1e-9, atol=1e-12)


def test_conforms_with_any_groups_and_with_dropout() -> None:
    torch.manual_seed(0)
    build = partial(SeqJEPA, aggregator=partial(Aggregator, num_layers=1), groups=["turn"], **SMALL)
    check_method(build, ToyAdapter(trajectories=True), num_steps=15)


def test_outputs_that_do_not_depend_on_the_input_reach_every_extreme_of_the_loss() -> None:
    """Collapse: a constant prediction of a constant target costs nothing, the opposite one 2."""
    model, data = method(), batch(2)
    constant = torch.randn(18, generator=torch.Generator().manual_seed(0))
    for parameter in model.target.parameters():
        parameter.zero_()
    model.target.module.body[-1].bias.copy_(constant)
    last = model.predictor[-1]
    for bias, expected in ((3 * constant, 0.0), (-constant, 2.0)):
        last.weight.data.zero_()
        last.bias.data.copy_(bias)
        assert loss(model, data).item() == pytest.approx(expected, abs=1e-6)


def test_the_target_gets_no_gradient_and_is_read_from_the_last_view_only() -> None:
    model, data = method(), batch(3)
    data.next_state.requires_grad_()
    term = loss(model, data)
    (gradient,) = torch.autograd.grad(term, data.next_state, allow_unused=True, retain_graph=True)
    assert gradient is None
    term.backward()
    assert all(p.grad is None and not p.requires_grad for p in model.target.parameters())
    assert all(p.grad is not None for p in model.encoder.parameters())
    earlier = data.next_state.detach().clone()
    earlier[:, :-1] += 5  # what leads on is read from the states
    assert loss(model, data.with_items(data.state, earlier)) == term
    earlier[:, -1] += 5
    assert loss(model, data.with_items(data.state, earlier)) != term


def test_the_target_follows_the_encoder_after_every_step() -> None:
    model = method(momentum=0.75, num_steps=8)
    before = [p.clone() for p in model.target.parameters()]
    model.after_step()
    for old, average, current in zip(before, model.target.parameters(), model.encoder.parameters(), strict=True):
        torch.testing.assert_close(average, 0.75 * old + 0.25 * current)


def views(num_views: int, num_items: int = 5) -> tuple[Tensor, Tensor]:
    data = batch(num_views, num_items)
    return data.state, data.action[:, :-1]


def test_observations_may_come_in_any_order_with_their_actions_but_for_the_last() -> None:
    model = method().eval()
    x, action = views(4)
    with torch.no_grad():
        whole = model.aggregate(x, action)
        order = [2, 0, 1]
        torch.testing.assert_close(model.aggregate(x[:, [*order, 3]], action[:, order]), whole, rtol=1e-5, atol=1e-5)
        # The last observation's token has no action: which one is last matters, and so does whose action is whose.
        assert (model.aggregate(x[:, [3, 1, 2, 0]], action) - whole).abs().max() > 1e-3
        assert (model.aggregate(x, action[:, order]) - whole).abs().max() > 1e-3


def test_prediction_from_one_observation_is_the_training_path_with_a_single_view() -> None:
    model, data = method().eval(), batch(1)
    with torch.no_grad():
        cosine = torch.cosine_similarity(
            model.predict(data.state[:, 0], data.action[:, 0]), model.embed_target(data.next_state[:, 0])
        )
        torch.testing.assert_close(loss(model, data), 1 - cosine.mean())


@pytest.mark.parametrize(
    ("groups", "read"), [(None, {"turn", "shift"}), (["turn"], {"turn"}), (["shift"], {"shift"}), ([], set())]
)
def test_only_the_actions_of_the_groups_are_read(groups: list[str] | None, read: set[str]) -> None:
    model, data = method(groups=groups), batch(3)
    x, action = views(3)
    with torch.no_grad():
        trained = loss(deepcopy(model), data)
        plain = model.eval().aggregate(x, action)
    for name in ADAPTER.actions.names:
        noise = torch.zeros(ADAPTER.actions.action_dim)
        noise[ADAPTER.actions.action_slice(name)] = 2.0
        noise = noise * torch.randn(6, 3, 1, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            changed = not torch.equal(model.aggregate(x, action + noise[:5, :2]), plain)
            changed_loss = not torch.equal(loss(deepcopy(model).train(), data.with_action(data.action + noise)), trained)
        assert changed == changed_loss == (name in read)


def test_without_action_tokens_are_features_alone() -> None:
    assert method(groups=[]).aggregator.out_dim == 20  # 18, padded to a multiple of the heads
    assert method().aggregator.out_dim == 28
    with pytest.raises(ValueError, match="unknown group 'hue'"):
        method(groups=["hue"])


def test_sequences_of_several_items_are_refused() -> None:
    pairs = ToyAdapter(encoder=partial(TinyEncoder, out_dim=18))
    with pytest.raises(ValueError, match=r"set domain\.trajectories=true"):
        loss(method(), pairs.held_out(3, 4, seed=0))
    assert loss(method(), pairs.held_out(1, 4, seed=0)).isfinite()  # of one transition each, any pairs are trajectories


def test_dropout_draws_from_the_generator_alone() -> None:
    model, data = method(dropout=0.3), batch(3)
    stream = torch.get_rng_state()
    first, again, other = (loss(model, data, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), stream)


def test_the_target_is_found_by_the_action_that_leads_to_it() -> None:
    """Learnt on the toy domain: predictions with the true action are nearer to the target than with another one's."""
    torch.manual_seed(0)
    aggregator = partial(Aggregator, num_layers=1)
    model = SeqJEPA(ADAPTER.build_encoder(), ADAPTER.actions, aggregator=aggregator, **SMALL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    data = ADAPTER.held_out(2, 256, seed=0)
    for step in range(40):
        optimizer.zero_grad()
        loss(model, data, step).backward()
        optimizer.step()
        model.after_step()
    x, action, y, _ = ADAPTER.held_out(1, 200, seed=9).pairs()
    with torch.no_grad():
        model.eval()
        target = model.embed_target(y)
        right, wrong = (torch.cosine_similarity(model.predict(x, told), target) for told in (action, action.roll(1, 0)))
    assert (right > wrong).float().mean() > 0.7


def rates(name: str) -> tuple[type, float, list[float]]:
    """Optimizer, decay and rates at some steps, of a train config."""
    plan = build_config(compose_config([f"train={name}"]).train)
    optimizer = plan.optimizer([nn.Parameter(torch.zeros(1))])
    settings = {"num_steps": plan.num_steps, "warmup_steps": plan.warmup_steps, "final_fraction": plan.final_fraction}
    at = [warmup_cosine(step, **settings) for step in (820, plan.warmup_steps, 41_820, plan.num_steps)]
    assert (plan.num_steps, plan.batch_size, plan.num_transitions) == (82_000, 512, 3)
    return type(optimizer), optimizer.defaults["weight_decay"], [4e-4 * rate for rate in at]


def test_as_intended_and_as_released_differ_in_optimizer_and_schedule() -> None:
    intended, released = rates("seq_jepa"), rates("seq_jepa_as_released")
    assert intended == (torch.optim.AdamW, 1e-3, pytest.approx([2e-4, 4e-4, 2e-4, 0], abs=5e-7))
    assert released == (torch.optim.Adam, 0.0, pytest.approx([2e-4, 4e-4, 4e-4, 4e-4], abs=5e-7))
    composed = compose_config(["method=seq_jepa", "train=seq_jepa"])
    assert composed.method.num_steps == 82_000


def test_the_paper_widths_fit_a_resnet() -> None:
    config = build_config(compose_config(["method=seq_jepa_paper"]).method)
    model = config(TinyEncoder(out_dim=512), ADAPTER.actions)
    assert (model.aggregator.out_dim, model.predictor[0].in_features, model.predictor[0].out_features) == (640, 768, 1024)
    assert [len(model.aggregator.layers.layers), model.aggregator.layers.layers[0].linear1.out_features] == [3, 2560]

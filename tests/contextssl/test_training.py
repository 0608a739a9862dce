"""The training loop: what a step computes, which data it sees, and what the options may not change."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor
from toy_domain import ToyDomain, ToyMethod

from contextssl.batch import Transitions, stack
from contextssl.schedule import warmup_cosine
from contextssl.training import Plan, TrainingState, choose_device, fit, train_step

SGD = partial(torch.optim.SGD, lr=0.1)


def plan(**changes: object) -> Plan:
    settings: dict[str, object] = {"optimizer": SGD, "num_steps": 6, "batch_size": 4, "num_transitions": 3, "warmup_steps": 2}
    return Plan(**(settings | changes))  # type: ignore[arg-type]


def new_state(domain: ToyDomain, noise: float = 0.0, chosen: Plan | None = None) -> TrainingState:
    torch.manual_seed(0)
    method = ToyMethod(domain.build_encoder(), domain.actions, noise=noise)
    return TrainingState(method, (chosen or plan()).optimizer(method.parameters()), torch.Generator().manual_seed(0))


def batch(domain: ToyDomain, size: int = 4) -> Transitions:
    return stack([domain.train_sequences(3, 0)[index] for index in range(size)])


def test_a_step_is_one_step_of_gradient_descent_on_the_sum_of_the_terms() -> None:
    domain = ToyDomain(dropout=0.0)
    state, chosen = new_state(domain), plan(warmup_steps=0)
    copy = new_state(domain).method
    terms = copy.loss_terms(batch(domain), torch.Generator().manual_seed(0))
    (terms["prediction"] + terms["length"]).backward()
    found = train_step(state, [batch(domain)], chosen)
    assert set(found) == set(terms) and not any(term.requires_grad for term in found.values())
    for name, weight in copy.named_parameters():
        torch.testing.assert_close(state.method.get_parameter(name).detach(), weight.detach() - 0.1 * weight.grad)
    assert state.step == 1
    assert state.method.average.abs().sum() > 0, "after_step was not called"


def test_micro_batches_make_the_step_of_one_large_batch_where_the_loss_is_separable() -> None:
    class Separable(ToyMethod):
        def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
            x, _, y, _ = batch.pairs()
            self.seen = torch.zeros(4)
            return {"distance": (self.encoder(x) - self.encoder(y)).square().mean(), "size": self.encoder(x).abs().mean()}

    def weights(num_parts: int) -> tuple[Tensor, dict[str, Tensor]]:
        domain = ToyDomain(dropout=0.0)
        torch.manual_seed(0)
        method = Separable(domain.build_encoder(), domain.actions)
        # Not Adam, which does not see the scale of gradients.
        state = TrainingState(method, SGD(method.encoder.parameters()), torch.Generator())
        seen: dict[str, Tensor] = {}
        chosen = plan(batch_size=8, num_micro_batches=num_parts)
        fit(state, domain.train_sequences(3, 0), chosen, lambda _, terms: seen.update(terms))
        return method.encoder.layer.weight.detach(), seen

    (whole, terms), (parts, part_terms) = weights(1), weights(4)
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-6)
    for name, term in terms.items():
        torch.testing.assert_close(term, part_terms[name], rtol=1e-4, atol=1e-6)


def test_batch_s_holds_the_sequences_from_s_times_b_on_wherever_training_starts() -> None:
    asked: list[int] = []

    class Noting:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Transitions:
            asked.append(index)
            return ToyDomain().train_sequences(3, 0)[index]

    state = new_state(ToyDomain())
    state.step = 4
    fit(state, Noting(), plan(num_micro_batches=2), lambda *_: None)
    assert asked == [*range(16, 20), *range(20, 24)]
    asked.clear()
    fit(new_state(ToyDomain()), Noting(), plan(num_batches=2, num_steps=3), lambda *_: None)
    assert asked == [*range(8), *range(4)]


def test_the_rate_follows_the_schedule_after_any_number_of_steps() -> None:
    rates: list[float] = []
    state = new_state(ToyDomain())
    state.step = 3
    fit(state, ToyDomain().train_sequences(3, 0), plan(), lambda *_: rates.append(state.optimizer.param_groups[0]["lr"]))
    assert rates == [0.1 * warmup_cosine(step, num_steps=6, warmup_steps=2) for step in (3, 4, 5)]


def test_gradients_are_clipped_to_the_norm_that_is_asked_for() -> None:
    domain = ToyDomain(dropout=0.0)
    state = new_state(domain)
    before = [weight.detach().clone() for weight in state.method.parameters()]
    train_step(state, [batch(domain)], plan(max_gradient_norm=1e-3, warmup_steps=0))
    moved = torch.cat([(a - b.detach()).flatten() for a, b in zip(before, state.method.parameters(), strict=True)])
    torch.testing.assert_close(moved.norm(), torch.tensor(1e-4), rtol=1e-3, atol=0)


def test_bfloat16_computes_the_loss_in_low_precision_and_keeps_weights_in_full() -> None:
    domain = ToyDomain(dropout=0.0)
    kinds: list[torch.dtype] = []
    full, low = new_state(domain), new_state(domain)
    low.method.encoder.register_forward_hook(lambda *hooked: kinds.append(hooked[2].dtype))
    exact, rounded = train_step(full, [batch(domain)], plan()), train_step(low, [batch(domain)], plan(precision="bfloat16"))
    assert kinds and set(kinds) == {torch.bfloat16}
    assert low.method.encoder.layer.weight.dtype == torch.float32
    torch.testing.assert_close(rounded["prediction"], exact["prediction"], rtol=2e-2, atol=0)
    assert rounded["prediction"] != exact["prediction"]


def test_channels_last_leaves_names_and_numbers_alone() -> None:
    domain = ToyDomain(dropout=0.0)
    plain, other = new_state(domain), new_state(domain)
    fit(plain, domain.train_sequences(3, 0), plan(), lambda *_: None)
    fit(other, domain.train_sequences(3, 0), plan(channels_last=True), lambda *_: None)
    assert list(plain.method.state_dict()) == list(other.method.state_dict())
    torch.testing.assert_close(plain.method.encoder.layer.weight, other.method.encoder.layer.weight)


def test_activation_checkpointing_changes_no_bit() -> None:
    domain = ToyDomain(dropout=0.3)
    plain, other, calls = new_state(domain, noise=0.1), new_state(domain, noise=0.1), [0]
    other.method.encoder.layer.register_forward_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))
    for state, chosen in ((plain, plan()), (other, plan(activation_checkpointing=True))):
        torch.manual_seed(0)
        fit(state, domain.train_sequences(3, 0), chosen, lambda *_: None)
    assert calls == [6 * 2 * 2]  # steps, calls in a step, passes
    assert list(plain.method.state_dict()) == list(other.method.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(plain.method.parameters(), other.method.parameters(), strict=True))


def test_a_fused_optimizer_takes_the_same_steps_to_rounding() -> None:
    domain, adamw = ToyDomain(dropout=0.0), torch.optim.AdamW
    plain, fused = (new_state(domain, chosen=plan(optimizer=partial(adamw, lr=0.01, fused=fused))) for fused in (False, True))
    for state in (plain, fused):
        fit(state, domain.train_sequences(3, 0), plan(), lambda *_: None)
    for a, b in zip(plain.method.parameters(), fused.method.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_training_fits_one_batch() -> None:
    losses: list[float] = []
    chosen = plan(num_steps=150, num_batches=1, optimizer=partial(torch.optim.Adam, lr=0.02))
    fit(
        new_state(ToyDomain(0.0), chosen=chosen),
        ToyDomain().train_sequences(3, 0),
        chosen,
        lambda _, t: losses.append(float(t["prediction"])),
    )
    assert losses[-1] < 0.05 * losses[0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"num_steps": 0}, "train.num_steps: expected a whole number of at least 1, found 0"),
        ({"batch_size": "4"}, "train.batch_size: expected a whole number of at least 1, found '4'"),
        ({"num_micro_batches": 3}, "train.batch_size 4 does not divide into 3 micro-batches"),
        ({"warmup_steps": 7}, "train.warmup_steps: expected 0..6 (num_steps), found 7"),
        ({"precision": "fp16"}, "train.precision: expected float32 or bfloat16, found 'fp16'"),
        ({"compile": True}, "train.compile: expected false, default or reduce-overhead, found True"),
        ({"compile": "fast"}, "train.compile: expected false, default or reduce-overhead, found 'fast'"),
        (
            {"compile": "default", "activation_checkpointing": True},
            "train.compile and train.activation_checkpointing do not go together: compiled blocks choose what they keep; set one of them",
        ),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError) as error:
        plan(**wrong)
    assert str(error.value) == said


def test_an_unknown_device_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="device 'tpu9' cannot be used here"):
        choose_device("tpu9")

"""What every method owes its users, as executable sentences."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import deepcopy
from functools import cached_property

import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Environment
from contextssl.adapter import DomainAdapter, Split
from contextssl.batch import Transitions, stack
from contextssl.method import ContextualMethod, EquivariantMethod, Method
from contextssl.methods.environments import EnvironmentSampler
from contextssl.testing.toy import ToyAdapter

BuildMethod = Callable[[nn.Module, ActionSpace], Method]
VISIBLE = 1e-5
"""Differences of unit-norm embeddings below this could be rounding."""


def check_method(
    build: BuildMethod, adapter: DomainAdapter | None = None, *, num_steps: int = 40, learning_rate: float = 2e-3
) -> None:
    """Check a method against every contract of `contextssl.method`.

    Args:
        build: (encoder, actions) -> a fresh method, for instance a `functools.partial` of its class.
        adapter: the domain to try it on; a `ToyAdapter` when None.
        num_steps: optimizer steps after which a method has to have learnt something of one batch.
        learning_rate: of the Adam that takes them.

    Raises:
        AssertionError: with one sentence that names the broken contract.
    """
    case = MethodCase(build, adapter or ToyAdapter(), num_steps=num_steps, learning_rate=learning_rate)
    for check in METHOD_CHECKS:
        check(case)


class MethodCase:
    """A method before and after a short training on one batch; checks share it and never change it."""

    def __init__(self, build: BuildMethod, adapter: DomainAdapter, *, num_steps: int, learning_rate: float) -> None:
        self.build, self.adapter, self.num_steps, self.learning_rate = build, adapter, num_steps, learning_rate
        sequences = adapter.train_sequences(8, seed=0)
        self.batch = stack([sequences[index] for index in range(6)])
        self.items = adapter.labelled(Split.TRAIN).inputs[:9]
        self.fresh = self.new()

    def new(self) -> Method:
        """A freshly initialised method."""
        return self.build(self.adapter.build_encoder(), self.adapter.actions)

    @property
    def name(self) -> str:
        """The method's class."""
        return type(self.fresh).__name__

    @cached_property
    def trained(self) -> Method:
        """The same method after a short training, in eval mode."""
        method = deepcopy(self.fresh).train()
        optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], lr=self.learning_rate)
        draws = torch.Generator().manual_seed(0)
        for _ in range(self.num_steps):
            optimizer.zero_grad()
            torch.stack(list(method.loss_terms(self.batch, draws).values())).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            method.after_step()
        return method.eval()

    @cached_property
    def context(self) -> Transitions:
        """One context of six pairs."""
        return self.adapter.held_out(6, 1, seed=1)

    def terms(self, method: Method, batch: Transitions | None = None, seed: int = 0) -> dict[str, Tensor]:
        """Detached terms in training mode; whatever the method remembers of the call is forgotten."""
        draws = torch.Generator().manual_seed(seed)
        terms = deepcopy(method).train().loss_terms(self.batch if batch is None else batch, draws)
        return {name: term.detach() for name, term in terms.items()}


def terms_are_finite_scalars(case: MethodCase) -> None:
    """`loss_terms` returns named, finite scalars."""
    terms = case.terms(case.fresh)
    _require(bool(terms), f"{case.name}.loss_terms returned no terms.")
    for name, term in terms.items():
        _require(isinstance(term, Tensor) and term.ndim == 0 and term.is_floating_point(),
                 f"{case.name}.loss_terms: the term {name!r} is not a scalar tensor of floating point numbers.")  # fmt: skip
        _require(bool(term.isfinite()), f"{case.name}.loss_terms: the term {name!r} is not finite.")


def same_seed_same_terms(case: MethodCase) -> None:
    """All randomness comes from the generator."""
    first, second = case.terms(case.fresh), case.terms(case.fresh)
    _require(
        first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first),
        f"{case.name}.loss_terms gives different terms for equal seeds: draw from the given generator only.",
    )


def gradient_reaches_the_encoder(case: MethodCase) -> None:
    """Every trainable parameter of the encoder gets a finite gradient, and some of it is not zero."""
    method = deepcopy(case.fresh).train()
    torch.stack(list(method.loss_terms(case.batch, torch.Generator().manual_seed(0)).values())).sum().backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in method.encoder.parameters() if p.requires_grad]
    reached = all(g is not None and bool(g.isfinite().all()) for g in gradients) and any(
        bool(g.any()) for g in gradients if g is not None
    )
    _require(reached, f"{case.name}: the gradient of the loss does not reach the encoder.")


def one_batch_can_be_overfitted(case: MethodCase) -> None:
    """A few steps on one batch lower its loss."""
    before, after = (float(torch.stack(list(case.terms(method).values())).sum()) for method in (case.fresh, case.trained))
    _require(
        after < before - 0.1 * abs(before),
        f"{case.name}: {case.num_steps} steps on one batch moved its loss from {before:.3g} to {after:.3g}, less than a tenth down.",
    )


def every_parameter_moves(case: MethodCase) -> None:
    """No parameter is left where it was: by gradient, or by `after_step` (moving averages)."""
    start = dict(case.fresh.named_parameters())
    still = [name for name, parameter in case.trained.named_parameters() if torch.equal(parameter, start[name])]
    _require(not still, f"{case.name}: training moves neither by gradient nor by after_step the parameters {still[:4]}.")


def rows_are_represented_independently(case: MethodCase) -> None:
    """In eval mode, what else is in the batch does not matter, and nothing is remembered."""
    with torch.no_grad():
        method = deepcopy(case.trained)
        together, alone = method.represent(case.items), torch.cat([method.represent(item[None]) for item in case.items])
    _require(
        together.ndim == 2 and len(together) == len(case.items), f"{case.name}.represent does not return [N, D] for N items."
    )
    _require(_close(together, alone), f"{case.name}.represent: in eval mode rows of one batch influence each other.")


def state_dict_round_trip(case: MethodCase) -> None:
    """A state dict holds everything: a new method that loads it is the old one."""
    restored = case.new()
    restored.load_state_dict(case.trained.state_dict())
    restored.eval()
    with torch.no_grad():
        same = _close(restored.represent(case.items), case.trained.represent(case.items))
    first, second = case.terms(restored), case.terms(case.trained)
    same = same and first.keys() == second.keys() and all(_close(first[name], second[name]) for name in first)
    _require(same, f"{case.name}: a new method that loads the state dict behaves differently: some state is not in it.")


def hidden_coordinates_are_never_read(case: MethodCase) -> None:
    """Noise in the actions of groups that an environment does not tell changes no loss.

    It is asked of methods that keep their EnvironmentSampler as `environments`; all others are told everything.
    """
    if not isinstance(getattr(case.fresh, "environments", None), EnvironmentSampler):
        return
    for environment in case.adapter.actions.environments:
        method = deepcopy(case.fresh)
        method.environments = EnvironmentSampler({environment.name: 1.0})  # type: ignore[assignment]
        first, second = case.terms(method), case.terms(method, _with_hidden_noise(case.batch, case.adapter.actions, environment))
        changed = [name for name in first if not _close(first[name], second[name])]
        _require(
            not changed,
            f"{case.name}.loss_terms reads actions that the environment {environment.name!r} hides (terms {changed}).",
        )


def prediction_depends_on_the_action(case: MethodCase) -> None:
    """`predict` gives the target's shape, and other actions give other predictions if the method reads actions."""
    method = case.trained
    if not isinstance(method, EquivariantMethod):
        return
    action = case.batch.action[0, :1].expand(len(case.items), -1)
    with torch.no_grad():
        target, prediction = method.embed_target(case.items), method.predict(case.items, action)
        other = method.predict(case.items, action + torch.randn(action.shape, generator=torch.Generator().manual_seed(0)))
    _require(
        prediction.shape == target.shape,
        f"{case.name}.predict has shape {list(prediction.shape)}, its target {list(target.shape)}.",
    )
    if isinstance(method, ContextualMethod) and not method.reads_actions:
        _require(_close(prediction, other), f"{case.name}.predict depends on the action, which the method says it does not read.")
        return
    _require(not _close(prediction, other, VISIBLE), f"{case.name}.predict does not depend on the action.")


def context_is_read(case: MethodCase) -> None:
    """Embeddings after contexts that differ in environment, items or told actions differ: as far as the method reads them."""
    method = case.trained
    if not isinstance(method, ContextualMethod):
        return
    actions, everything = case.adapter.actions, case.adapter.actions.environment("all")
    noise = torch.randn(case.context.action.shape, generator=torch.Generator().manual_seed(0)) * actions.action_scale
    with torch.no_grad():
        true = method.condition(case.context, everything).embed(case.items)
        empty = method.condition(case.context, actions.environment("none")).embed(case.items)
        lies = method.condition(case.context.with_action(noise), everything).embed(case.items)
        elsewhere = method.condition(case.adapter.held_out(6, 1, seed=2), everything).embed(case.items)
        target = method.embed_target(case.items, method.condition(case.context, everything))
    items, told = method.reads_context, method.reads_context and method.reads_actions
    for part, other, read in (("environment", empty, told), ("items", elsewhere, items), ("told actions", lies, told)):
        on = f"depend on the context's {part}"
        _require(not read or not _close(true, other, VISIBLE), f"{case.name}: embeddings do not {on}.")
        _require(read or _close(true, other), f"{case.name}: embeddings {on}, which the method says it does not read.")
    _require(_close(true, target), f"{case.name}.embed_target ignores the context that it is given.")


def context_hides_what_is_not_told(case: MethodCase) -> None:
    """Noise in hidden coordinates of a context's or a query's actions changes no embedding."""
    method = case.trained
    if not isinstance(method, ContextualMethod):
        return
    for environment in case.adapter.actions.environments:
        noisy = _with_hidden_noise(case.context, case.adapter.actions, environment)
        with torch.no_grad():
            first = method.condition(case.context, environment).embed(case.items[:6], case.context.action[0])
            second = method.condition(noisy, environment).embed(case.items[:6], noisy.action[0])
        _require(_close(first, second), f"{case.name}: a context or a query reads actions that {environment.name!r} hides.")


def shortened_context_equals_a_fresh_one(case: MethodCase) -> None:
    """`shortened` gives what a context of that length would have given."""
    method = case.trained
    if not isinstance(method, ContextualMethod):
        return
    told = case.adapter.actions.environment("all")
    with torch.no_grad():
        whole = method.condition(case.context, told)
        _require(whole.length == 12, f"{case.name}: the context of 6 pairs says that it has {whole.length} tokens, not 12.")
        for pairs in range(6):
            fresh = method.condition(case.context.first(pairs), told).embed(case.items)
            _require(
                _close(whole.shortened(2 * pairs).embed(case.items), fresh),
                f"{case.name}: a context shortened to {2 * pairs} tokens differs from a fresh context of that length.",
            )


def queries_do_not_see_each_other(case: MethodCase) -> None:
    """The embeddings of a query do not depend on the other queries, nor on their order."""
    method = case.trained
    if not isinstance(method, ContextualMethod):
        return
    with torch.no_grad():
        conditioned = method.condition(case.context, case.adapter.actions.environment("all"))
        together, alone = conditioned.embed(case.items), torch.cat([conditioned.embed(item[None]) for item in case.items])
    _require(_close(together, alone), f"{case.name}: queries of one context influence each other.")


def class_is_final(case: MethodCase) -> None:
    """Methods extend the abstract classes only; they are composed, not inherited."""
    concrete = [
        base.__name__ for base in type(case.fresh).__mro__[1:] if issubclass(base, Method) and not inspect.isabstract(base)
    ]
    _require(
        not concrete, f"{case.name} inherits from the finished method {', '.join(concrete)}: compose methods, do not extend them."
    )


METHOD_CHECKS: tuple[Callable[[MethodCase], None], ...] = (
    terms_are_finite_scalars,
    same_seed_same_terms,
    gradient_reaches_the_encoder,
    hidden_coordinates_are_never_read,
    every_parameter_moves,
    one_batch_can_be_overfitted,
    rows_are_represented_independently,
    state_dict_round_trip,
    prediction_depends_on_the_action,
    context_hides_what_is_not_told,
    context_is_read,
    shortened_context_equals_a_fresh_one,
    queries_do_not_see_each_other,
    class_is_final,
)


def _with_hidden_noise(batch: Transitions, actions: ActionSpace, environment: Environment) -> Transitions:
    hidden = 1 - actions.action_mask(environment)
    noise = torch.randn(batch.action.shape, generator=torch.Generator().manual_seed(3)) * actions.action_scale
    return batch.with_action(batch.action + hidden * noise)


def _close(a: Tensor, b: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether two float32 results differ by rounding only, relative to their size."""
    return a.shape == b.shape and bool((a - b).abs().max() <= tolerance * max(1e-3, float(b.abs().max())))


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise AssertionError(sentence)

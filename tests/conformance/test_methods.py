"""Every method passes the kit; and the kit notices every fault that it names."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

import contextssl.methods.context_ssl as context_ssl_module
import contextssl.methods.environments as environments_module
from contextssl.context import ConditionedEncoder
from contextssl.losses.contrastive import all_negatives, sequence_cross_negatives
from contextssl.method import EquivariantMethod, Method
from contextssl.methods.aug_self import AugSelf
from contextssl.methods.byol import BYOL
from contextssl.methods.context_ssl import ContextSSL
from contextssl.methods.environments import EnvironmentSampler
from contextssl.methods.equimod import EquiMOD, EquiMODObjective
from contextssl.methods.plus import Plus
from contextssl.methods.rehearsal import Rehearsal
from contextssl.methods.sen import SEN, SENObjective
from contextssl.methods.sen_hinge import SENHinge
from contextssl.methods.seq_jepa import SeqJEPA
from contextssl.methods.sie import SIE, SIEObjective
from contextssl.methods.simclr import SimCLR, SimCLRObjective
from contextssl.methods.vicreg import VICReg, VICRegObjective
from contextssl.models.aggregator import Aggregator
from contextssl.models.transformer import ContextTransformer
from contextssl.testing import METHOD_CHECKS, MethodCase, ToyAdapter, check_method

SMALL = {
    "transformer": partial(ContextTransformer, width=32, num_layers=2, fan_in_init=True),
    "contrastive": all_negatives,
    "environments": EnvironmentSampler({"turn": 0.5, "shift": 0.5}),
    "auxiliary_weight": 1.0,
    "auxiliary_dims": (32,),
}
REHEARSED = {
    "standardise": True,
    "read_evidence": True,
    "tell_presence": True,
    "embedding_dim": 16,
    "mask_probabilities": (0.0, 0.9),
    "mask_per_sequence": True,
    "environments": EnvironmentSampler({"turn": 0.4, "shift": 0.4, "none": 0.2}, decoy_share=0.25),
    "rehearsal": partial(Rehearsal, context_pairs=(1, 3), content_weight=0.1, fit_weight=0.1, agreement_weight=0.1),
}
SHARED_STEP = {
    "transformer": partial(ContextTransformer, width=32, num_layers=2),
    "contrastive": partial(sequence_cross_negatives, temperature=0.5),
    "environments": EnvironmentSampler({"turn": 0.5, "shift": 0.5}, per_sequence=False),
}
HEADS = {"projector_dims": (32, 32, 16)}
PLUS = partial(Plus, transformer=partial(ContextTransformer, width=32, num_layers=2, fan_in_init=True), embedding_dim=16)
METHODS = {
    "context_ssl": partial(ContextSSL, **SMALL),
    "context_ssl, one environment a step": partial(ContextSSL, **(SMALL | SHARED_STEP)),
    "context_ssl, rehearsed": partial(ContextSSL, **(SMALL | REHEARSED)),
    "seq_jepa": partial(
        SeqJEPA, num_steps=40, aggregator=partial(Aggregator, num_layers=1), action_embedding_dim=16, predictor_dim=32
    ),
    "simclr": partial(SimCLR, **HEADS),
    "vicreg": partial(VICReg, **HEADS),
    "byol": partial(BYOL, **HEADS, num_steps=40),
    "equimod": partial(EquiMOD, **HEADS),
    "sen": partial(SEN, **HEADS),
    "sen, told one group": partial(SEN, **HEADS, groups=["turn"]),
    "sen_hinge": partial(SENHinge, **HEADS, transition_dims=(32,)),
    "sie": partial(SIE, **HEADS),
    "aug_self": partial(AugSelf, **HEADS),
    "simclr+": partial(PLUS, objective=SimCLRObjective()),
    "simclr+, alone": partial(PLUS, objective=SimCLRObjective(), alone=True),
    "vicreg+": partial(PLUS, objective=VICRegObjective(), standardise=True),
    "equimod+": partial(PLUS, objective=EquiMODObjective(), standardise=True),
    "sen+": partial(PLUS, objective=SENObjective(), mask_probability=0.0),
    "sie+": partial(PLUS, objective=SIEObjective()),
    "sie+, alone": partial(PLUS, objective=SIEObjective(), alone=True, standardise=True),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_conform(name):
    torch.manual_seed(0)
    check_method(METHODS[name], ToyAdapter(trajectories=name == "seq_jepa"))


def fault(**members):
    """ContextSSL with some members replaced, as its author might have got them wrong."""
    return type("Faulty", (ContextSSL,), members)


def unused_layer(self, *arguments, **settings):
    ContextSSL.__init__(self, *arguments, **settings)
    self.forgotten = nn.Linear(2, 2)


def unsaved_state(self, *arguments, **settings):
    ContextSSL.__init__(self, *arguments, **settings)
    self.offset = torch.randn(32)


def frozen_target(self, *arguments, **settings):
    ContextSSL.__init__(self, *arguments, **settings)
    self.target = nn.Linear(2, 2).requires_grad_(False)


def context_of(change):
    """condition_features with a context that was changed first."""

    def condition_features(self, context, environment):
        conditioned = ContextSSL.condition_features(self, change(context), environment)
        return replace(conditioned, length=2 * context.length)

    return condition_features


def changed_terms(change):
    return lambda self, batch, draws: {name: change(term) for name, term in ContextSSL.loss_terms(self, batch, draws).items()}


FAULTS = {
    "no terms": (fault(loss_terms=lambda self, batch, draws: {}), "returned no terms"),
    "a term per row": (fault(loss_terms=changed_terms(lambda term: term.expand(3))), "not a scalar"),
    "nan": (fault(loss_terms=changed_terms(lambda term: term * torch.nan)), "is not finite"),
    "global randomness": (fault(loss_terms=changed_terms(lambda term: term + torch.rand(()))), "different terms for equal seeds"),
    "detached": (fault(represent=lambda self, x: ContextSSL.represent(self, x).detach()), "does not reach the encoder"),
    "unused layer": (fault(__init__=unused_layer), "neither by gradient nor by after_step the parameters .*forgotten"),
    "frozen moving average": (fault(__init__=frozen_target), "neither by gradient nor by after_step the parameters .*target"),
    "nothing learnt": (fault(loss_terms=changed_terms(lambda term: 1e-3 * term + 5)), "less than a tenth down"),
    "batch mean": (fault(represent=lambda self, x: ContextSSL.represent(self, x) - self.encoder(x).mean(0)), "rows of one batch"),
    "unsaved state": (
        fault(__init__=unsaved_state, represent=lambda self, x: ContextSSL.represent(self, x) + self.offset),
        "some state is not in it",
    ),
    "action ignored": (fault(predict=lambda self, x, action, context=None: self.embed_target(x)), "does not depend on the action"),
    "prediction too narrow": (
        fault(predict=lambda self, x, action, context=None: ContextSSL.predict(self, x, action, context)[:, 1:]),
        "predict has shape",
    ),
    "context ignored": (fault(condition_features=context_of(lambda c: c.first(0))), "do not depend on the context's environment"),
    "items of the context ignored": (
        fault(condition_features=context_of(lambda c: c.with_items(torch.zeros_like(c.state), torch.zeros_like(c.next_state)).with_action(
            torch.ones_like(c.action)))),
        "do not depend on the context's items",
    ),
    "values of the actions ignored": (
        fault(condition_features=context_of(lambda c: c.with_action(torch.ones_like(c.action)))),
        "do not depend on the context's told actions",
    ),
    "context-free target": (fault(embed_target=lambda self, x, context=None: ContextSSL.embed_target(self, x)), "embed_target ignores"),
    "inherited": (fault(), "inherits from the finished method ContextSSL"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_kit_names_the_broken_contract(name):
    faulty, message = FAULTS[name]
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match=message):
        check_method(partial(faulty, **SMALL), num_steps=10)


def whole_mask(num_tokens, device=None):
    return torch.ones(num_tokens, num_tokens, dtype=torch.bool)


def mixing_queries(self, features, action=None):
    embedding = ORIGINAL_EMBED_FEATURES(self, features, action)
    return embedding + embedding.mean(0)


ORIGINAL_EMBED_FEATURES = ConditionedEncoder.embed_features
CORE_FAULTS = {
    "training tells everything": (environments_module, "hide", lambda action, mask: action, "loss_terms reads actions"),
    "contexts tell everything": (context_ssl_module, "hide", lambda action, mask: action, "a context or a query reads actions"),
    "acausal context": (context_ssl_module, "pair_mask", whole_mask, "differs from a fresh context"),
    "queries mix": (ConditionedEncoder, "embed_features", mixing_queries, "queries of one context influence each other"),
}


@pytest.mark.parametrize("name", CORE_FAULTS)
def test_kit_notices_faults_of_the_core(name, monkeypatch):
    owner, attribute, broken, message = CORE_FAULTS[name]
    monkeypatch.setattr(owner, attribute, broken)
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match=message):
        check_method(partial(ContextSSL, **SMALL), num_steps=10)


def pretended_context(self, *arguments, **settings):
    Plus.__init__(self, *arguments, **settings)
    self.reads_context = True


def secret_actions(self, features, action=None):
    return Plus.tokens(self, features if action is None else features + self.told(action).sum(-1, keepdim=True))


def secret_context(self, context, environment):
    self.alone = False
    return Plus.condition_features(self, context, environment)


def plus_fault(**members):
    """Plus with some members replaced."""
    return type("Faulty", (Plus,), members)


PLUS_FAULTS = {
    "actions read in secret": (
        plus_fault(tokens=secret_actions), SimCLRObjective(), False,
        "predict depends on the action, which the method says it does not read",
    ),
    "context read in secret": (
        plus_fault(condition_features=secret_context), SimCLRObjective(), True,
        "embeddings depend on the context's items, which the method says it does not read",
    ),
    "environments told in secret": (
        plus_fault(condition_features=secret_context), SENObjective(), True,
        "embeddings depend on the context's environment, which the method says it does not read",
    ),
    "a context that is none": (
        plus_fault(__init__=pretended_context), SimCLRObjective(), True, "do not depend on the context's items"
    ),
    "actions that are none": (
        plus_fault(tokens=lambda self, features, action=None: Plus.tokens(self, features)), SENObjective(), False,
        "does not depend on the action",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLUS_FAULTS)
def test_kit_holds_methods_to_what_they_say_they_read(name):
    faulty, objective, alone, message = PLUS_FAULTS[name]
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match=message):
        check_method(partial(faulty, *PLUS.args, **PLUS.keywords, objective=objective, alone=alone), num_steps=10)


class Pairwise(EquivariantMethod):
    """The smallest method that is not contextual: a moving-average target and an action-conditioned predictor."""

    def __init__(self, encoder, actions, *, momentum=0.9):
        super().__init__()
        self.encoder, self.actions, self.momentum = encoder, actions, momentum
        self.target = nn.Linear(encoder.out_dim, 8).requires_grad_(False)
        self.online = nn.Linear(encoder.out_dim, 8)
        self.predictor = nn.Linear(8 + actions.action_dim, 8)

    def loss_terms(self, batch, generator):
        state, action, next_state, _ = batch.pairs()
        return {"prediction": (self.predict(state, action) - self.embed_target(next_state)).square().mean()}

    def predict(self, x, action, context=None):
        return self.predictor(torch.cat([self.online(self.represent(x)), action], dim=1))

    def embed_target(self, x, context=None):
        return self.target(self.represent(x))

    def after_step(self):
        for target, online in zip(self.target.parameters(), self.online.parameters(), strict=True):
            target.data.lerp_(online.data, 1 - self.momentum)


def test_methods_without_context_are_checked_too():
    torch.manual_seed(0)
    check_method(Pairwise)
    with pytest.raises(AssertionError, match=r"neither by gradient nor by after_step the parameters .*target"):
        check_method(partial(Pairwise, momentum=1.0))


def test_checks_leave_the_method_as_it_was():
    torch.manual_seed(0)
    case = MethodCase(METHODS["context_ssl, rehearsed"], ToyAdapter(), num_steps=2, learning_rate=1e-3)
    before = {name: value.clone() for name, value in case.fresh.state_dict().items()}
    trained = {name: value.clone() for name, value in case.trained.state_dict().items()}
    for check in METHOD_CHECKS:
        if check.__name__ != "one_batch_can_be_overfitted":
            check(case)
    assert all(torch.equal(before[name], value) for name, value in case.fresh.state_dict().items())
    assert all(torch.equal(trained[name], value) for name, value in case.trained.state_dict().items())
    assert isinstance(case.fresh, Method)

"""Rehearsal: a part of the training step laid out exactly as inference (docs/notebook.md; not in the paper).

A context of k pairs is run without random masks, and queries see it and themselves, nothing else: the code path of
`ConditionedEncoder`. There the losses ask what one wants at inference:

    rehearsed contrastive   X_i (with its told action) finds Y_i
    rehearsed auxiliary     told groups are readable from X_i, Y_i and from the plain item x_i
    leakage                 groups the context does not tell are not readable from the plain item x_i
    content                 everything else about x_i is: its features follow linearly from embedding and latents
    agreement               contexts that tell the same groups embed an item alike, whatever their examples and length
    fit                     the last hidden state of Y_i in a context knows whether the shown action is its pair's own
    evidence                a pair's features tell its action, in the terms in which a context compares the two

Leakage may erase a group before the model has learnt to read its context, and a group that is learnt early, held
down early, keeps the others from being learnt at all. Its strength therefore follows a measurement: it grows while
told contexts show every group (running R2 of the auxiliary predictor above `onset_r2`) and shrinks while one is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.actions import ActionSpace, hide
from contextssl.batch import Transitions
from contextssl.distributed import gather, num_processes, own, total
from contextssl.losses.leakage import Leakage, beyond
from contextssl.methods.environments import Told
from contextssl.models.transformer import ContextTransformer
from contextssl.transfer import send

if TYPE_CHECKING:
    from contextssl.methods.context_ssl import ContextSSL


class Rehearsal(nn.Module):
    """The rehearsed part of a step. `ContextSSL` takes it as a partial and gives it the first three arguments.

    Args:
        actions: the domain's action space.
        features_dim: width D of the features.
        transformer: the context transformer, for its widths.
        context_pairs: numbers of context pairs k, one drawn for each sequence.
        contrastive_weight, auxiliary_weight, leakage_weight, content_weight, fit_weight, evidence_weight,
            agreement_weight: weights of the terms; one of weight 0 is left out.
        leakage_given_told: whether only that is penalised of a group which told groups do not say of it. It makes no difference
            where groups are independent; where a told target goes with a sensitive attribute, hiding all of the one costs the other.
        penalty: builds the leakage penalty of one group from (number of its functions, embedding width).
    """

    def __init__(
        self, actions: ActionSpace, features_dim: int, transformer: ContextTransformer, *, context_pairs: Sequence[int],
        contrastive_weight: float = 1.0, auxiliary_weight: float = 1.0, leakage_weight: float = 1.0, content_weight: float = 0.0,
        fit_weight: float = 0.0, evidence_weight: float = 0.0, agreement_weight: float = 0.0, leakage_given_told: bool = False,
        penalty: Callable[[int, int], Leakage] = Leakage,
    ) -> None:  # fmt: skip
        super().__init__()
        embedding_dim, width = transformer.read_out.out_features, transformer.read_out.in_features
        self.actions, self.context_pairs = actions, tuple(context_pairs)
        self.contrastive_weight, self.auxiliary_weight = contrastive_weight, auxiliary_weight
        self.leakage_weight, self.content_weight = leakage_weight, content_weight
        self.leakage_given_told = leakage_given_told
        groups = actions.groups if leakage_weight else ()
        self.leakage = nn.ModuleDict({group.name: penalty(group.num_functions, embedding_dim) for group in groups})
        self.content = nn.Linear(embedding_dim + actions.latent_dim, features_dim) if content_weight else None
        self.fit_weight, self.evidence_weight, self.agreement_weight = fit_weight, evidence_weight, agreement_weight
        self.fit = nn.Linear(width, 1) if fit_weight else None

    def forward(self, method: ContextSSL, features: Transitions, told: Told, generator: torch.Generator) -> dict[str, Tensor]:
        """Weighted terms for encoded sequences [B, T, D].

        The context of sequence b is queried by the pairs of sequence b + 1, and by the plain states of all sequences.
        """
        if num_processes() * features.num_sequences < 2:
            raise ValueError("rehearsal queries each context with another sequence: train with at least 2 sequences a step")
        # As long in every step, so that compiled parts keep their shapes; what is beyond a length drawn is not seen.
        num_pairs, longest = self._draw_lengths(features, generator), min(max(self.context_pairs), features.length)
        cache, hidden = method.context(features.first(longest), told.action[:, :longest], told.presence)
        seen = torch.arange(longest, device=num_pairs.device) < num_pairs[:, None]
        groups = told.groups_after(num_pairs)

        x, action, y, latent = (
            own(gather(part).roll(-1, 0)) for part in (features.state, features.action, features.next_state, features.latent)
        )
        plain_x, plain_latent = (_for_every_sequence(rows) for rows in (features.state, features.latent[:, :, 0]))
        tokens = [
            method.tokens(x, hide(action, told.shown.unsqueeze(1)), told.presence),
            method.tokens(y),
            method.tokens(plain_x),
        ]
        outputs = method.transformer.query(torch.cat(tokens, dim=1), cache, seen.repeat_interleave(2, dim=1))
        embedded_x, embedded_y, plain = outputs.split([features.length, features.length, plain_x.shape[1]], dim=1)
        plain = F.normalize(plain, dim=-1)

        other = latent[:, :, 1]
        terms = {
            "rehearsed contrastive": self.contrastive_weight * method.contrastive(embedded_x, embedded_y),
            "rehearsed auxiliary": self.auxiliary_weight
            * method.auxiliary_error(outputs, torch.cat([other, other, plain_latent], dim=1), groups),
        }
        # These compare contexts, so they look at those of all processes.
        every_plain, every_group, any_context = gather(plain), gather(groups), gather(num_pairs) > 0
        if self.agreement_weight:
            terms["agreement"] = self.agreement_weight * disagreement(every_plain, every_group, any_context)
        if self.leakage:
            every_latent = plain_latent[:1].expand(len(every_plain), -1, -1)
            self._observe(method, every_plain, every_latent, every_group)
            terms["leakage"] = self.leakage_weight * self._leakage(every_plain, every_latent, every_group, any_context)
        if self.content is not None:
            terms["content"] = self.content_weight * self._content_error(method, plain, plain_x, plain_latent)
        if self.evidence_weight:
            if method.evidence is None:
                raise ValueError("rehearsal.evidence_weight trains what reads evidence: set read_evidence, or the weight to 0")
            pair = torch.cat([features.state, features.next_state], dim=-1)
            terms["evidence"] = self.evidence_weight * method.evidence.misreading(pair, features.action * method.action_gain)
        if self.fit is not None:
            telling = told.shown.any(1, keepdim=True) & seen
            logits = self.fit(hidden[:, 1::2]).squeeze(-1)
            errors = F.binary_cross_entropy_with_logits(logits, told.fits[:, :longest].float(), reduction="none")
            share = num_processes() / total(telling.sum()).clamp_min(1)
            terms["fit"] = self.fit_weight * share * (errors * telling).sum()
        return terms

    def compile(self, *arguments: Any, **named: Any) -> None:
        """Nothing: between the parts that others compile there are draws and sizes that differ from step to step."""

    @property
    def penalties(self) -> dict[str, Leakage]:
        """The leakage penalty of each group, by its name."""
        return {name: cast(Leakage, penalty) for name, penalty in self.leakage.items()}

    def _draw_lengths(self, features: Transitions, generator: torch.Generator) -> Tensor:
        """[B] number of context pairs of each sequence, every one at most T."""
        choice = own(torch.randint(len(self.context_pairs), (num_processes() * features.num_sequences,), generator=generator))
        return send(torch.tensor(self.context_pairs)[choice].clamp_max(features.length), features.action.device)

    def _content_error(self, method: ContextSSL, plain: Tensor, features: Tensor, latent: Tensor) -> Tensor:
        """How much of the features [B, Q, D] does not follow linearly from embeddings [B, Q, E] and latents [B, Q, L]."""
        assert self.content is not None
        # Scaled to unit variance a coordinate, or the linear map would spend the training on growing.
        known = torch.cat([plain * plain.shape[-1] ** 0.5, (latent - method.latent_mean) / method.latent_scale], dim=-1)
        error = (self.content(known) - features.detach()).square().mean((0, 1))
        # A feature counts by the variance the encoder gave it; normalised, rare categories would count most.
        weighted: Tensor = (error * method.feature_variance / method.feature_variance.sum()).sum()
        return weighted

    @torch.no_grad()
    def _observe(self, method: ContextSSL, plain: Tensor, latent: Tensor, told: Tensor) -> None:
        """Measure how well told contexts show each group, and move the strength of all penalties accordingly."""
        target = (latent - method.latent_mean) / method.latent_scale
        errors = (method.auxiliary(plain).float() - target).square()
        for index, (name, penalty) in enumerate(self.penalties.items()):
            columns, is_told = self.actions.latent_slice(name), told[:, index] > 0
            variance = _variance(target[..., columns], is_told).mean().clamp_min(1e-4)
            told_r2 = 1 - _mean(errors[..., columns], is_told).mean() / variance
            penalty.observe(torch.where(is_told.any(), told_r2, penalty.told_r2))
        every_group_is_shown = torch.stack([penalty.is_shown for penalty in self.penalties.values()]).all()
        for penalty in self.penalties.values():
            penalty.move(every_group_is_shown)

    def _leakage(self, plain: Tensor, latent: Tensor, told: Tensor, any_context: Tensor) -> Tensor:
        """Sum over groups of the penalty on the sequences whose context does not tell the group."""
        total = plain.new_zeros(())
        functions = [group.functions(latent[..., self.actions.latent_slice(group.name)]) for group in self.actions.groups]
        if self.leakage_given_told:
            # What a context does not tell is zero here. Of the groups it tells nothing is left, and they do not count below.
            shown = torch.cat([told[:, index, None, None] * known for index, known in enumerate(functions)], dim=-1)
            functions = [beyond(values, shown) for values in functions]
        for index, penalty in enumerate(self.penalties.values()):
            untold = (told[:, index] == 0) & any_context
            weight = untold[:, None].expand(plain.shape[:2])
            total = total + penalty(plain.flatten(0, 1), functions[index].flatten(0, 1), weight.flatten())
        return total


def disagreement(embedding: Tensor, told: Tensor, counted: Tensor) -> Tensor:
    """How much the embeddings of the same items differ between contexts that tell the same groups: 0 to 1.

    One minus the squared length of the mean of unit-norm embeddings over such contexts. Without it, a penalty that
    pools contexts is evaded: a group that points elsewhere in every context can be read in each and in none of all.

    Args:
        embedding: [B, Q, E] unit-norm embeddings of Q items in B contexts.
        told: [B, G] groups each context tells.
        counted: [B] the contexts that count.
    """
    alike = (told[:, None] == told).all(-1) & counted & counted[:, None]
    count = alike.sum(1)
    with torch.autocast(embedding.device.type, enabled=False):
        means = alike.float() @ embedding.float().flatten(1) / count.clamp_min(1)[:, None]
    spread = 1 - means.view_as(embedding).square().sum(-1).mean(1)
    share = (count > 1) / count.clamp_min(1)  # of each context in its kind, so that every kind counts once
    return (share * spread).sum() / share.sum().clamp_min(1)


def _mean(rows: Tensor, counted: Tensor) -> Tensor:
    """[B, Q, L] -> [L]: the mean over the sequences that count [B]."""
    return (counted[:, None, None] * rows).sum((0, 1)) / (counted.sum() * rows.shape[1]).clamp_min(1)


def _variance(rows: Tensor, counted: Tensor) -> Tensor:
    """[B, Q, L] -> [L]: the unbiased variance over the sequences that count [B]."""
    number = counted.sum() * rows.shape[1]
    return _mean((rows - _mean(rows, counted)).square(), counted) * number / (number - 1).clamp_min(1)


def _for_every_sequence(rows: Tensor) -> Tensor:
    """[B, T, ...] -> [B, B T, ...]: all rows of the batch (of all processes), for every sequence."""
    return gather(rows).flatten(0, 1).expand(len(rows), -1, *rows.shape[2:])

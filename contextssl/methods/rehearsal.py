"""Rehearsal: a part of the training step laid out exactly as inference (docs/notebook.md; not in the paper).

A context of k pairs is run without random masks, and queries from *another* sequence of the batch see it and
themselves, nothing else: the code path of `ConditionedEncoder`. There the losses ask what one wants at inference:

    rehearsed contrastive   X_i (with its told action) finds Y_i
    rehearsed auxiliary     told groups are readable from X_i, Y_i and from the plain item x_i
    leakage                 groups the context does not tell are not readable from the plain item x_i
    content                 everything else about x_i is: its features follow from embedding and latents

Leakage may erase a group before the model has learnt to read its context. Its strength therefore follows a
measurement: it grows while told contexts show the group (running R2 of the auxiliary predictor above `onset_r2`)
and shrinks while they do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.actions import ActionSpace, Group, hide
from contextssl.batch import Transitions
from contextssl.losses.leakage import Adversary, ridge_r2
from contextssl.methods.environments import Told
from contextssl.models.heads import mlp

if TYPE_CHECKING:
    from contextssl.methods.context_ssl import ContextSSL


class Leakage(nn.Module):
    """The penalty on one group: relu(R2 - budget) under ridge regression and under an adversary, times its strength.

    Args:
        group: the group; its functions of the latent are what must not be readable.
        embedding_dim: width E of the embeddings.
        linear_budget, adversary_budget: R2 that is let pass.
        adversary_updates: updates of the adversary a step; 0 for no adversary.
        queue_length: detached past embeddings that join the batch, so that in-sample R2 is not mostly chance.
        ridge: of the ridge regression.
        ramp: steps from zero to full strength.
        onset_r2: running R2 in told contexts above which the strength grows.
    """

    queue: Tensor
    filled: Tensor
    told_r2: Tensor
    strength: Tensor

    def __init__(
        self, group: Group, embedding_dim: int, *, linear_budget: float = 0.0, adversary_budget: float = 0.0,
        adversary_updates: int = 3, queue_length: int = 2048, ridge: float = 0.01, ramp: int = 200, onset_r2: float = 0.3,
    ) -> None:  # fmt: skip
        super().__init__()
        self.group, self.embedding_dim, self.ramp, self.onset_r2, self.ridge = group, embedding_dim, ramp, onset_r2, ridge
        self.linear_budget, self.adversary_budget, self.adversary_updates = linear_budget, adversary_budget, adversary_updates
        num_functions = group.functions(torch.zeros(1, group.latent_dim)).shape[1]
        self.adversary = Adversary(embedding_dim, num_functions) if adversary_updates else None
        self.register_buffer("queue", torch.zeros(queue_length, embedding_dim + num_functions))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))
        self.register_buffer("told_r2", torch.zeros(()))
        self.register_buffer("strength", torch.zeros(()))

    @torch.no_grad()
    def observe(self, told_r2: Tensor) -> None:
        """Take in the R2 [] with which told contexts show the group, and move the strength accordingly."""
        self.told_r2.lerp_(told_r2, 0.05)
        self.strength.add_(torch.where(self.told_r2 > self.onset_r2, 1.0, -1.0) / self.ramp).clamp_(0, 1)

    def forward(self, embedding: Tensor, latent: Tensor) -> Tensor:
        """The penalty [] of embeddings [N, E] of items whose parameters in this group are [N, latent_dim]."""
        past = self.queue[: int(self.filled)]
        rows = torch.cat([embedding.detach(), self.group.functions(latent)], dim=1)
        everything = torch.cat([rows, past])
        functions = everything[:, self.embedding_dim :]
        functions = (functions - functions.mean(0)) / functions.std(0).clamp_min(1e-4)
        embeddings = torch.cat([embedding, past[:, : self.embedding_dim]])
        share = min(8.0, len(everything) / len(rows))  # the queue carries no gradient: make up for its share
        penalty = share * F.relu(ridge_r2(embeddings, functions, ridge=self.ridge) - self.linear_budget).mean()
        if self.adversary is not None:
            for _ in range(self.adversary_updates):
                self.adversary.learn(embeddings.detach(), functions)
            penalty = penalty + F.relu(self.adversary.r2(embedding, functions[: len(rows)]) - self.adversary_budget).mean()
        kept = everything[: len(self.queue)]
        self.queue[: len(kept)] = kept
        self.filled.fill_(len(kept))
        return self.strength * penalty


class Rehearsal(nn.Module):
    """The rehearsed part of a step. `ContextSSL` takes it as a partial and gives it the first three arguments.

    Args:
        actions: the domain's action space.
        embedding_dim: width E of the embeddings.
        features_dim: width D of the features.
        context_pairs: numbers of context pairs k, one drawn per step.
        contrastive_weight, auxiliary_weight, leakage_weight, content_weight: weights of the terms.
        penalty: builds the leakage penalty of one group from (group, embedding width).
    """

    def __init__(
        self, actions: ActionSpace, embedding_dim: int, features_dim: int, *, context_pairs: Sequence[int],
        contrastive_weight: float = 1.0, auxiliary_weight: float = 1.0, leakage_weight: float = 1.0, content_weight: float = 0.0,
        penalty: Callable[[Group, int], Leakage] = Leakage,
    ) -> None:  # fmt: skip
        super().__init__()
        self.actions, self.context_pairs = actions, tuple(context_pairs)
        self.contrastive_weight, self.auxiliary_weight = contrastive_weight, auxiliary_weight
        self.leakage_weight, self.content_weight = leakage_weight, content_weight
        self.leakage = nn.ModuleDict({group.name: penalty(group, embedding_dim) for group in actions.groups} if leakage_weight else {})
        self.content = mlp(embedding_dim + actions.latent_dim, (256,), features_dim) if content_weight else None

    def forward(self, method: ContextSSL, features: Transitions, told: Told, generator: torch.Generator) -> dict[str, Tensor]:
        """Weighted terms for encoded sequences [B, T, D]; the context of sequence b is queried by sequence b + 1."""
        if features.num_sequences < 2:
            raise ValueError("rehearsal queries each context with another sequence: train with at least 2 sequences a step")
        num_pairs = min(self.context_pairs[int(torch.randint(len(self.context_pairs), (), generator=generator))], features.length)
        cache = method.context(features.first(num_pairs), told.action[:, :num_pairs])
        x, action, y, latent = (part.roll(-1, 0) for part in (features.state, features.action, features.next_state, features.latent))
        tokens = [method.tokens(x, hide(action, told.shown.unsqueeze(1))), method.tokens(y), method.tokens(x)]
        outputs = method.transformer.query(torch.cat(tokens, dim=1), cache)
        own, other = latent[:, :, 0], latent[:, :, 1]
        embedded_x, embedded_y, plain = outputs.chunk(3, dim=1)
        terms = {"rehearsed contrastive": self.contrastive_weight * method.contrastive(embedded_x, embedded_y)}
        error = method.auxiliary_error(outputs, torch.cat([other, other, own], dim=1), told.groups)
        terms["rehearsed auxiliary"] = self.auxiliary_weight * error
        plain = F.normalize(plain, dim=-1)
        if self.leakage:
            terms["leakage"] = self.leakage_weight * self._leakage(method, plain, own, told.groups, num_pairs > 0)
        if self.content is not None:
            known = torch.cat([plain, (own - method.latent_mean) / method.latent_scale], dim=-1)
            terms["content"] = self.content_weight * F.mse_loss(self.content(known), x.detach())
        return terms

    def _leakage(self, method: ContextSSL, plain: Tensor, latent: Tensor, told: Tensor, any_context: bool) -> Tensor:
        """Sum over groups of the penalty on the sequences that are not told the group."""
        total = plain.new_zeros(())
        for index, (name, penalty) in enumerate(self.leakage.items()):
            columns, is_told = self.actions.latent_slice(name), told[:, index] > 0
            if is_told.any():
                with torch.no_grad():
                    target = ((latent - method.latent_mean) / method.latent_scale)[is_told][..., columns]
                    error = (method.auxiliary(plain[is_told])[..., columns] - target).square().mean()
                    penalty.observe(1 - error / target.var(dim=(0, 1)).mean().clamp_min(1e-4))
            if any_context and not is_told.all():
                total = total + penalty(plain[~is_told].flatten(0, 1), latent[~is_told].flatten(0, 1)[:, columns])
        return total

"""How much of an untold group can be read from an embedding, as differentiable quantities to hold down.

Both measures are coefficients of determination of the untold group's functions (`Group.functions`): one of the best
ridge regression, solved in closed form; one of a small network that is trained against the embeddings.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def ridge_r2(embedding: Tensor, target: Tensor, weight: Tensor | None = None, *, ridge: float = 0.03) -> Tensor:
    """[F] R2 of each target function under in-sample ridge regression from standardised embeddings.

    With Z the embeddings standardised per dimension, u a centred function and c = Z'u / n, it is
    c' (Z'Z / n + ridge I)^-1 c / var(u): 0 when no linear function of the embedding knows u, at most 1.

    Args:
        embedding: [N, E].
        target: [N, F].
        weight: [N], 1 for the rows that count and 0 for the others; all count when None.
        ridge: added to the diagonal of the correlation matrix.
    """
    with torch.autocast(embedding.device.type, enabled=False):  # nearly singular systems need single precision
        counts = _counts(embedding, weight)
        rows = counts.sum().clamp_min(1)
        z = counts * (embedding.float() - _mean(embedding.float(), counts))
        z = z / (z.square().sum(0) / rows).add(1e-8).sqrt()
        u = counts * (target.float() - _mean(target.float(), counts))
        correlation = z.T @ z / rows + ridge * torch.eye(z.shape[1], device=z.device)
        cross = z.T @ u / rows
        # Unlike `solve`, this does not wait for the device to say that the matrix was regular; the ridge makes it so.
        solution, _ = torch.linalg.solve_ex(correlation, cross)
        explained: Tensor = (cross * solution).sum(0)
        return explained / (u.square().sum(0) / rows).clamp_min(1e-8)


def beyond(target: Tensor, known: Tensor) -> Tensor:
    """[B, N, F] what a linear function of `known`, fitted in each of the B sets, does not explain of `target`.

    Of known classes it leaves the distance to the class's mean, which nothing that says the class alone can read. Hiding what is
    left asks for equal treatment within classes (equalized odds), hiding the target itself for equal treatment of all (parity).

    Args:
        target: [B, N, F].
        known: [B, N, K]; columns of zeros, or that repeat others, explain nothing.
    """
    with torch.autocast(target.device.type, enabled=False):
        known, target = (rows.float() - rows.float().mean(1, keepdim=True) for rows in (known, target))
        scatter, cross = known.mT @ known / known.shape[1], known.mT @ target / known.shape[1]
        # Unlike `solve`, this does not wait for the device to say that the matrix was regular; the ridge makes it so.
        solution, _ = torch.linalg.solve_ex(scatter + 1e-6 * torch.eye(known.shape[2], device=known.device), cross)
        rest: Tensor = target - known @ solution
        return rest


def _counts(rows: Tensor, weight: Tensor | None) -> Tensor:
    """[N, 1] the weight of each row, in single precision at least."""
    return torch.ones(len(rows), 1, device=rows.device) if weight is None else weight.float().unsqueeze(1)


def _mean(rows: Tensor, counts: Tensor) -> Tensor:
    return (counts * rows).sum(0) / counts.sum().clamp_min(1)


def _scale(rows: Tensor, counts: Tensor) -> Tensor:
    """Standard deviation of each column, from n - 1 degrees of freedom."""
    squares = (counts * (rows - _mean(rows, counts)).square()).sum(0)
    return (squares / (counts.sum() - 1).clamp_min(1)).sqrt()


class Adversary(nn.Module):
    """A network that reads the target functions from embeddings, with its own optimizer.

    It learns from detached embeddings in `learn`; `r2` is differentiable with respect to the embeddings. The
    optimizer's state lives in buffers, so that a checkpoint of the method holds it.

    Args:
        in_dim: embedding width E.
        out_dim: number of target functions F.
        hidden_dims: widths of its two hidden layers.
        learning_rate: of its Adam.
    """

    num_updates: Tensor
    first_moment: Tensor
    second_moment: Tensor

    def __init__(
        self, in_dim: int, out_dim: int, *, hidden_dims: tuple[int, int] = (128, 128), learning_rate: float = 2e-3
    ) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        first, second = hidden_dims
        self.network = nn.Sequential(
            nn.Linear(in_dim, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, out_dim)
        ).requires_grad_(False)
        weights = list(self.network.parameters())
        self.register_buffer("num_updates", torch.zeros((), dtype=torch.float64))
        self.register_buffer("first_moment", torch.zeros(sum(w.numel() for w in weights)))
        self.register_buffer("second_moment", torch.zeros(sum(w.numel() for w in weights)))

    def learn(self, embedding: Tensor, target: Tensor, weight: Tensor | None = None) -> None:
        """One Adam update of the mean squared error on detached [N, E] embeddings and standardised [N, F] targets.

        Of the rows with weight [N] 1, which are all when it is None; none of weight 1, no update.
        """
        weights, counts = list(self.network.parameters()), _counts(embedding, weight)
        with torch.enable_grad():
            self.network.requires_grad_(True)
            errors = counts * (self.network(embedding.detach()) - target).square()
            error = errors.sum() / (counts.sum().clamp_min(1) * target.shape[1])
            gradient = torch.cat([g.flatten() for g in torch.autograd.grad(error, weights)])
            self.network.requires_grad_(False)
        some = (counts.sum() > 0).float()
        self.num_updates += some
        self.first_moment.lerp_(gradient, 0.1 * some)
        self.second_moment.lerp_(gradient.square(), 0.01 * some)
        done = self.num_updates.clamp_min(1)
        first, second = self.first_moment / (1 - 0.9**done), self.second_moment / (1 - 0.99**done)
        update = some * self.learning_rate * first / (second.sqrt() + 1e-8)
        for parameter, change in zip(weights, update.split([w.numel() for w in weights]), strict=True):
            parameter.data -= change.view_as(parameter)

    def hidden(self, embedding: Tensor) -> Tensor:
        """[N, H] what the network's last layer reads, differentiable with respect to the embeddings [N, E]."""
        activations: Tensor = self.network[:-1](embedding)
        return activations


class Leakage(nn.Module):
    """The penalty on one group: relu(R2 - budget) under ridge regression and under an adversary, times its strength.

    Args:
        num_functions: number F of functions of the group's latent that must not be readable (`Group.functions`).
        embedding_dim: width E of the embeddings.
        linear_budget, adversary_budget: R2 that is let pass.
        adversary_updates: updates of the adversary a step; 0 for no adversary.
        queue_length: detached past embeddings that join the batch, so that in-sample R2 is not mostly chance.
        ridge: of the ridge regression. What varies less than this, relative to a whole dimension, escapes it: at
            0.01 sex could be read in full by a logistic probe from a direction that small (docs/notebook.md).
        ramp: steps from zero to full strength.
        onset_r2: running R2 in told contexts above which the strength grows.
    """

    queue: Tensor
    filled: Tensor
    told_r2: Tensor
    strength: Tensor

    def __init__(
        self, num_functions: int, embedding_dim: int, *, linear_budget: float = 0.0, adversary_budget: float = 0.0,
        adversary_updates: int = 3, queue_length: int = 2048, ridge: float = 1e-3, ramp: int = 200, onset_r2: float = 0.3,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding_dim, self.ramp, self.onset_r2, self.ridge = embedding_dim, ramp, onset_r2, ridge
        self.linear_budget, self.adversary_budget, self.adversary_updates = linear_budget, adversary_budget, adversary_updates
        self.adversary = Adversary(embedding_dim, num_functions) if adversary_updates else None
        self.register_buffer("queue", torch.zeros(queue_length, embedding_dim + num_functions))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))
        self.register_buffer("told_r2", torch.zeros(()))
        self.register_buffer("strength", torch.zeros(()))

    @torch.no_grad()
    def observe(self, told_r2: Tensor) -> None:
        """Take in the R2 [] with which told contexts show the group."""
        self.told_r2.lerp_(told_r2, 0.05)

    @property
    def is_shown(self) -> Tensor:
        """[] whether told contexts show the group well enough for it to be penalised elsewhere."""
        return self.told_r2 > self.onset_r2

    @torch.no_grad()
    def move(self, grow: Tensor) -> None:
        """Let the strength grow or shrink [] by one step of the ramp."""
        self.strength.add_(torch.where(grow, 1.0, -1.0) / self.ramp).clamp_(0, 1)

    def forward(self, embedding: Tensor, functions: Tensor, weight: Tensor | None = None) -> Tensor:
        """The penalty [] of embeddings [N, E] of items with the group's functions [N, F].

        Only rows of weight [N] 1 count, all when it is None. Weights, not a selection: how many rows count is known to
        the device alone, and nothing here waits for it. Without any such row the penalty is 0 and nothing is learnt.
        """
        own = _counts(embedding, weight)
        some = (own.sum() > 0).float()
        past = (torch.arange(len(self.queue), device=own.device) < self.filled).to(own).unsqueeze(1)
        counts = torch.cat([own, past]) * some
        everything = torch.cat([torch.cat([embedding.detach(), functions], dim=1), self.queue])
        functions = everything[:, self.embedding_dim :]
        functions = (functions - _mean(functions, counts)) / _scale(functions, counts).clamp_min(1e-4)
        embeddings = torch.cat([embedding, self.queue[:, : self.embedding_dim]])
        # The queue carries no gradient: make up for its share.
        share = (counts.sum() / own.sum().clamp_min(1)).clamp_max(8.0)
        penalty = F.relu(ridge_r2(embeddings, functions, counts[:, 0], ridge=self.ridge) - self.linear_budget).mean()
        if self.adversary is not None:
            # On standardised embeddings: a group kept at a small amplitude is not a group dropped.
            known = everything[:, : self.embedding_dim]
            standardised = (embeddings - _mean(known, counts)) / _scale(known, counts).clamp_min(1e-6)
            for _ in range(self.adversary_updates):
                self.adversary.learn(standardised, functions, counts[:, 0])
            # The last layer is solved for, not learnt: an adversary that lags behind the embeddings sees nothing.
            seen = torch.cat([standardised, self.adversary.hidden(standardised)], dim=1)
            penalty = penalty + F.relu(ridge_r2(seen, functions, counts[:, 0], ridge=self.ridge) - self.adversary_budget).mean()
        self._remember(everything, torch.cat([own, past]))
        return self.strength * share * some * penalty

    @torch.no_grad()
    def _remember(self, rows: Tensor, counts: Tensor) -> None:
        """Keep the first rows that count, of all [N + Q, E + F], as many as the queue holds."""
        order = counts[:, 0].argsort(descending=True, stable=True)[: len(self.queue)]
        self.queue.copy_(rows[order])
        self.filled.copy_(counts.sum().clamp_max(len(self.queue)))

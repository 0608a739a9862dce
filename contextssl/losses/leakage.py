"""How much of an untold group can be read from an embedding, as differentiable quantities to hold down.

Both measures are coefficients of determination of the untold group's functions (`Group.functions`): one of the best
ridge regression, solved in closed form; one of a small network that is trained against the embeddings.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.models.heads import mlp


def ridge_r2(embedding: Tensor, target: Tensor, *, ridge: float = 0.03) -> Tensor:
    """[F] R2 of each target function under in-sample ridge regression from standardised embeddings.

    With Z the embeddings standardised per dimension, u a centred function and c = Z'u / n, it is
    c' (Z'Z / n + ridge I)^-1 c / var(u): 0 when no linear function of the embedding knows u, at most 1.

    Args:
        embedding: [N, E].
        target: [N, F].
        ridge: added to the diagonal of the correlation matrix.
    """
    rows = len(embedding)
    z = embedding - embedding.mean(0)
    z = z / z.square().mean(0).add(1e-8).sqrt()
    u = target - target.mean(0)
    correlation = z.T @ z / rows + ridge * torch.eye(z.shape[1], device=z.device)
    cross = z.T @ u / rows
    explained: Tensor = (cross * torch.linalg.solve(correlation, cross)).sum(0)
    return explained / u.square().mean(0).clamp_min(1e-8)


class Adversary(nn.Module):
    """A network that reads the target functions from embeddings, with its own optimizer.

    It learns from detached embeddings in `learn`; `r2` is differentiable with respect to the embeddings. The
    optimizer's state lives in buffers, so that a checkpoint of the method holds it.

    Args:
        in_dim: embedding width E.
        out_dim: number of target functions F.
        hidden_dims: widths of the network.
        learning_rate: of its Adam.
    """

    num_updates: Tensor
    first_moment: Tensor
    second_moment: Tensor

    def __init__(
        self, in_dim: int, out_dim: int, *, hidden_dims: tuple[int, ...] = (128, 128), learning_rate: float = 2e-3
    ) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.network = mlp(in_dim, hidden_dims, out_dim).requires_grad_(False)
        weights = list(self.network.parameters())
        self.register_buffer("num_updates", torch.zeros((), dtype=torch.float64))
        self.register_buffer("first_moment", torch.zeros(sum(w.numel() for w in weights)))
        self.register_buffer("second_moment", torch.zeros(sum(w.numel() for w in weights)))

    def learn(self, embedding: Tensor, target: Tensor) -> None:
        """One Adam update of the mean squared error on detached [N, E] embeddings and standardised [N, F] targets."""
        weights = list(self.network.parameters())
        with torch.enable_grad():
            self.network.requires_grad_(True)
            error = F.mse_loss(self.network(embedding.detach()), target)
            gradient = torch.cat([g.flatten() for g in torch.autograd.grad(error, weights)])
            self.network.requires_grad_(False)
        self.num_updates += 1
        self.first_moment.lerp_(gradient, 0.1)
        self.second_moment.lerp_(gradient.square(), 0.01)
        first = self.first_moment / (1 - 0.9 ** float(self.num_updates))
        second = self.second_moment / (1 - 0.99 ** float(self.num_updates))
        update = first / (second.sqrt() + 1e-8) * self.learning_rate
        for weight, change in zip(weights, update.split([w.numel() for w in weights]), strict=True):
            weight.data -= change.view_as(weight)

    def hidden(self, embedding: Tensor) -> Tensor:
        """[N, H] what the network's last layer reads, differentiable with respect to the embeddings [N, E]."""
        activations: Tensor = self.network[:-1](embedding)
        return activations

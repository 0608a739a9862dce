"""Who may attend to whom: pure functions from sizes to boolean masks (True = may attend; rows ask, columns answer).

Tokens stand as X_0, Y_0, X_1, Y_1, ...: token 2i is the item of pair i with its action, token 2i+1 the transformed
item without one (protocol 1.5, 2.4). There is no positional embedding: only these masks break permutation symmetry.
"""

from __future__ import annotations

import torch
from torch import Tensor

from contextssl.transfer import send


def causal_mask(num_tokens: int, device: torch.device | str | None = None) -> Tensor:
    """[S, S]: every token sees itself and all tokens before it."""
    return torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=device).tril()


def pair_mask(num_tokens: int, device: torch.device | str | None = None) -> Tensor:
    """[S, S]: causal, but Y_i does not see its own X_i, so both members of a pair see the same past and themselves."""
    index = torch.arange(num_tokens, device=device)
    own_partner = (index[:, None] % 2 == 1) & (index[None, :] == index[:, None] - 1)
    return causal_mask(num_tokens, device) & ~own_partner


def random_pair_mask(allowed: Tensor, probability: Tensor, generator: torch.Generator) -> Tensor:
    """[G, S, S]: `allowed`, from which every row loses each whole pair with the given probability, never itself.

    Both tokens of a pair share one draw per row, so X_i and Y_i see different random pasts (protocol 2.4c; the
    paper's Section 3.2 asks that members of a pair be masked together).

    Args:
        allowed: [S, S] mask to thin out, S even.
        probability: [G] masking probability of each of G independent masks.
        generator: source of the draws, on the host as a rule: the masks are then sent to where `allowed` is.
    """
    num_tokens = allowed.shape[-1]
    draws = torch.rand(len(probability), num_tokens, num_tokens // 2, generator=generator, device=generator.device)
    kept = send(draws >= probability.to(draws)[:, None, None], allowed.device).repeat_interleave(2, dim=-1)
    itself = torch.eye(num_tokens, dtype=torch.bool, device=allowed.device)
    return allowed & (kept | itself)


def with_plain_items(mask: Tensor, of_plain_items: Tensor) -> Tensor:
    """[..., 2T, 2T] and [..., 2T, 2T] -> [..., 3T, 3T]: room for T more tokens, the items x_i without their actions.

    Plain item i stands behind all pairs. It sees what X_i sees of the past in `of_plain_items` and itself, not X_i,
    whose action it must not know; nobody else sees it.
    """
    num_pairs = mask.shape[-1] // 2
    itself = torch.eye(num_pairs, dtype=torch.bool, device=mask.device).expand(*mask.shape[:-2], -1, -1)
    past = of_plain_items[..., 0::2, :] & ~itself.repeat_interleave(2, dim=-1)
    unseen = mask.new_zeros(*mask.shape[:-1], num_pairs)
    return torch.cat([torch.cat([mask, unseen], dim=-1), torch.cat([past, itself], dim=-1)], dim=-2)

"""What a finished pair says about its action."""

from __future__ import annotations

from torch import Tensor, nn

from contextssl.distributed import average


class PairEvidence(nn.Module):
    """Products of a pair's features and its told action: [..., 2D] and [..., A] -> [..., width].

    Averaged over a context's pairs, products of actions and pair features are their covariance: large when the
    actions describe what happened to the items, and not when they were shuffled or made up.
    """

    def __init__(self, pair_dim: int, action_dim: int, width: int) -> None:
        super().__init__()
        self.from_pair = nn.Linear(pair_dim, width)
        self.from_action = nn.Linear(action_dim, width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)

    def forward(self, pair: Tensor, told_action: Tensor) -> Tensor:
        """Evidence tokens; zero where nothing is told."""
        evidence: Tensor = self.mix(self.from_pair(pair) * self.from_action(told_action))
        return evidence

    def misreading(self, pair: Tensor, action: Tensor) -> Tensor:
        """Squared error [] of the pair's factor [..., width] as a reading of its true action's, relative to the latter's size.

        Where it is small, the factors of a pair and of its true action have the same signs, and their products are positive:
        what to compare is known before there is anything to gain from comparing. The action's factor is not moved by it.
        """
        code = self.from_action(action).detach()
        error: Tensor = (self.from_pair(pair) - code).square().mean() / average(code.square().mean())
        return error

"""The ideal observer of labels that depend on context: recognises every class, knows the rules and weighs them by Bayes.

What a context says of its rule is known exactly, so this is the ceiling of any classifier: its accuracy times that of
recognising classes. Contexts that tell actions show their environment, so one pair says which rule holds: the observer's
accuracy is that of the prior after no context and 1 from the first pair on. Contexts that show labels leave every rule that
gives all examples the labels they have, and the observer goes on with these.

R rules, C classes, T examples.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rule_posterior(by_rule: Tensor, shown: Tensor, prior: Tensor) -> Tensor:
    """[R] probability of each rule after labelled examples.

    Args:
        by_rule: [T, R] label of each example's item by every rule.
        shown: [T] the label that it is shown with.
        prior: [R].

    Raises:
        ValueError: when the examples contradict every rule.
    """
    weight = prior.double() * (by_rule == shown.unsqueeze(1)).all(0)
    if weight.sum() == 0:
        raise ValueError("the examples contradict every rule: no observer can have seen them")
    return weight / weight.sum()


def observer_accuracy(labels: Tensor, truth: Tensor, posterior: Tensor) -> float:
    """Expected share of items whose label the observer names, ties broken at random.

    Args:
        labels: [N, R] the label of each item by every rule.
        truth: [N] the label that counts.
        posterior: [R] probability of each rule.
    """
    # One column for every label: the probability that the observer gives it.
    num_labels = int(max(labels.max(), truth.max())) + 1
    belief = torch.zeros(len(labels), num_labels, dtype=torch.float64)
    belief.scatter_add_(1, labels.cpu(), posterior.double().cpu().expand(labels.shape))
    best = belief >= belief.amax(1, keepdim=True) - 1e-6  # priors are float32
    hit = best.gather(1, truth.cpu()[:, None]).squeeze(1)
    return float((hit / best.sum(1)).mean())

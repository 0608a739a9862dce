"""Methods to compare with on the same rows, through the same probes and protocols."""

from domains.tabular.baselines.embedded import embedded_decision_results
from domains.tabular.baselines.fixed import PROBES, REMOVER_ALPHAS, Baseline, FixedRepresentation, baselines
from domains.tabular.baselines.results import baseline_results, trained_baseline_results

__all__ = [
    "PROBES",
    "REMOVER_ALPHAS",
    "Baseline",
    "FixedRepresentation",
    "baseline_results",
    "baselines",
    "embedded_decision_results",
    "trained_baseline_results",
]

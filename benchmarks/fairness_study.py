"""Train and evaluate the fairness study; write benchmarks/results/fairness_study.json, the page and its figures.

python benchmarks/fairness_study.py                         Adult and the generated MIMIC, three seeds
python benchmarks/fairness_study.py --variants              pairs, attributes and objectives beside the main one, one seed each
python benchmarks/fairness_study.py --sets mimic --root DIR a copy of MIMIC-III, into mimic_study.json beside its runs; nothing of it enters this repository
python benchmarks/fairness_study.py --tables                page and figures again from the stored numbers

Runs stay in outputs/benchmarks/fairness: a second call skips what is done and continues what was interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import runs
from fairness_report import show
from fairness_rows import LENGTHS, LONGEST, OURS, StudySet
from runs import ROOT, Record, Trial, as_json

from contextssl.adapter import Split
from contextssl.commands.configuration import build, compose_config
from contextssl.evaluation.paired import Context, paired_contexts
from contextssl.evaluation.results import Result, read_results, write_results
from contextssl.files import write_text
from domains.tabular.baselines import baseline_results, trained_baseline_results
from domains.tabular.mimic.adapter import Mimic
from domains.tabular.mimic.truth import Truth, expected_auroc, expected_odds_gap
from domains.tabular.sensitive_table import SensitiveTable

RUNS = Path("outputs/benchmarks/fairness")
RESULTS = ROOT / "benchmarks/results/fairness_study.json"
MIMIC_RESULTS = "mimic_study.json"
SETS = {
    "adult": StudySet("adult", "UCI Adult", "adult_sex", "income", "race", ("evaluation=adult_groups",)),
    "generated-mimic": StudySet(
        "generated-mimic", "Generated MIMIC", "mimic_sex", "long_stay_7d", "insurance",
        ("source=generated", "+domain.num_generated=24000"),
    ),
    "mimic": StudySet("mimic", "MIMIC-III", "mimic_sex", "long_stay_7d", "insurance"),
}  # fmt: skip
VARIANTS = {
    "flip": ("pairs=flip",),
    "proxy_swap": ("pairs=proxy_swap",),
    "presence": ("method.environments.probabilities={sex: 0.5, none: 0.5}", "method.environments.decoy_share=0.0"),
    "evidence": ("method.rehearsal.evidence_weight=1.0",),
}
SMALLEST_CELL = 10  # people, below which a group is not reported


def main_trials(study: StudySet, seeds: Sequence[int], extra: Sequence[str] = ()) -> list[Trial]:
    """The main experiment, SimCLR and VICReg on the same pairs."""
    found = [Trial(study.experiment, seed, (*study.settings, *extra), RUNS / study.name) for seed in seeds]
    boosting = "evaluation.protocols.boosting" + (".cells" if study.name == "adult" else ".protocol.cells")
    for method in ("simclr", "vicreg"):
        words = (f"method={method}", f"evaluation.bank.method_name={method}", f"{boosting}=null")
        found += [
            Trial(f"{study.experiment}_simclr", seed, (*study.settings, *extra, *words), RUNS / study.name, method)
            for seed in seeds
        ]
    return found


def variant_trials(study: StudySet, seeds: Sequence[int], extra: Sequence[str] = ()) -> list[Trial]:
    """Other pairs and objectives on one attribute; two attributes in turn, and together."""
    folder, words = RUNS / study.name, (*study.settings, *extra)
    found = [
        Trial(study.experiment, seed, (*words, *changes), folder, name) for name, changes in VARIANTS.items() for seed in seeds
    ]
    for kind in ("", "_joint"):
        found += [Trial(f"{study.experiment}_{study.second}{kind}", seed, words, folder) for seed in seeds]
    return found


def kept(name: str, row: Result) -> bool:
    """Variants are stored at the ends; of encoders, contexts that lie and single groups only what is shown."""
    lengths = LENGTHS if "/" not in name and not name.endswith(("race", "insurance", "_joint")) else (0, LONGEST)
    ends = row.context_length in (0, LONGEST) or "=" not in row.metric
    return row.context_length in lengths and ends and row.control != "noise" and not row.probe.startswith("knn")


def measure(study: StudySet, trials: Sequence[Trial], num_at_once: int, command: Sequence[str]) -> Record:
    """The part of the record that is about one data set: rows, paired differences, what is known, seconds."""
    record = runs.measure(trials, num_at_once, command, kept)
    adapter = build(compose_config(trials[0].settings).domain)
    found, seconds = _baselines(study, adapter)
    record["seconds"][study.baselines] = seconds
    record["results"] += baseline_rows(study, [row for row in found if kept(study.baselines, row)])
    return record | {"known": known(adapter, study.target), "paired": paired(trials)}


def _baselines(study: StudySet, adapter: SensitiveTable) -> tuple[list[Result], float]:
    """What is fitted here, measured once, with the wall seconds it took."""
    file, clock = RUNS / study.name / "baselines.jsonl", RUNS / study.name / "baselines.seconds.json"
    if not file.is_file():
        start, found = time.perf_counter(), []
        for results in (baseline_results, trained_baseline_results):
            found += list(results(adapter, target=study.target, by_group=True, smallest_cell=SMALLEST_CELL))
        write_text(clock, json.dumps(round(time.perf_counter() - start, 1)))
        write_results(found, file)
    return read_results(file), float(json.loads(clock.read_text()))


def baseline_rows(study: StudySet, found: Sequence[Result]) -> list[Record]:
    """Rows of what was fitted once; their intervals are those over test rows, for there are no seeds."""
    rows = runs.averaged(study.baselines, found)
    for row, result in zip(rows, found, strict=True):
        if result.low is not None and result.high is not None:
            row |= {"low": round(result.low, 5), "high": round(result.high, 5)}
    return rows


def paired(trials: Sequence[Trial]) -> list[Record]:
    """For each contextual experiment: differences from what is told to nothing told, and from no context to nothing told."""
    rows: list[Record] = []
    for name in dict.fromkeys(trial.name for trial in trials):
        results = [row for trial in trials if trial.name == name for row in trial.job.results if row.method == OURS]
        told = dict.fromkeys(row.environment for row in results if row.control == "true" and row.context_length == LONGEST)
        untold = Context("none", "true", LONGEST)
        others = [Context(environment, "true", LONGEST) for environment in told if environment != "none"]
        for other in [*others, Context("-", "empty", 0)] if results else []:
            for found in paired_contexts(results, other, untold):
                if not found.probe.startswith("knn"):
                    p = found.p_value
                    rows.append(
                        {"experiment": name, "from": other.name, **asdict(found), "p": None if p is None else round(p, 6)}
                    )
    return rows


def known(adapter: SensitiveTable, target: str) -> Record | None:
    """What perfect predictors of generated patients would score on the test rows; None where no truth is known."""
    if not isinstance(adapter, Mimic) or not adapter.manifest["stand_in"]:
        return None
    truth = adapter.truth(Split.TEST)
    return {"target": target, "sex without its column": round(expected_auroc(truth.woman_chance, truth.woman), 4)} | {
        name: {"auroc": round(expected_auroc(chance, truth.long_stay), 4), "odds": round(_odds(chance, truth), 4)}
        for name, chance in (
            ("whole record", truth.long_stay),
            ("all but sex", truth.long_stay_blind),
            ("fair", truth.long_stay_fair),
        )
    }


def _odds(chance: object, truth: Truth) -> float:
    return max(abs(gap) for gap in expected_odds_gap(chance > 0.5, truth.long_stay, truth.woman))  # type: ignore[operator]


def joined(parts: dict[str, Record]) -> Record:
    """One record of all data sets, rows one after the other."""
    first = next(iter(parts.values()))
    head = {key: first[key] for key in ("command", "environment")}
    sets = {name: {key: part[key] for key in ("data", "seeds", "seconds", "known")} for name, part in parts.items()}
    paired_rows = [row for part in parts.values() for row in part["paired"]]
    return head | {"sets": sets, "paired": paired_rows, "results": [row for part in parts.values() for row in part["results"]]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure unless told otherwise, and write."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["adult", "generated-mimic"])
    parser.add_argument("--root", type=Path, help="folder of a copy of MIMIC-III, for the set mimic")
    parser.add_argument("--variants", action="store_true", help="other pairs, attributes and objectives too, with the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    options = parser.parse_args(words)
    own_copy = "mimic" in options.sets
    if own_copy and (options.root is None or len(options.sets) > 1):
        parser.error("a copy of MIMIC-III is measured by itself: --sets mimic --root FOLDER")
    results = RUNS / MIMIC_RESULTS if own_copy else RESULTS
    if not options.tables:
        # The folder's name stays out of the record, as it stays out of the runs' manifests.
        command = ["python", "benchmarks/fairness_study.py", *(word for word in words if word != str(options.root))]
        extra = (f"root={options.root.resolve()}",) if own_copy else ()
        parts = {}
        for name in options.sets:
            trials = main_trials(SETS[name], options.seeds, extra)
            trials += variant_trials(SETS[name], options.seeds[:1], extra) if options.variants else []
            parts[name] = measure(SETS[name], trials, options.jobs, command)
        write_text(results, as_json(joined(parts)))
    if not own_copy:
        show(json.loads(results.read_text()), SETS)


if __name__ == "__main__":
    main()

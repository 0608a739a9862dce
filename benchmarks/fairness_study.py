"""Train and evaluate the fairness study; write benchmarks/results/fairness_study.json, the page and its figures.

python benchmarks/fairness_study.py                         Adult and the generated MIMIC, three seeds
python benchmarks/fairness_study.py --variants              pairs, attributes and objectives beside the main one, one seed each
python benchmarks/fairness_study.py --parts target flip     some of it; what else was stored stays, with the command that made it
python benchmarks/fairness_study.py --sets mimic --root DIR a copy of MIMIC-III, into mimic_study.json beside its runs; nothing of it enters this repository
python benchmarks/fairness_study.py --tables                page and figures again from the stored numbers

Runs stay in outputs/benchmarks/fairness: a second call skips what is done and continues what was interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import runs
from fairness_report import show
from fairness_rows import LENGTHS, LONGEST, OURS, Model, StudySet
from runs import ROOT, Record, Trial, as_json

from contextssl.adapter import Split
from contextssl.checkpoint import load_weights
from contextssl.commands.configuration import build, compose_config, saved_config
from contextssl.evaluation.cells import CellFilter
from contextssl.evaluation.intervals import KEY
from contextssl.evaluation.paired import Context, paired_contexts
from contextssl.evaluation.results import Result, read_results, write_results
from contextssl.files import write_text
from contextssl.run import Run
from domains.tabular.baselines import baseline_results, embedded_decision_results, trained_baseline_results
from domains.tabular.fairness import GroupFairness
from domains.tabular.mimic.adapter import Mimic
from domains.tabular.mimic.truth import Truth, expected_auroc, expected_odds_gap
from domains.tabular.sensitive_table import SensitiveTable

RUNS = Path("outputs/benchmarks/fairness")
RESULTS = ROOT / "benchmarks/results/fairness_study.json"
MIMIC_RESULTS = "mimic_study.json"
SETS = {
    "adult": StudySet("adult", "UCI Adult", "adult_fairness", "income", "race"),
    "generated-mimic": StudySet(
        "generated-mimic", "Generated MIMIC", "mimic_sex", "long_stay_7d", "insurance",
        ("data=generated", "+domain.num_generated=24000"), pairs="flip", preset="tables",
    ),
    "mimic": StudySet("mimic", "MIMIC-III", "mimic_sex", "long_stay_7d", "insurance", pairs="flip", preset="tables"),
}  # fmt: skip
VARIANTS = {
    "flip": ("pairs=flip",),
    "matched": ("domain.pairs=null",),
    "proxy_swap": ("pairs=proxy_swap",),
    "presence": ("method.environments.probabilities={sex: 0.5, none: 0.5}", "method.environments.decoy_share=0.0"),
    "default": ("method=context_ssl/default", "train.num_steps=1200"),
    "tables": ("method=context_ssl/tables", "method.rehearsal.content_weight=40.0", "train.num_steps=2000"),
    "paper": ("method=context_ssl/plain", "method.environments.probabilities={sex: 0.5, none: 0.5}"),
}
OF_TARGET_MODEL = {"parity": ("method.rehearsal.leakage_given_told=false",)}
PAIRS_OF_ATTRIBUTES = {"in turn": "", "together": "_joint"}  # ends of the experiments' names
MAIN, TARGET, BASELINES = "main", "target", "baselines"
SEVERAL_SEEDS = (MAIN, TARGET, BASELINES)
PARTS = (*SEVERAL_SEEDS, *VARIANTS, *OF_TARGET_MODEL, *PAIRS_OF_ATTRIBUTES)
SMALLEST_CELL = 10  # people, below which a group is not reported


def trials_of(study: StudySet, parts: Sequence[str], seeds: Sequence[int], extra: Sequence[str] = ()) -> list[Trial]:
    """The runs of these parts of the study."""
    asked = [model.experiment for model, part in zip(study.models, (MAIN, TARGET), strict=False) if part in parts]
    found = [Trial(name, seed, (*study.settings, *extra), RUNS / study.name) for name in asked for seed in seeds]
    found += trained_baselines(study, seeds, extra) if BASELINES in parts else []
    return found + variant_trials(study, seeds[:1], extra, [part for part in parts if part not in SEVERAL_SEEDS])


def trained_baselines(study: StudySet, seeds: Sequence[int], extra: Sequence[str]) -> list[Trial]:
    """SimCLR and VICReg on matched pairs."""
    found = []
    boosting = "evaluation.protocols.boosting" + (".cells" if study.name == "adult" else ".protocol.cells")
    for method in ("simclr", "vicreg"):
        words = (f"method={method}", f"evaluation.bank.method_name={method}", f"{boosting}=null")
        found += [
            Trial(f"{study.experiment}_simclr", seed, (*study.settings, *extra, *words), RUNS / study.name, method)
            for seed in seeds
        ]
    return found


def variant_trials(study: StudySet, seeds: Sequence[int], extra: Sequence[str], names: Sequence[str]) -> list[Trial]:
    """Other pairs and objectives on one attribute; two in turn, and together. What the main experiment does is no variant."""
    folder, words = RUNS / study.name, (*study.settings, *extra)
    trials = {name: [Trial(study.experiment, seed, (*words, *changes), folder, name) for seed in seeds]
              for name, changes in VARIANTS.items() if name not in (study.pairs, study.preset)}  # fmt: skip
    for name, changes in OF_TARGET_MODEL.items():
        trials[name] = [Trial(f"{study.experiment}_target", seed, (*words, *changes), folder, name) for seed in seeds]
    for name, kind in PAIRS_OF_ATTRIBUTES.items():
        trials[name] = [Trial(f"{study.experiment}_{study.second}{kind}", seed, words, folder) for seed in seeds]
    return [trial for name in names for trial in trials.get(name, [])]


def kept(name: str, row: Result) -> bool:
    """Variants are stored at the ends; of encoders, contexts that lie and single groups only what is shown."""
    lengths = LENGTHS if "/" not in name and not name.endswith(("race", "insurance", "_joint")) else (0, LONGEST)
    ends = row.context_length in (0, LONGEST) or "=" not in row.metric
    return row.context_length in lengths and ends and row.control != "noise" and not row.probe.startswith("knn")


def measure(study: StudySet, trials: Sequence[Trial], num_at_once: int, command: Sequence[str]) -> Record:
    """The part of the record that is about one data set: rows, paired differences, what is known, seconds, who made what.

    What is fitted belongs to the trained baselines and is measured with them.
    """
    record = runs.measure(trials, num_at_once, command, kept)
    names, models = list(dict.fromkeys(trial.name for trial in trials)), {model.experiment: model for model in study.models}
    adapter = build(compose_config(trials[0].settings).domain)
    for name in names:
        own = [trial for trial in trials if trial.name == name]
        decided = [row for trial in own if name in models for row in _decided(study, models[name], trial) if kept(name, row)]
        record["results"] += runs.averaged(name, decided)
        rows = [row for row in record["results"] if row["experiment"] == name]
        add_row_intervals(rows, [*decided, *(row for trial in own for row in trial.job.results)])
    if study.method("simclr") in names:
        found, seconds = _baselines(study, adapter)
        record["seconds"][study.baselines] = seconds
        record["results"] += baseline_rows(study, [row for row in found if kept(study.baselines, row)])
    made = {name: {"command": record["command"], "environment": record["environment"]} for name in record["seconds"]}
    return record | {"known": known(adapter, study.target), "paired": paired(trials), "made": made}


def add_row_intervals(rows: Sequence[Record], results: Sequence[Result]) -> None:
    """Give each row the interval over test rows of its results, `row_low` and `row_high`: the mean of those of all seeds and draws."""
    bounds: dict[tuple[object, ...], list[tuple[float, float]]] = defaultdict(list)
    for result in results:
        if result.low is not None and result.high is not None:
            bounds[tuple(getattr(result, name) for name in KEY)].append((result.low, result.high))
    for row in rows:
        if found := bounds.get(tuple(row[name] for name in KEY)):
            low, high = (sum(side) / len(found) for side in zip(*found, strict=True))
            row |= {"row_low": round(low, 5), "row_high": round(high, 5)}


def _decided(study: StudySet, model: Model, trial: Trial) -> list[Result]:
    """What fairlearn's classifiers decide from a trained model's embeddings after its longest contexts, measured once."""
    file = trial.folder.with_name(f"{trial.folder.name}.decisions.jsonl")
    if not file.is_file():
        run = Run.open(trial.folder)
        config = saved_config(run.config)
        adapter = build(config.domain)
        method = build(config.method)(adapter.build_encoder(), adapter.actions)
        load_weights(method, run.folder)
        bank = build(config.evaluation.bank)(method.eval(), adapter, training_seed=config.seed)
        fairness = GroupFairness(study.target, num_resamples=200, by_group=True, smallest_cell=SMALLEST_CELL)
        cells = CellFilter(environments=(model.hiding, model.telling), controls=("true",), lengths=(LONGEST,), draws=(0,))
        write_results(embedded_decision_results(bank, fairness, cells), file)
    return read_results(file)


def _baselines(study: StudySet, adapter: SensitiveTable) -> tuple[list[Result], float]:
    """What is fitted here, measured once, with the wall seconds it took."""
    file, clock = RUNS / study.name / "baselines.jsonl", RUNS / study.name / "baselines.seconds.json"
    if not file.is_file():
        start = time.perf_counter()
        fairness = GroupFairness(study.target, adapter.sensitive, by_group=True, intersections=True, smallest_cell=SMALLEST_CELL)
        found = [*baseline_results(adapter, fairness), *trained_baseline_results(adapter, fairness)]
        write_text(clock, json.dumps(round(time.perf_counter() - start, 1)))
        write_results(found, file)
    return read_results(file), float(json.loads(clock.read_text()))


def baseline_rows(study: StudySet, found: Sequence[Result]) -> list[Record]:
    """Rows of what was fitted once; their intervals are those over test rows, for there are no seeds."""
    rows = runs.averaged(study.baselines, found)
    for row, result in zip(rows, found, strict=True):
        if result.low is not None and result.high is not None:
            row |= {"low": round(result.low, 5), "high": round(result.high, 5)}
            row |= {"row_low": row["low"], "row_high": row["high"]}
    return rows


def paired(trials: Sequence[Trial]) -> list[Record]:
    """For each contextual experiment: differences from what is told to nothing told, and from no context to nothing told.

    Where every context tells something, that which tells least stands for nothing told.
    """
    rows: list[Record] = []
    for name in dict.fromkeys(trial.name for trial in trials):
        results = [row for trial in trials if trial.name == name for row in trial.job.results if row.method == OURS]
        told = dict.fromkeys(row.environment for row in results if row.control == "true" and row.context_length == LONGEST)
        hiding = min(told, key=lambda environment: (environment != "none", environment.count("+")), default="none")
        untold = Context(hiding, "true", LONGEST)
        others = [Context(environment, "true", LONGEST) for environment in told if environment != hiding]
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


def joined(parts: Mapping[str, Record], stored: Record | None = None) -> Record:
    """One record of all data sets, rows one after the other.

    Of the record stored before, what is not measured anew stays: other data sets, and other experiments of these ones.
    """
    new = {name for part in parts.values() for name in part["made"]}
    stored = stored or {"sets": {}, "paired": [], "results": []}
    sets = dict(stored["sets"])
    for name, part in parts.items():
        before = sets.get(name, {"seeds": [], "seconds": {}, "made": {}})
        sets[name] = {
            # Other experiments describe other groups of the same rows.
            "data": part["data"] if "data" not in before or SETS[name].experiment in part["made"] else before["data"],
            "seeds": sorted({*before["seeds"], *part["seeds"]}),
            "seconds": before["seconds"] | part["seconds"],
            "known": part["known"],
            "made": before["made"] | part["made"],
        }
    rows = {
        key: [row for row in stored[key] if row["experiment"] not in new] + [row for part in parts.values() for row in part[key]]
        for key in ("paired", "results")
    }
    return {"sets": sets} | rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure unless told otherwise, and write."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["adult", "generated-mimic"])
    parser.add_argument("--root", type=Path, help="folder of a copy of MIMIC-III, for the set mimic")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--parts", nargs="+", choices=PARTS, default=SEVERAL_SEEDS, help="all but the first three with the first seed"
    )
    which.add_argument(
        "--variants", action="store_const", dest="parts", const=PARTS[len(SEVERAL_SEEDS) :], help="the parts of one seed"
    )
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
            trials = trials_of(SETS[name], options.parts, options.seeds, extra)
            if trials:  # what the main experiment does is no variant
                parts[name] = measure(SETS[name], trials, options.jobs, command)
        stored = json.loads(results.read_text()) if results.is_file() else None
        write_text(results, as_json(joined(parts, stored)))
    if not own_copy:
        show(json.loads(results.read_text()), SETS)


if __name__ == "__main__":
    main()

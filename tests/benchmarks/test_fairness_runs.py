"""What the fairness study runs, what is known of its data beforehand, and what its rows carry."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest
from planted_fairness import TARGET, ours

from contextssl.commands.configuration import compose_config


def test_every_run_of_the_study_composes(study: ModuleType) -> None:
    trials = [t for name in ("adult", "generated-mimic") for t in study.trials_of(study.SETS[name], study.PARTS, [0, 1])]
    several = 2 * 4  # main, told the target, SimCLR and VICReg of both sets
    rest = 2 * (len(study.PARTS) - 3) - 4  # own pairs and presets are done anyway
    assert len(trials) == 2 * several + rest, "these with both seeds, the rest with one"
    assert not study.trials_of(study.SETS["adult"], ["matched"], [0])
    for trial in trials:
        config = compose_config(trial.settings)
        wanted = {"simclr": "simclr", "vicreg": "vicreg"}.get(trial.variant, "context_ssl")
        assert wanted in config.method._target_ and config.evaluation.bank.get("method_name", wanted) == wanted
        boosting = config.evaluation.protocols.boosting
        assert (boosting.get("protocol", boosting).cells is None) == (wanted != "context_ssl")
        fairness = config.evaluation.protocols.fairness
        assert fairness.get("protocol", fairness).by_group
    assert len({(trial.folder, trial.settings) for trial in trials}) == len({trial.folder for trial in trials}) == len(trials)
    assert len({trial.job.config for trial in trials}) == len(trials), "every variant is another run"


def test_rows_carry_the_mean_of_their_runs_intervals_over_rows(study: ModuleType) -> None:
    bounds = ((0.7, 0.8), (0.6, 0.9), (0.5, 0.7))
    results = [replace(ours(seed)[0], low=low, high=high) for seed, (low, high) in enumerate(bounds)]
    rows = study.runs.averaged("mimic_sex", [*results, *[ours(seed)[1] for seed in range(3)]])
    study.add_row_intervals(rows, results)
    assert (rows[0]["row_low"], rows[0]["row_high"]) == (0.6, 0.8) and "row_low" not in rows[1]


def test_what_is_known_of_generated_patients(study: ModuleType) -> None:
    from domains.tabular.mimic.adapter import Mimic

    adapter = Mimic("generated", num_generated=3000)
    found = study.known(adapter, TARGET)
    assert found["whole record"]["odds"] > found["all but sex"]["odds"] > found["fair"]["odds"]
    assert found["whole record"]["auroc"] > found["fair"]["auroc"] > found["whole record"]["auroc"] - 0.03
    assert 0.8 < found["sex without its column"] < 0.9
    adapter.manifest["stand_in"] = False
    assert study.known(adapter, TARGET) is None


def test_a_real_copy_is_measured_by_itself(study: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--sets", "mimic"], ["--sets", "mimic", "adult", "--root", "files"]):
        with pytest.raises(SystemExit):
            study.main(words)
        assert "measured by itself" in capsys.readouterr().err

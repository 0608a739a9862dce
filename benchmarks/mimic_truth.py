"""What perfect predictors would score on the generated MIMIC: python benchmarks/mimic_truth.py writes benchmarks/results/mimic_truth.json."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from runs import ROOT

from contextssl.files import write_text
from contextssl.run import describe_environment
from domains.tabular.mimic.cohort import build_cohort
from domains.tabular.mimic.generated import generate, truth
from domains.tabular.mimic.truth import expected_auroc, expected_odds_gap

FILE = ROOT / "benchmarks/results/mimic_truth.json"
NUM_PATIENTS = 6000


def measure(num_patients: int) -> dict[str, object]:
    """Expected scores over the cohort of so many generated patients, seed 0."""
    with tempfile.TemporaryDirectory() as folder:
        files = generate(Path(folder), num_patients=num_patients, seed=0, events=False)
        known = truth(files).of(build_cohort(files).subjects)
    stays = {"whole record": known.long_stay, "without sex": known.long_stay_blind, "fair": known.long_stay_fair}
    return {
        "long_stay_7d": {
            name: {
                "auroc": round(expected_auroc(chance, known.long_stay), 4),
                "equalized_odds_gap": round(max(map(abs, expected_odds_gap(chance > 0.5, known.long_stay, known.woman))), 4),
            }
            for name, chance in stays.items()
        },
        "sex from proxies": {"auroc": round(expected_auroc(known.woman_chance, known.woman_chance), 4)},
        "treatment": {
            "accuracy, whole record": round(float(known.treatment.max(1).mean()), 4),
            "accuracy, without sex": round(float(known.treatment_blind.max(1).mean()), 4),
        },
    }


def main() -> None:
    """Write the file."""
    command = ["python", "benchmarks/mimic_truth.py"]
    record = {"command": command, "environment": describe_environment(command), "num_patients": NUM_PATIENTS, "seed": 0}
    write_text(FILE, json.dumps(record | measure(NUM_PATIENTS), indent=1) + "\n")


if __name__ == "__main__":
    main()

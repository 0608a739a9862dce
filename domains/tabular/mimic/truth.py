"""What the generated MIMIC knows: the chances of each patient, and what predictors that use them would score.

Letters: N patients, P procedure classes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from domains.tabular.mimic.structure import (
    PROCEDURE_CLASSES,
    SHARE_OF_WOMEN,
    Booleans,
    Floats,
    Integers,
    Patients,
    sigmoid,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Truth:
    """The best predictors of the generated patients (default inputs: arrival and diagnoses), each [N] or [N, P].

    Attributes:
        subject: [N] SUBJECT_ID.
        woman: [N].
        woman_chance: that a record is a woman's, read from all but the column of sex: the best a probe of sex can do
            without the column.
        long_stay: chance of a stay of more than 7 days given the whole record: the Bayes predictor.
        long_stay_blind: the same, given all but the column of sex; proxies still tell it.
        long_stay_fair: the same with the direct effect of sex replaced by its mean over the sexes: what the stay would be
            if sex did not act on the discharge. Indirect effects, through diseases and marital status, stay.
        death: chance of death in hospital; sex does not act on it directly.
        treatment: [N, P] chances of the treatment classes given the whole record.
        treatment_blind: [N, P], the same without the column of sex.
        classes: the P names.
    """

    subject: Integers
    woman: Booleans
    woman_chance: Floats
    long_stay: Floats
    long_stay_blind: Floats
    long_stay_fair: Floats
    death: Floats
    treatment: Floats
    treatment_blind: Floats
    classes: tuple[str, ...] = PROCEDURE_CLASSES

    def of(self, subjects: Integers) -> Truth:
        """The truth of these subjects, in this order; ValueError for one that was not generated."""
        order = np.argsort(self.subject)
        place = order[np.searchsorted(self.subject, subjects, sorter=order).clip(max=len(order) - 1)]
        if not np.array_equal(self.subject[place], subjects):
            raise ValueError("some of these patients were not generated with this number of patients and seed")
        chosen = {field.name: getattr(self, field.name)[place] for field in fields(self) if field.name != "classes"}
        return Truth(**chosen, classes=self.classes)


def truth_of(patients: Patients, subject: Integers, stay_effect: float) -> Truth:
    """The truth of drawn patients."""
    without = patients.stay_logit - stay_effect * patients.woman
    chance = sigmoid(patients.woman_log_odds)
    mix = chance[:, None]
    men, women = patients.treatment_chances[:, 0], patients.treatment_chances[:, 1]
    return Truth(
        subject=subject,
        woman=patients.woman,
        woman_chance=chance,
        long_stay=sigmoid(patients.stay_logit),
        long_stay_blind=chance * sigmoid(without + stay_effect) + (1 - chance) * sigmoid(without),
        long_stay_fair=sigmoid(without + stay_effect * SHARE_OF_WOMEN),
        death=patients.death,
        treatment=np.where(patients.woman[:, None], women, men),
        treatment_blind=mix * women + (1 - mix) * men,
    )


def expected_auroc(score: npt.ArrayLike, chance: npt.ArrayLike) -> float:
    """AUROC of a score expected over outcomes with these chances: P(score of a positive > of a negative), ties half."""
    score, chance = np.asarray(score, dtype=np.float64), np.asarray(chance, dtype=np.float64)
    level = np.unique(score, return_inverse=True)[1]
    positive, negative = np.bincount(level, chance), np.bincount(level, 1 - chance)
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / (positive.sum() * negative.sum()))


def expected_odds_gap(decision: npt.ArrayLike, chance: npt.ArrayLike, group: npt.ArrayLike) -> tuple[float, float]:
    """Differences of the true and false positive rates of a decision between two groups, over outcomes with these chances.

    Group 1 minus group 0. The equalized-odds gap is the larger absolute value of the two (protocol 6.10).
    """
    decision, chance, group = (
        np.asarray(decision, dtype=bool),
        np.asarray(chance, dtype=np.float64),
        np.asarray(group, dtype=bool),
    )
    gaps = []
    for weight in (chance, 1 - chance):
        rates = [float((weight * decision)[group == value].sum() / weight[group == value].sum()) for value in (False, True)]
        gaps.append(rates[1] - rates[0])
    return gaps[0], gaps[1]

"""Dividing rows into training, validation and test rows: at random by stratum, with rows of one person together.

N rows, U units (persons, or rows).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from contextssl.adapter import Split

Integers = npt.NDArray[np.int64]


def drawn_splits(units: Integers, strata: Integers, shares: tuple[float, float], seed: int) -> npt.NDArray[np.object_]:
    """[N] the split of each row.

    Units are shuffled within their stratum, strata put one after the other, and every so many-th unit is taken
    (systematic sampling). So every stratum is divided alike, to within one unit for each share, however small it is.

    Args:
        units: [N] whose row it is; rows of one unit are in one split.
        strata: [N]; that of a unit is that of its first row.
        shares: of validation and test.
        seed: of the only generator used.
    """
    rng = np.random.default_rng(seed)
    _, first, unit = np.unique(units, return_index=True, return_inverse=True)
    order = np.lexsort((rng.random(len(first)), strata[first]))
    validation, test = shares
    split = np.full(len(first), Split.TRAIN, dtype=object)
    tested = every(test, len(order), rng.random())
    rest = order[~tested]
    split[order[tested]] = Split.TEST
    split[rest[every(validation / (1 - test), len(rest), rng.random())]] = Split.VALIDATION
    return np.asarray(split[unit.ravel()], dtype=object)


def every(share: float, count: int, offset: float) -> npt.NDArray[np.bool_]:
    """[count] True at a `share` of the places, evenly spread; offset in [0, 1) says where the first one is."""
    passed = np.floor(np.arange(count + 1) * share + offset)
    return np.asarray(np.diff(passed) > 0)

"""Exact nearest rows under Gower's distance, by chunked matrix products.

Gower's distance between two rows is the mean over columns of |a - b| / range for numbers and of [a != b] for
categories. The number of mismatching categories is the number of columns minus a product of one-hots, so the whole
distance is one matrix product and one L1 distance of a few numeric columns.

Letters: N rows, P numeric columns, Q one-hot columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

CHUNK = 64  # query rows at a time: 64 x 20,000 float32 distances are 5 MB, which stay in a core's cache


@dataclass(frozen=True, slots=True)
class DistanceColumns:
    """Rows ready for Gower's distance.

    Attributes:
        numbers: [N, P] over their range.
        one_hots: [N, Q] of `num_categorical` columns.
        num_categorical: how many categorical columns there are.
        profile: [N], equal for rows that agree in all categorical columns.
    """

    numbers: Tensor
    one_hots: Tensor
    num_categorical: int
    profile: Tensor

    def differences(self, rows: Tensor, candidates: Tensor) -> Tensor:
        """[len(rows), len(candidates)]: Gower distances between two sets of row indices, times the number of columns."""
        total = self.num_categorical - self.one_hots[rows] @ self.one_hots[candidates].T
        difference = torch.empty_like(total)
        # One column at a time and in place: several times faster than torch.cdist with p=1 at these widths.
        for column in self.numbers.unbind(1):
            torch.sub(column[rows, None], column[None, candidates], out=difference)
            total += difference.abs_()
        return total


def distance_columns(frame: pd.DataFrame) -> DistanceColumns:
    """The columns of a frame prepared for Gower's distance; a constant number contributes nothing."""
    numbers, codes = [np.zeros((len(frame), 0))], [np.zeros(len(frame), dtype=np.int64)]
    for name in frame.columns:
        if pd.api.types.is_numeric_dtype(frame[name]):
            values = frame[name].to_numpy(dtype=np.float64)
            span = values.max() - values.min()
            numbers.append(((values - values.min()) / (span if span > 0 else 1.0))[:, None])
        else:
            codes.append(pd.factorize(frame[name])[0])
    profile = np.unique(np.stack(codes, axis=1), axis=0, return_inverse=True)[1].ravel()
    one_hots = [np.eye(code.max() + 1)[code] for code in codes[1:]]
    return DistanceColumns(_joined(numbers), _joined([numbers[0], *one_hots]), len(one_hots), torch.from_numpy(profile))


def _joined(columns: list[npt.NDArray[np.float64]]) -> Tensor:
    return torch.from_numpy(np.concatenate(columns, axis=1).astype(np.float32))


def nearest_rows(columns: DistanceColumns, members: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int32]:
    """[N, count] indices of the nearest `members` of every row, in no particular order; never the row itself.

    Exact up to float32 ties. Rows of one profile are searched first: a row of another profile differs by at least one
    whole column, so a row whose `count` nearest of its own profile differ by less needs no search among all members.
    About two seconds on one core for 30,000 rows of Adult, where searching everything takes five.
    """
    candidates = torch.from_numpy(members)
    found = torch.empty(len(columns.profile), count, dtype=torch.int64)
    settled = torch.zeros(len(found), dtype=torch.bool)
    order = columns.profile.argsort()
    is_member = torch.zeros(len(found), dtype=torch.bool)
    is_member[candidates] = True
    for rows in order.split(torch.bincount(columns.profile).tolist()):
        alike = rows[is_member[rows]]
        if len(alike) > count:
            found[rows], farthest = _search(columns, rows, alike, count)
            settled[rows] = farthest < 1
    rest = torch.nonzero(~settled).squeeze(1)
    if len(rest):
        found[rest], _ = _search(columns, rest, candidates, count)
    return found.numpy().astype(np.int32)


def _search(columns: DistanceColumns, rows: Tensor, candidates: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """[R, count] nearest candidates of R rows, themselves excluded, and [R] the difference of the farthest of them."""
    found, farthest = [], []
    for chunk in rows.split(CHUNK):
        differences = columns.differences(chunk, candidates)
        differences[chunk[:, None] == candidates] = torch.inf
        nearest = differences.topk(count, dim=1, largest=False, sorted=False)
        found.append(candidates[nearest.indices])
        farthest.append(nearest.values.amax(1))
    return torch.cat(found), torch.cat(farthest)

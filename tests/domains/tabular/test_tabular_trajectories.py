"""Trajectories of census rows: one row, then partners of it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from contextssl.adapter import Split
from contextssl.batch import Transitions
from contextssl.testing import check_adapter
from domains.tabular.adult import Adult
from domains.tabular.samplers import Flip, Matched

census = partial(Adult, source="generated", num_generated=(900, 300), trajectories=True)


def shown(sequence: Transitions) -> torch.Tensor:
    return torch.cat([sequence.state[0, :1], sequence.next_state[0]])


def free(adapter: Adult) -> torch.Tensor:
    """Which input columns are not the sensitive attribute's."""
    keep = torch.ones(adapter.labelled(Split.TRAIN).inputs.shape[1], dtype=torch.bool)
    keep[adapter.preprocessor.blocks["sex"]] = False
    return keep


@pytest.mark.parametrize("settings", [{}, {"balance_sensitive": True}, {"sensitive": ("sex", "race"), "action_code": "relative"}])
def test_the_census_conforms(settings: dict[str, object]) -> None:
    sampler = Matched(num_neighbours=3) if "sensitive" not in settings else Flip()
    check_adapter(census(pairs=sampler, **settings))


def test_an_uncorrupted_flip_changes_the_attribute_only() -> None:
    adapter = census(pairs=Flip(corruption=0))
    sequence = adapter.train_sequences(12, 0)[0]
    rows = shown(sequence)[:, free(adapter)]
    assert (rows == rows[0]).all()
    assert set(sequence.latent[0, :, 1, 0].tolist()) == {0, 1}
    value = shown(sequence)[:, adapter.preprocessor.blocks["sex"]].argmax(1)
    assert torch.equal(value[1:].float(), sequence.latent[0, :, 1, 0])


def test_matched_partners_are_those_of_the_first_row() -> None:
    adapter = census(pairs=Matched(num_neighbours=5, corruption=0))
    inputs = adapter.labelled(Split.TRAIN).inputs
    neighbours = adapter.sampler.fit(adapter.table(Split.TRAIN)).neighbours  # [2, N, 5]
    sequences = adapter.train_sequences(6, 2)
    for index in range(8):
        views = shown(sequences[index])
        candidates = [
            set(neighbours[:, row].ravel().tolist()) for row in (inputs == views[0]).all(1).nonzero().flatten().tolist()
        ]
        allowed = set.union(*candidates)
        for view in views[1:]:
            assert allowed & set((inputs == view).all(1).nonzero().flatten().tolist())


@pytest.mark.parametrize(("code", "expected"), [("target", [1, 0]), ("relative", [0, 1])])
def test_actions_are_written_between_neighbouring_views(code: str, expected: list[int]) -> None:
    sequence = census(action_code=code).held_out(40, 1, 0)
    s_x, s_y = sequence.latent[0, :, :, 0].T
    becomes_one = (s_x == 0) & (s_y == 1)
    assert becomes_one.any()
    assert (sequence.action[0, becomes_one] == torch.tensor(expected)).all()
    first = s_y == 1 if code == "target" else s_x == s_y
    np.testing.assert_array_equal(sequence.action[0].numpy(), np.stack([first, ~first], axis=1))


def test_sequences_are_those_of_before_without_the_option() -> None:
    plain = census(trajectories=False)
    drawn = plain.draw(Split.TRAIN, 5, np.random.default_rng((3, 0, 2)))
    assert torch.equal(plain.train_sequences(5, 3)[2].next_state, drawn.next_state)
    assert torch.equal(plain.actions.action_scale, census().actions.action_scale)

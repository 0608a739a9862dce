"""Transitions: what is refused, what is kept together."""

import pytest
import torch

from contextssl.batch import Transitions, stack


def recognisable(num_sequences=2, length=3, offset=0):
    """Every entry says where it belongs: hundreds = sequence, tens = pair, units = which part."""
    place = 100.0 * (torch.arange(num_sequences)[:, None] + offset) + 10.0 * torch.arange(length)
    return Transitions(
        (place + 1)[..., None].expand(-1, -1, 4),
        (place + 2)[..., None].expand(-1, -1, 2),
        (place + 3)[..., None].expand(-1, -1, 4),
        (place[..., None] + torch.tensor([4.0, 5.0]))[..., None].expand(-1, -1, -1, 3),
    )


@pytest.mark.parametrize(
    ("part", "shape", "message"),
    [
        ("action", (2, 3), r"action: expected shape \[B, T, A\], found \[2, 3\]"),
        ("state", (2, 4, 5), r"state: expected shape \[B, T, \*input\] with B, T = \[2, 3\], found \[2, 4, 5\]"),
        ("state", (2, 3), r"state: .*found \[2, 3\]"),
        ("next_state", (3, 2, 5), r"next_state: .*found \[3, 2, 5\]"),
        ("latent", (2, 3, 6), r"latent: expected shape \[2, 3, 2, 'L'\], found \[2, 3, 6\]"),
        ("latent", (2, 3, 3, 6), r"latent: .*found \[2, 3, 3, 6\]"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(part, shape, message):
    parts = {
        "state": torch.zeros(2, 3, 5),
        "action": torch.zeros(2, 3, 1),
        "next_state": torch.zeros(2, 3, 5),
        "latent": torch.zeros(2, 3, 2, 1),
    }
    with pytest.raises(ValueError, match=message):
        Transitions(**(parts | {part: torch.zeros(shape)}))


def test_next_states_may_have_a_shape_of_their_own():
    assert (
        Transitions(torch.zeros(1, 2, 3, 8, 8), torch.zeros(1, 2, 1), torch.zeros(1, 2, 1), torch.zeros(1, 2, 2, 1)).length == 2
    )


def test_pairs_keep_the_parts_of_a_transition_together():
    state, action, next_state, latent = recognisable().pairs()
    place = state[:, 0] - 1
    assert place.tolist() == [0, 10, 20, 100, 110, 120]
    assert torch.equal(action[:, 0] - 2, place)
    assert torch.equal(next_state[:, 0] - 3, place)
    assert torch.equal(latent[:, 0, 0] - 4, place)
    assert torch.equal(latent[:, 1, 0] - 5, place)


def test_first_takes_the_beginning_of_every_sequence():
    short = recognisable(length=5).first(2)
    assert (short.num_sequences, short.length) == (2, 2)
    assert torch.equal(short.latent, recognisable(length=2).latent)
    assert recognisable().first(0).length == 0


def test_stack_keeps_order_and_parts():
    batch = stack([recognisable(1, offset=0), recognisable(2, offset=1)])
    for part in ("state", "action", "next_state", "latent"):
        assert torch.equal(getattr(batch, part), getattr(recognisable(3), part))


def test_replacing_items_or_actions_leaves_the_rest():
    batch = recognisable()
    features = batch.with_items(torch.zeros(2, 3, 7), torch.ones(2, 3, 7))
    assert features.state.sum() == 0
    assert features.next_state.min() == 1
    assert features.action is batch.action
    decoy = batch.with_action(batch.action.flip(1))
    assert decoy.state is batch.state
    assert decoy.latent is batch.latent
    assert torch.equal(decoy.action[:, 0], batch.action[:, 2])

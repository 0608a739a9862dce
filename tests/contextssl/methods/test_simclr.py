"""SimCLR: which items are positives, and what it does not look at."""

import pytest
import torch

from contextssl.methods.simclr import SimCLR
from contextssl.testing import ToyAdapter

ADAPTER = ToyAdapter()


def method():
    torch.manual_seed(0)
    return SimCLR(ADAPTER.build_encoder(), ADAPTER.actions, projector_dims=(16, 8), temperature=0.2).eval()


def test_loss_is_nt_xent_between_the_members_of_each_pair():
    model, batch = method(), ADAPTER.held_out(4, 2, seed=0)
    x, y = (model.projector(model.encoder(items.flatten(0, 1))) for items in (batch.state, batch.next_state))
    tokens = torch.nn.functional.normalize(torch.cat([x, y]), dim=1)
    similarity = (tokens @ tokens.T / 0.2).exp().fill_diagonal_(0)
    partner = torch.arange(16).roll(8)
    expected = -(similarity[torch.arange(16), partner] / similarity.sum(1)).log().mean()
    (term,) = model.loss_terms(batch, torch.Generator()).values()
    torch.testing.assert_close(term, expected, rtol=1e-5, atol=1e-6)


def test_actions_do_not_matter_but_pairing_does():
    model, batch = method(), ADAPTER.held_out(4, 2, seed=0)
    loss = model.loss_terms(batch, torch.Generator())["invariance"].item()
    assert model.loss_terms(batch.with_action(batch.action + 7), torch.Generator())["invariance"].item() == loss
    mispaired = batch.with_items(batch.state, batch.next_state.roll(1, 1))
    assert model.loss_terms(mispaired, torch.Generator())["invariance"].item() != pytest.approx(loss, rel=1e-3)

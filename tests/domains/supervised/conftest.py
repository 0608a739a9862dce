"""A toy domain with the paper's rule, as small as it can be learnt."""

from __future__ import annotations

import pytest

from contextssl.testing import ToyAdapter
from domains.supervised.label_shift import LabelShift
from domains.supervised.rules import Identity, Offset


@pytest.fixture(scope="session")
def toy() -> LabelShift:
    """Four classes: plus 10 where `turn` is told, themselves where `shift` is."""
    return LabelShift(ToyAdapter(), "class", {"turn": Offset(10), "shift": Identity()}, num_labels=14, disjoint=True)

"""One small generated census for all tests of this folder, and where the real data are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from domains.tabular.adult import Adult


@pytest.fixture(scope="session")
def census() -> Adult:
    """Adult's stand-in: 2,000 and 800 generated rows."""
    return Adult(source="generated", num_generated=(2000, 800))


@pytest.fixture(scope="session")
def adult_root() -> Path:
    """Folder of the real files; the test is skipped when there is none."""
    if not (packs := os.environ.get("CONTEXTSSL_DATA")):
        pytest.skip("CONTEXTSSL_DATA is not set: no real data")
    return Path(packs) / "adult"

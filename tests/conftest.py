"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

CHECKOUT = Path(__file__).resolve().parent.parent

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, and say why."""
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no GPU that torch can use"))
        if item.get_closest_marker("data") and "CONTEXTSSL_DATA" not in os.environ:
            item.add_marker(pytest.mark.skip(reason="CONTEXTSSL_DATA is not set: no real data"))

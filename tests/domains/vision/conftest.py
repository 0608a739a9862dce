"""What the tests of packing and of packed views share."""

from __future__ import annotations

from pathlib import Path

import pytest
from published_folder import write_folder
from small_packs import pack_small

from domains.vision.view_store import ViewStore


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published")
    write_folder(root)
    return root


@pytest.fixture(scope="module")
def store(original: Path, tmp_path_factory: pytest.TempPathFactory) -> ViewStore:
    return pack_small(original, tmp_path_factory.mktemp("packs") / "whole")

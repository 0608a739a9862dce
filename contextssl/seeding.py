"""One independent random stream per purpose, all derived from one seed."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch


def derive_seed(seed: int, purpose: str) -> int:
    """A seed in 0..2^63-1 for one purpose: equal inputs give equal seeds, and purposes do not share a stream."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose (`method`, `diagnosis`...), so that draws are the same on every device."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose))


def seed_globals(seed: int) -> None:
    """Seed what cannot be passed a generator: the initialisation and dropout of torch modules, numpy and random."""
    derived = derive_seed(seed, "globals")
    random.seed(derived)
    np.random.seed(derived % 2**32)
    torch.manual_seed(derived)

"""The tutorial's own transform: does what its parameters say, trains, and is shown as it is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    specification = importlib.util.spec_from_file_location("own_transform_under_test", ROOT / "examples/own_transform.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_tutorial_shows_the_class_of_the_example() -> None:
    page, source = (path.read_text() for path in (ROOT / "docs/tutorials/own_transform.md", ROOT / "examples/own_transform.py"))
    shown = next(block for block in page.split("```python\n")[1:] if block.startswith("class")).split("```")[0]
    assert shown in source and 10 < len(shown.splitlines()) <= 20


def test_shading_lights_the_side_that_its_parameter_says(example: ModuleType) -> None:
    images = torch.full((3, 1, 8, 8), 0.5)
    left, none, right = example.Shading().apply(images, torch.tensor([[-0.6], [0.0], [0.6]]))
    assert torch.equal(none, images[1]) and torch.allclose(left, right.flip(-1))
    torch.testing.assert_close(right[0, :, [0, -1]], torch.tensor([0.2, 0.8]).expand(8, 2))
    drawn = example.Shading(0.3).draw(500, torch.Generator().manual_seed(0))
    assert drawn.min() < -0.28 and drawn.max() > 0.28 and drawn.abs().max() <= 0.3


def test_the_adapter_shows_what_is_told(example: ModuleType) -> None:
    adapter = example.make_adapter()
    sequence = adapter.train_sequences(16, seed=0)[0]
    assert adapter.actions.names == ("rotation", "shading") and sequence.action.shape == (1, 16, 2)
    torch.testing.assert_close(sequence.action, sequence.latent[:, :, 1] - sequence.latent[:, :, 0])
    assert (adapter.actions.latent_scale - torch.tensor([1 / 3, 1.6]) / 12**0.5).abs().max() < 0.03


@pytest.mark.slow
def test_a_short_training_reads_both_parameters_and_starts_to_adapt(example: ModuleType) -> None:
    """150 of the 800 steps."""
    r2 = {
        (row.environment, row.target, row.context_length): row.value
        for row in example.run(num_steps=150, lengths=(0, 14))
        if (row.probe, row.metric) == ("knn-10", "r2_varw")
    }
    for told, untold in (("rotation", "shading"), ("shading", "rotation")):
        assert r2[told, told, 14] > r2[told, untold, 14] + 0.3


def test_the_program_runs_to_its_end(example: ModuleType) -> None:
    rows = example.run(num_steps=2, lengths=(0, 2))
    assert {row.target for row in rows} == {"digit", "rotation", "shading"}
    assert {row.environment for row in rows} >= {"rotation", "shading"}

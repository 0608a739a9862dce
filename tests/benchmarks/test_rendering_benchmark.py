"""The benchmark of rendering counts what it says: pictures a second, without what starting takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def rendering(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("rendering")


def test_rendering_rates_are_those_of_the_line_through_both_sets(rendering) -> None:
    found = rendering.rates([100, 300], [5.0, 9.0])
    assert (found["images_per_second"], found["seconds_to_start"]) == (50.0, 3.0)
    assert found["images_per_second_with_start"] == pytest.approx(33.3)
    with pytest.raises(ValueError, match="more --objects"):
        rendering.rates([100, 300], [5.0, 5.0])


def test_rendering_counts_the_pictures_of_the_larger_set(rendering, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def seconds(objects: int, views: object, processes: int, categories: int) -> float:
        asked.append((objects, processes))
        return 1.0 + objects * categories * views.views / 80 + (len(asked) % 2)  # type: ignore[attr-defined]

    monkeypatch.setattr(rendering, "render_seconds", seconds)
    found = rendering.measure(2, rendering.Views(views=5), processes=2, repetitions=2, categories=4)
    assert asked == [(2, 2)] * 2 + [(6, 2)] * 2
    assert (found["images"], found["images_per_second"], found["seconds_to_start"]) == (120, 80.0, 1.0)


def test_what_is_timed_is_a_whole_set(rendering, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def generate(root: Path, **settings: object) -> None:
        assert not root.exists()
        made.append(settings)

    monkeypatch.setattr(rendering, "generate", generate)
    views = rendering.Views(size=64, samples=3)
    rendering.render_seconds(2, views, 2, 3)
    assert made == [{"objects": 2, "categories": 3, "views": views, "processes": 2}]

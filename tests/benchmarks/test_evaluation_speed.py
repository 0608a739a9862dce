"""The speed benchmarks count what they say: encoder passes of both ways of evaluating, and pictures a second."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from toy_domain import ToyDomain

from contextssl.evaluation.probe import LinearProbe, NearestNeighbours
from contextssl.evaluation.protocols import ReadoutProtocol
from contextssl.losses.contrastive import all_negatives
from contextssl.methods.context_ssl import ContextSSL
from contextssl.methods.environments import EnvironmentSampler
from contextssl.models.transformer import ContextTransformer

CHECKOUT = Path(__file__).resolve().parents[2]
ROWS = 96 + 32 + 32  # labelled items of the toy domain


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
    import evaluation_speed

    yield evaluation_speed
    sys.modules.pop("evaluation_speed", None)


@pytest.fixture
def rendering(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
    import rendering

    yield rendering
    sys.modules.pop("rendering", None)


@pytest.fixture
def domain() -> ToyDomain:
    return ToyDomain()


@pytest.fixture
def method(domain: ToyDomain) -> ContextSSL:
    torch.manual_seed(0)
    return ContextSSL(
        domain.build_encoder(), domain.actions, contrastive=all_negatives, environments=EnvironmentSampler(), embedding_dim=3,
        transformer=partial(ContextTransformer, width=8, num_layers=1, num_heads=2),
    )  # fmt: skip


def test_ours_encodes_every_item_and_every_context_item_once_whatever_is_asked(speed, method, domain) -> None:
    encoder = method.encoder
    one = speed.measure_ours(method, domain, [ReadoutProtocol(probes=(LinearProbe(),))])
    more = [
        ReadoutProtocol(probes=(LinearProbe(), NearestNeighbours())),
        ReadoutProtocol(name="again/1", probes=(LinearProbe(),)),
    ]
    three = speed.measure_ours(method, domain, more)
    assert one["images_encoded"] == three["images_encoded"] == ROWS + 126
    assert one["cells"] == 2 + 3 * 4 and three["results"] == 3 * one["results"]
    assert method.encoder is encoder


def test_the_slice_encodes_both_views_in_every_mode_and_queries_at_every_length(speed, method, domain) -> None:
    epoch_slice = speed.Slice(method, domain, num_objects=7)
    counted = method.encoder = speed.CountedEncoder(method.encoder)
    queries = []
    method.transformer.register_forward_hook(lambda *_: pytest.fail("queries use the cache"))
    embed = type(epoch_slice.after[0][0]).embed_features
    for mode in epoch_slice.after:
        for conditioned in mode:
            object.__setattr__(conditioned, "embed_features", lambda x, c=conditioned: queries.append(len(x)) or embed(c, x))
    epoch_slice.encode()
    assert counted.images == 3 * 2 * 7
    epoch_slice.query()
    assert counted.images == 3 * 2 * 7 and sum(queries) == 3 * 5 * 2 * 7
    assert [conditioned.length for conditioned in epoch_slice.after[0]] == [0, 2, 14, 30, 126]


def test_a_step_trains_the_probes_of_all_modes_and_lengths(speed, method, domain, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *_: steps.append(1))
    epoch_slice = speed.Slice(method, domain, num_objects=4)
    for probed in speed.RELEASED:
        epoch_slice.step(probed)
    assert len(steps) == 3 * 15
    widths = [[p.shape for p in epoch_slice.heads[probed.name].parameters() if p.ndim == 2][0][1] for probed in speed.RELEASED]
    assert widths == [3, 3, 6]


def test_the_epochs_of_the_released_evaluation_are_added_up(speed) -> None:
    seconds = {"encode": 2.0, "query": 1.0} | {f"step, {probed.name}": 0.5 for probed in speed.RELEASED}
    found = speed.extrapolate(seconds, 10, train_objects=100, test_objects=20, test_views=60, num_modes=3)
    views = (300 + 300 + 200) * 2 * 100 + 60 + 60 + 2 * 20
    assert found["images_encoded"] == 3 * views and found["queries"] == 5 * 3 * views
    assert found["seconds_encoding_and_queries"] == pytest.approx(3.0 * views / 20, abs=0.1)
    assert found["seconds"] - found["seconds_encoding_and_queries"] == pytest.approx(800 * 10 * 0.5, abs=0.1)


def test_ratios_divide_the_slow_way_by_ours(speed, method, domain) -> None:
    found = speed.compare(method, domain, [ReadoutProtocol(probes=(LinearProbe(),))], slice_objects=8, repetitions=1)
    slow = 3 * (800 * 2 * 96 + 2 * 32 + 2 * 32)
    assert found["released"]["images_encoded"] == slow
    assert found["ratio"]["images_encoded"] == pytest.approx(slow / (ROWS + 126), abs=0.1)
    assert found["ratio"]["seconds"] == pytest.approx(found["released"]["seconds"] / found["ours"]["seconds"], rel=0.2)


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

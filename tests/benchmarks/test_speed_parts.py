"""Queries, evaluation and transforms of the speed benchmark: both sides agree before they are timed."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from averaging_encoder import Pixels
from torch import Tensor


def test_cached_and_uncached_agree_before_they_are_timed(speed: ModuleType, once: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = speed.queries
    monkeypatch.setattr(queries, "memory_of", lambda *_, **__: 5.0)
    sizes = speed.quick("cpu", 1, False).queries
    found = queries.queries(sizes, once)
    assert [(row["method"], row["context_length"]) for row in found["rows"]] == [
        (name, length) for name in ("default", "reference") for length in sizes.lengths
    ]
    for row in found["rows"]:
        rate = row["cached_queries_per_second"] / row["uncached_queries_per_second"]
        assert row["cached_over_uncached"] == pytest.approx(rate, abs=0.06) and row["cached"]["rounds"] == 1
        assert row["cached_queries_per_second"] == pytest.approx(64e3 / row["cached"]["ms"], rel=0.01)
    assert found["memory_mb"]["default"] == {"cached": 5.0, "uncached": 5.0}


@pytest.mark.parametrize("name", ["default", "reference"])
def test_a_cache_that_forgets_a_pair_is_noticed(speed: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = speed.quick("cpu", 1, False).queries
    case = speed.queries.Case(sizes.methods[name], "cpu")
    case.check(14)
    condition = type(case.method).condition_features
    monkeypatch.setattr(
        type(case.method), "condition_features", lambda *arguments: condition(*arguments).shortened(arguments[1].length * 2 - 2)
    )
    with pytest.raises(AssertionError):
        case.check(14)


def test_the_memory_of_a_context_is_what_it_adds(speed: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    queries, asked = speed.queries, []

    def memory_of(build: Callable[..., Callable[[], Tensor]], *arguments: Any, device: str, threads: int) -> float:
        asked.append(arguments[2:])
        assert build(*arguments)().shape == (arguments[2], 512 if "reference" in arguments[0].overrides[0] else 64)
        return 10.0 + arguments[2] + (3.25 if arguments[3] else 0.0)

    monkeypatch.setattr(queries, "memory_of", memory_of)
    found = queries.context_memory(speed.quick("cpu", 1, False).queries)
    assert asked == [(1, 14), (1, 0), (16, 14), (16, 0)]
    assert [row["context_mb"] for row in found["rows"]] == [3.25, 3.25]
    kept = 3 * 2 * 14 * 64 * 4 / 2**20  # layers, keys and values, tokens, width, bytes
    assert found["keys_and_values_mb"] == pytest.approx(kept, abs=0.005)
    assert found["rows"][1]["copies_would_take_mb"] == pytest.approx(16 * kept, abs=0.05)


def test_both_evaluations_embed_alike_and_images_are_counted(
    speed: ModuleType, once: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = speed.evaluation
    monkeypatch.setattr(evaluation.Settings, "encoder", lambda _: Pixels())
    found = evaluation.evaluation(evaluation.Sizes(objects=20, views=4, side=4, hidden_dims=(8,)), once)
    assert found["ours"]["images_encoded"] == 20 * 4 + 126
    assert found["one_epoch_in_one_environment"]["images_encoded"] == 14 * 4
    everything, released = found["all_images_in_every_epoch"], found["one_pair_of_each_object_in_every_epoch"]
    assert everything["images_encoded"] == 3 * 200 * 14 * 4 and released["images_encoded"] == 3 * 200 * 14 * 2
    slow = 600 * found["one_epoch_in_one_environment"]["ms"] / 1e3
    assert everything["seconds"] == pytest.approx(slow, abs=0.4) and released["seconds"] == pytest.approx(slow / 2, abs=0.4)
    assert everything["over_ours"] == pytest.approx(slow * 1e3 / found["ours"]["ms"], rel=0.05)


def test_a_loop_that_embeds_otherwise_is_noticed(speed: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = speed.evaluation
    monkeypatch.setattr(evaluation.Settings, "encoder", lambda _: Pixels())
    sizes = evaluation.Sizes(objects=20, views=4, side=4, hidden_dims=(8,))
    adapter = evaluation.noise(sizes)
    method = evaluation.method_of(adapter.build_encoder(), ["method=context_ssl/default"]).eval()
    loop = evaluation.ReEncodingLoop(method, adapter, sizes)
    loop.check()
    before = [parameter.clone() for parameter in loop.probes.parameters()]
    loop.epoch()
    moved = [not torch.equal(old, new) for old, new in zip(before, loop.probes.parameters(), strict=True)]
    assert all(moved) and len(loop.probes) == 5
    loop.images = loop.images.flip(0)
    with pytest.raises(AssertionError):
        loop.check()


def test_transforms_are_compared_and_the_ratio_is_to_torchvision_s_faster_way(speed: ModuleType, once: Any) -> None:
    (row,) = speed.transforms.transforms(speed.transforms.Sizes((16,), 4, 2), once)["rows"]
    rate = row["images_per_second"]
    faster = max(rate["torchvision_floats"], rate["torchvision_bytes"])
    assert row["over_torchvision"] == pytest.approx(rate["batched"] / faster, rel=0.02, abs=0.01)
    for name, (num_images, function) in speed.transforms.contestants(12, speed.transforms.Sizes((12,), 4, 2)).items():
        views = function()
        assert views.shape == (num_images, 3, 12, 12) and views.dtype is torch.float32, name
        assert views.min() > -0.3 and views.max() < 1.3 and views.std() > 0.02, name  # torchvision leaves overshoots


@pytest.mark.parametrize("part", ["RandomResizedCrop", "GaussianBlur"])
def test_a_transform_that_does_something_else_is_noticed(speed: ModuleType, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = getattr(speed.transforms, part)

    def off_by_a_pixel(*arguments: Any) -> Callable[..., tuple[Tensor, Tensor]]:
        transform = right(*arguments)
        return lambda images, draws: (lambda views, drawn: (views.roll(1, -1), drawn))(*transform(images, draws))

    speed.transforms.check(16, "cpu")
    monkeypatch.setattr(speed.transforms, part, off_by_a_pixel)
    with pytest.raises(AssertionError):
        speed.transforms.check(16, "cpu")

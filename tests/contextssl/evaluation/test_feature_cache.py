"""Features on disk: found again for the same weights, data, code and settings, never for others, and never damaged."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from contextssl.adapter import LabelledData, Split
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.evaluation.feature_cache import FeatureCache, origin_of
from contextssl.methods.simclr import SimCLR
from contextssl.testing import ToyAdapter

ADAPTER = ToyAdapter()
ORIGIN = {"weights": "a", "data": "b"}
ENCODER = """
from torch import nn, ones

class Encoder(nn.Module):
    out_dim = 6

    def __init__(self, width):
        super().__init__()
        self.linear, self.norm, self.power = nn.Linear(width, 6), nn.BatchNorm1d(6), 1.0
        self.register_buffer("gain", ones(6), persistent=False)

    def forward(self, x):
        return self.gain * self.norm(self.linear(x)) ** self.power
"""


def module_of(path: Path, source: str) -> ModuleType:
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SimCLR]:
    monkeypatch.setitem(sys.modules, "planted_encoder", None)  # gone after the test

    def make(source: str = ENCODER) -> SimCLR:
        kind = module_of(tmp_path / "planted_encoder.py", source).Encoder
        torch.manual_seed(0)
        return SimCLR(kind(ADAPTER.labelled(Split.TEST).inputs.shape[1]), ADAPTER.actions, projector_dims=(4,)).eval()

    return make


def encoded_rows(method: SimCLR) -> list[int]:
    rows: list[int] = []
    method.encoder.register_forward_hook(lambda _, inputs, __: rows.append(len(inputs[0])))
    return rows


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def test_a_second_evaluation_encodes_nothing_and_reads_the_same(make_method, tmp_path: Path) -> None:
    cache, method = FeatureCache(tmp_path / "cache"), make_method()
    plain = {split: EmbeddingBank(method, ADAPTER).features(split) for split in Split}
    first = {split: EmbeddingBank(method, ADAPTER, feature_cache=cache).features(split) for split in Split}
    again = make_method()
    rows = encoded_rows(again)
    bank = EmbeddingBank(again, ADAPTER, feature_cache=cache)
    for split in Split:
        assert torch.equal(bank.features(split), plain[split]) and torch.equal(first[split], plain[split])
    assert rows == [] and len(files(cache.folder)) == 3


def scale(method: SimCLR) -> None:
    method.encoder.linear.weight.data[0, 0] *= 1 + 1e-5


def move_statistics(method: SimCLR) -> None:
    method.encoder.norm.running_mean += 1e-4


def set_gain(method: SimCLR) -> None:
    method.encoder.gain.fill_(2.0)


def set_power(method: SimCLR) -> None:
    method.encoder.power = 3.0


def set_epsilon(method: SimCLR) -> None:
    method.encoder.norm.eps = 1e-2


@pytest.mark.parametrize("change", [scale, move_statistics, set_gain, set_power, set_epsilon])
def test_a_changed_method_is_encoded_anew(make_method, tmp_path: Path, change: Callable[[SimCLR], None]) -> None:
    cache, method = FeatureCache(tmp_path / "cache"), make_method()
    stale = EmbeddingBank(method, ADAPTER, feature_cache=cache).features(Split.TEST).clone()
    change(method)
    expected = EmbeddingBank(method, ADAPTER).features(Split.TEST)
    assert not torch.equal(expected, stale)
    assert torch.equal(EmbeddingBank(method, ADAPTER, feature_cache=cache).features(Split.TEST), expected)


def test_changed_code_is_encoded_anew(make_method, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "cache")
    stale = EmbeddingBank(make_method(), ADAPTER, feature_cache=cache).features(Split.TEST)
    method = make_method(ENCODER.replace("self.gain *", "2 * self.gain *"))
    torch.testing.assert_close(EmbeddingBank(method, ADAPTER, feature_cache=cache).features(Split.TEST), 2 * stale)


def test_a_file_beside_the_encoder_s_counts_as_its_code(make_method, tmp_path: Path) -> None:
    method, data = make_method(), ADAPTER.labelled(Split.TEST)
    before = origin_of(method, ADAPTER, Split.TEST, data)
    (tmp_path / "layers.py").write_text("WIDTH = 3\n")
    after = origin_of(method, ADAPTER, Split.TEST, data)
    assert {name for name in before if before[name] != after[name]} == {"code"}


def test_rows_manifest_and_split_are_part_of_the_origin_but_not_where_the_data_lie(make_method, monkeypatch) -> None:
    method, data = make_method(), ADAPTER.labelled(Split.TEST)

    def origin(rows: LabelledData = data, split: Split = Split.TEST) -> dict[str, str]:
        return origin_of(method, ADAPTER, split, rows)

    before = origin()
    other = data.inputs.clone()
    other[-1, -1] += 1e-6
    assert origin(replace(data, inputs=other))["rows"] != before["rows"]
    assert origin(replace(data, inputs=data.inputs.flip(0)))["rows"] != before["rows"]
    assert origin(split=Split.TRAIN) != before
    monkeypatch.setattr(ADAPTER, "manifest", ADAPTER.manifest | {"source": "elsewhere"})
    assert origin() == before
    monkeypatch.setattr(ADAPTER, "manifest", ADAPTER.manifest | {"seed": 77})
    assert {name for name in before if before[name] != origin()[name]} == {"data"}


def test_what_does_not_change_features_does_not_change_the_origin(make_method) -> None:
    method, data = make_method(), ADAPTER.labelled(Split.TEST)
    before = origin_of(method, ADAPTER, Split.TEST, data)
    assert origin_of(method.train(), ADAPTER, Split.TEST, data) == before


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def put_another_in_its_place(path: Path) -> None:
    FeatureCache(path.parent).features({"weights": "z"}, lambda: torch.zeros(5, 3))
    (other,) = (found for found in files(path.parent) if found != path)
    other.replace(path)


@pytest.mark.parametrize("damage", [flip_a_byte, cut, empty, put_another_in_its_place])
def test_a_damaged_file_is_noticed_and_replaced(tmp_path: Path, caplog, damage: Callable[[Path], None]) -> None:
    cache, rows = FeatureCache(tmp_path), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    cache.features(ORIGIN, lambda: rows)
    damage(files(tmp_path)[0])
    assert torch.equal(cache.features(ORIGIN, lambda: rows + 1), rows + 1)
    assert "computed again" in caplog.text
    assert torch.equal(cache.features(ORIGIN, lambda: pytest.fail("it was replaced")), rows + 1)


def test_processes_that_share_a_folder_never_see_half_a_file(tmp_path: Path) -> None:
    cache, start = FeatureCache(tmp_path), threading.Barrier(8)
    rows = torch.arange(3000.0).view(1000, 3)
    seen: list[Tensor] = []

    def evaluate() -> None:
        start.wait()
        seen.extend(cache.features(ORIGIN, rows.clone) for _ in range(5))

    threads = [threading.Thread(target=evaluate) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 40 and all(torch.equal(found, rows) for found in seen)
    assert len(files(tmp_path)) == 1


def test_what_a_killed_process_left_is_never_read(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.features(ORIGIN, lambda: torch.ones(2, 2))
    whole = files(tmp_path)[0]
    whole.rename(tmp_path / f".{whole.name}.left.safetensors")
    assert torch.equal(cache.features(ORIGIN, lambda: torch.zeros(2, 2)), torch.zeros(2, 2))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux lists what is mapped")
def test_features_are_mapped_not_read(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    found = cache.features(ORIGIN, lambda: torch.ones(100_000, 4))
    assert str(files(tmp_path)[0]) in Path("/proc/self/maps").read_text()
    assert found.sum() == 400_000


def test_beyond_its_limit_the_cache_forgets_what_was_not_used_for_longest(tmp_path: Path) -> None:
    size = 4 * 1000 * 3
    cache = FeatureCache(tmp_path, limit=int(2.5 * size))
    for age, name in enumerate("ab"):
        cache.features({"weights": name}, lambda: torch.ones(1000, 3))
        (newest,) = (path for path in files(tmp_path) if path.stat().st_mtime > 10**6)
        os.utime(newest, (age, age))
    cache.features({"weights": "a"}, lambda: pytest.fail("still there"))  # now b is the older one
    cache.features({"weights": "c"}, lambda: torch.ones(1000, 3))
    computed = []
    for name in "ac":
        cache.features({"weights": name}, lambda: pytest.fail("still there"))
    cache.features({"weights": "b"}, lambda: computed.append(1) or torch.ones(1000, 3))
    assert computed == [1]
    tight = FeatureCache(tmp_path / "tight", limit=1)
    tight.features(ORIGIN, lambda: torch.ones(9, 9))
    tight.features(ORIGIN, lambda: pytest.fail("the newest is never removed"))


def test_features_that_are_not_finite_are_not_kept(make_method, tmp_path: Path) -> None:
    cache, method = FeatureCache(tmp_path / "cache"), make_method()
    method.encoder.linear.bias.data[2] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        EmbeddingBank(method, ADAPTER, feature_cache=cache).features(Split.TEST)
    assert files(cache.folder) == []


def test_an_encoder_without_source_is_refused(make_method, tmp_path: Path) -> None:
    method = make_method()
    kind = type(
        "Nowhere",
        (type(method.encoder),),
        {"__module__": "__main__" if not hasattr(sys.modules["__main__"], "__file__") else "gone"},
    )
    method.encoder.__class__ = kind
    with pytest.raises(ValueError, match="Nowhere cannot be kept.*feature_cache"):
        EmbeddingBank(method, ADAPTER, feature_cache=FeatureCache(tmp_path / "cache")).features(Split.TEST)


def test_the_environment_names_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CONTEXTSSL_CACHE", raising=False)
    assert FeatureCache.from_environment() is None
    monkeypatch.setenv("CONTEXTSSL_CACHE", str(tmp_path))
    assert FeatureCache.from_environment() == FeatureCache(tmp_path / "features")


def test_a_conditioned_method_reads_contexts_as_before(tmp_path: Path, make_bank: Callable[..., EmbeddingBank]) -> None:
    plain, kept = make_bank(), make_bank(feature_cache=FeatureCache(tmp_path))
    for cell in plain.cells:
        assert torch.equal(plain.embeddings(cell, Split.TEST), kept.embeddings(cell, Split.TEST))


def test_the_encoder_is_found_below_wrappers(make_method, tmp_path: Path) -> None:
    method = make_method()
    method.encoder = nn.Sequential(method.encoder)
    before = origin_of(method, ADAPTER, Split.TEST, ADAPTER.labelled(Split.TEST))
    method.encoder[0].power = 2.0
    assert origin_of(method, ADAPTER, Split.TEST, ADAPTER.labelled(Split.TEST))["structure"] != before["structure"]

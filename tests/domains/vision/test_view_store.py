"""Packed views: contents against PIL, rows in any order, one map for all copies, damaged files, how they were made."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from published_folder import VIEWS
from small_packs import COUNTS, SIDE, truncate

from domains.vision.image_folder import LATENTS
from domains.vision.view_store import ViewStore


def test_every_view_is_the_resized_image_with_its_latent(original: Path, store: ViewStore) -> None:
    assert sorted(item.name for item in store.items) == sorted(str(p.relative_to(original)) for p in original.glob("*/*"))
    for index, item in enumerate(store.items):
        rows = store.rows(torch.tensor([index]))
        for view, row in enumerate(rows.tolist()):
            with Image.open(original / item.name / f"image_{view}.jpg") as image:
                expected = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
            found = store.views(torch.tensor([row]))[0]
            np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), expected)
            latent = np.load(original / item.name / f"latent_{view}.npy").astype(np.float32)
            np.testing.assert_array_equal(store.latents[row].numpy(), latent)
        assert len(rows) == item.num_views == len(list((original / item.name).glob("*.jpg")))
    assert store.image_shape == (3, SIDE, SIDE) and store.categories == tuple(VIEWS)
    assert [store.categories[label] for label in store.label.tolist()] == [item.name[:8] for item in store.items]


def test_rows_of_items_in_any_order(store: ViewStore) -> None:
    wanted = [7, 2, 9]
    expected = [store.items[i].first_row + view for i in wanted for view in range(store.items[i].num_views)]
    assert store.rows(torch.tensor(wanted)).tolist() == expected
    assert store.rows(torch.arange(len(store))).tolist() == list(range(sum(COUNTS)))


def test_copies_and_other_processes_map_the_same_files(store: ViewStore) -> None:
    packed = pickle.dumps(store)
    rows = torch.tensor([5, 1])
    assert len(packed) < 1000 and torch.equal(pickle.loads(packed).views(rows), store.views(rows))
    store.views(rows).zero_()
    store.verify()


def change_byte(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(("name", "place", "message"), [
    ("views.npy", -1, "is damaged: .*/object"), ("latents.npy", -1, r"is damaged: latents.npy, .*/object"),
])  # fmt: skip
def test_verify_names_what_changed(store: ViewStore, tmp_path: Path, name: str, place: int, message: str) -> None:
    copy = Path(shutil.copytree(store.path, tmp_path / "copy"))
    change_byte(copy / name, place)
    with pytest.raises(ValueError, match=message) as error:
        ViewStore.open(copy).verify()
    assert store.items[-1].name in str(error.value) and store.items[0].name not in str(error.value)


def shorten(path: Path) -> None:
    array = np.load(path)
    np.save(path, array[:-1])


@pytest.mark.parametrize(("name", "spoil", "message"), [
    ("manifest.json", Path.unlink, "holds no packed views"),
    ("manifest.json", lambda path: path.write_text("{"), "is not a whole view store"),
    ("manifest.json", lambda path: path.write_text('{"format": "other"}'), "format 'other' instead of"),
    ("items.json", Path.unlink, "is not a whole view store"),
    ("items.json", lambda path: path.write_text("[]"), "do not belong together"),
    ("views.npy", truncate, "is not a whole view store"),
    ("views.npy", shorten, r"views.npy: expected uint8 \[52, 3, 16, 16\], found uint8 \[51, 3, 16, 16\]"),
    ("latents.npy", lambda path: np.save(path, np.load(path).astype(float)), "expected float32 .* found float64"),
])  # fmt: skip
def test_open_refuses_what_is_not_whole(
    store: ViewStore, tmp_path: Path, name: str, spoil: Callable[[Path], object], message: str
) -> None:
    copy = Path(shutil.copytree(store.path, tmp_path / "copy"))
    spoil(copy / name)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        ViewStore.open(copy)


def test_the_manifest_says_how_the_store_was_made(store: ViewStore) -> None:
    manifest = json.loads((store.path / "manifest.json").read_text())
    settings = manifest["made"]["settings"]
    assert (settings["size"], settings["source_size"], settings["latents"]) == (SIDE, [40, 40], list(LATENTS))
    assert (manifest["num_items"], manifest["num_views"], manifest["skipped"]) == (13, sum(COUNTS), {})

"""What cannot be packed: bad objects are named and may be skipped or repaired; folders that are none are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_packs import contents, pack_small, truncate

from domains.vision import packing
from domains.vision.image_folder import pack_folder
from domains.vision.packing import BadItemError, PackItem, pack
from domains.vision.view_store import ViewStore


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(original, tmp_path / "folder"))


def resave(path: Path) -> None:
    Image.new("RGB", (40, 30)).save(path)


def set_latent(column: int, value: float) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        latent = np.load(path)
        latent[column] = value
        np.save(path, latent)

    return change


BAD = {
    "truncated image": ("image_2.jpg", truncate, r"image_2.jpg cannot be read \(image file is truncated"),
    "no image at all": ("image_2.jpg", lambda path: path.write_text("hello"), r"image_2.jpg cannot be read \(cannot identify"),
    "wrong size": ("image_2.jpg", resave, r"image_2.jpg has 40x30 pixels where the others have 40x40"),
    "missing image": ("image_2.jpg", Path.unlink, r"image_2.jpg is missing"),
    "missing latent": ("latent_1.npy", Path.unlink, r"latent_1.npy is missing"),
    "truncated latent": ("latent_1.npy", truncate, r"latent_1.npy cannot be read"),
    "empty latent": ("latent_1.npy", lambda path: path.write_bytes(b""), r"latent_1.npy cannot be read"),
    "wide latent": ("latent_1.npy", lambda path: np.save(path, np.zeros(9)), r"latent_1.npy holds float64 \[9\] where 7 numbers"),
    "pickled latent": (
        "latent_1.npy",
        lambda path: np.save(path, np.array([{}] * 7), allow_pickle=True),
        r"latent_1.npy cannot be read",
    ),
    "angle": ("latent_1.npy", set_latent(1, 1.7), r"latent_1.npy has euler_y 1.7 outside -1.571..1.571"),
    "hue": ("latent_1.npy", set_latent(6, -0.2), r"light_hue -0.2 outside 0..1"),
    "light": ("latent_1.npy", set_latent(4, 0.9), r"light_theta 0.9 outside 0..0.7854"),
    "nan": ("latent_1.npy", set_latent(3, float("nan")), r"floor_hue nan outside"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_objects_are_named_and_may_be_skipped(folder: Path, tmp_path: Path, name: str) -> None:
    file, spoil, message = BAD[name]
    bad = ["02691156/object1", "04256520/object2"]
    for each in bad:
        spoil(folder / each / file)
    out = tmp_path / "pack"
    with pytest.raises(ValueError, match=r"2 of 13 objects cannot be packed: .*skip_bad=true") as error:
        pack_small(folder, out)
    for each in bad:
        assert f"{each}: " in str(error.value)
    error.match(message)
    with pytest.raises(FileNotFoundError, match="interrupted"):
        ViewStore.open(out)
    store = pack_small(folder, out, skip_bad=True)
    assert len(store) == 11 and not {item.name for item in store.items} & set(bad)
    assert set(store.manifest["skipped"]) == set(bad) and not (out / packing.PROBLEMS).exists()
    store.verify()
    rows = store.rows(torch.arange(len(store)))
    assert store.views(rows).flatten(1).amax(1).min() > 0  # no row of a skipped object is reachable


def test_a_repaired_object_is_packed_by_the_next_call(original: Path, folder: Path, tmp_path: Path) -> None:
    file = Path("03001627/object0/image_1.jpg")
    truncate(folder / file)
    with pytest.raises(ValueError, match="1 of 13 objects"):
        pack_small(folder, tmp_path / "repaired")
    shutil.copy(original / file, folder / file)
    pack_small(folder, tmp_path / "repaired")
    pack_small(folder, tmp_path / "never broken")
    assert contents(tmp_path / "repaired") == contents(tmp_path / "never broken")


def test_objects_with_fewer_than_two_views(folder: Path, tmp_path: Path) -> None:
    (folder / "02691156" / "hollow").mkdir()
    for view in (1, 2, 3):
        (folder / "02691156" / "object3" / f"image_{view}.jpg").unlink()
        (folder / "02691156" / "object3" / f"latent_{view}.npy").unlink()
    with pytest.raises(ValueError, match=r"hollow: 0 views where at least 2 are needed; 02691156/object3: 1 view where"):
        pack_small(folder, tmp_path / "pack")


def test_many_bad_objects_are_listed_in_a_file(tmp_path: Path) -> None:
    items = [PackItem(f"synset/{number:02}", "synset", "train", 2) for number in range(30)]

    def read(item: PackItem) -> tuple[np.ndarray, np.ndarray]:
        raise BadItemError("is broken")

    call = partial(pack, tmp_path / "pack", items, read, image_shape=(3, 2, 2), latent_dim=1, settings={})
    with pytest.raises(ValueError, match=r"synset/19: is broken; and 10 more, all listed in .*problems.txt"):
        call()
    assert len((tmp_path / "pack" / "problems.txt").read_text().splitlines()) == 30
    with pytest.raises(ValueError, match="none of the 30 items can be packed"):
        call(skip_bad=True)


def test_folders_that_are_no_such_folder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a folder; root is the folder that holds"):
        pack_small(tmp_path / "nowhere", tmp_path / "pack")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no objects: expected SYNSET/OBJECT"):
        pack_small(tmp_path / "empty", tmp_path / "pack")
    with pytest.raises(ValueError, match="size: expected at least 1 pixel"):
        pack_folder(folder, tmp_path / "pack", size=0)
    for path in folder.glob("*/*/*.jpg"):
        resave(path)
    with pytest.raises(ValueError, match="have 40x30 pixels; square ones are needed"):
        pack_small(folder, tmp_path / "pack")
    assert not (tmp_path / "pack").exists()

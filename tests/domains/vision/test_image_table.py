"""A folder of images and a CSV as a domain."""

import csv

import pytest
import torch
from PIL import Image

from contextssl.adapter import Split
from contextssl.testing import check_adapter
from domains.vision.image_table import image_table

GROUPS = {"turn": {"columns": ["angle"], "kind": "circular", "units": "turns"}, "light": {"columns": ["red", "green"]}}


def write(folder, num_items=12, num_views=4, change=lambda rows: rows, size=(20, 16)):
    """Every view is of one colour, which says which view it is: red = item, green = view."""
    rows = []
    for item in range(num_items):
        for view in range(num_views):
            Image.new("RGB", size, (10 * item, 20 * view, 0)).save(folder / f"{item}_{view}.png")
            rows.append({"image": f"{item}_{view}.png", "item": f"thing {item}", "category": "odd" if item % 2 else "even",
                         "angle": view / 8, "red": item, "green": view})  # fmt: skip
    rows = change(rows)
    with (folder / "views.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["image", "item", "angle", "red", "green"])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "views.csv"


def test_it_is_a_domain(tmp_path):
    check_adapter(image_table(write(tmp_path), GROUPS, size=32))


def test_every_view_keeps_its_own_parameters_item_and_category(tmp_path):
    def shuffle(rows):
        return [rows[index] for index in torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()]

    adapter = image_table(write(tmp_path, change=shuffle), GROUPS, size=32)
    seen = []
    for split in Split:
        data = adapter.labelled(split)
        red, green = (data.inputs[:, channel].mean((1, 2)) * 255 for channel in (0, 1))
        item, view = (red / 10).round(), (green / 20).round()
        assert torch.equal(data.latent, torch.stack([view / 8, item, view], dim=1))
        assert torch.equal(data.target("category").values, item.long() % 2)
        seen += item.tolist()
        assert len(item.unique()) == len(data.item.unique()) == len(item) // 4  # no item in two splits, all views of it in one
    assert sorted(set(seen)) == list(range(12))
    assert len(seen) == 48


def test_actions_are_differences_of_the_columns(tmp_path):
    pairs = image_table(write(tmp_path), GROUPS, size=32).held_out(6, 1, seed=0)
    green_x, green_y = ((images[0, :, 1].mean((1, 2)) * 255 / 20).round() for images in (pairs.state, pairs.next_state))
    torch.testing.assert_close(pairs.action[0, :, 0], (green_y - green_x) / 8)
    assert (pairs.action[0, :, 1] == 0).all()  # both views are of one item
    torch.testing.assert_close(pairs.action[0, :, 2], green_y - green_x)


def test_encoder_normalises_with_the_statistics_of_these_images(tmp_path):
    adapter = image_table(write(tmp_path), GROUPS, size=32, encoder=lambda pixels: pixels)
    inputs = torch.cat([adapter.labelled(split).inputs for split in Split])
    torch.testing.assert_close(torch.tensor(adapter.build_encoder().mean), inputs.mean((0, 2, 3)))


def test_fewer_views_are_drawn_with_the_seed(tmp_path):
    def parameters(seed):
        adapter = image_table(write(tmp_path), GROUPS, size=32, views_per_item=2, seed=seed)
        latents = torch.cat([adapter.labelled(split).latent for split in Split])
        return sorted(map(tuple, latents.tolist()))

    assert len(parameters(0)) == 24
    assert parameters(0) == parameters(0)
    assert parameters(0) != parameters(1)


def without(column):
    return lambda rows: [{key: value for key, value in row.items() if key != column} for row in rows]


def set_cell(column, value):
    return lambda rows: [rows[0] | {column: value}, *rows[1:]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("item"), "no column 'item'"),
        (without("red"), "no column 'red'; the table has image, item"),
        (set_cell("angle", "north"), "views.csv:2: angle is 'north'"),
        (set_cell("angle", "nan"), "views.csv:2: angle is 'nan'"),
        (set_cell("category", "odd"), "'thing 0' has several categories, even, odd"),
        (lambda rows: rows[1:], "1 of 12 items have fewer than 4 views, such as 'thing 0' with 3"),
        (lambda rows: [], "has no rows"),
    ],
)
def test_a_wrong_table_is_named(tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        image_table(write(tmp_path, change=change), GROUPS)


def test_a_missing_or_broken_image_is_named(tmp_path):
    table = write(tmp_path)
    (tmp_path / "3_1.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"3_1\.png cannot be read"):
        image_table(table, GROUPS)
    (tmp_path / "3_1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"3_1\.png: no such image"):
        image_table(table, GROUPS)
    with pytest.raises(FileNotFoundError, match="give a CSV"):
        image_table(tmp_path / "other.csv", GROUPS)


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ({"columns": ["angle"], "kind": "hue"}, "kind 'hue' is none of real, circular"),
        ({"columns": ["angle", "red"], "kind": "quaternion"}, "a quaternion has 4"),
        ({"columns": []}, "a real has at least 1"),
    ],
)
def test_a_wrong_group_is_named(tmp_path, group, words):
    with pytest.raises(ValueError, match=words):
        image_table(write(tmp_path), {"turn": group})

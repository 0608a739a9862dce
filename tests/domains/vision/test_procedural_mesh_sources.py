"""Anyone's meshes in the published layout: files, packs, arrays."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("embreex", reason="embreex is not installed: pip install contextssl[render]")
from domains.vision.procedural import scene  # noqa: E402
from domains.vision.procedural.categories import make_object  # noqa: E402
from domains.vision.procedural.generate import info, prepare_meshes, render_meshes  # noqa: E402
from domains.vision.procedural.mesh import from_arrays  # noqa: E402
from domains.vision.procedural.mesh_sources import from_folder, from_pack, read_mesh  # noqa: E402
from domains.vision.procedural.plan import Views  # noqa: E402
from domains.vision.procedural.renderer import ObjectRenderer  # noqa: E402
from domains.vision.procedural.solids import box  # noqa: E402

VIEWS = Views(views=2, size=16, samples=1, quality=100, seed=5)
CUBE = box(1, 2, 3)
RED = np.tile(np.array([255, 0, 0], np.uint8), (len(CUBE.faces), 1))


def write_meshes(root: Path) -> None:
    import trimesh

    (root / "boxes").mkdir(parents=True)
    mesh = trimesh.Trimesh(CUBE.vertices, CUBE.faces, face_colors=RED, process=False)
    for suffix in ("glb", "ply", "obj"):
        mesh.export(root / "boxes" / f"cube {suffix}.{suffix}")


def test_meshes_from_files_are_shown_like_the_same_arrays(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    write_meshes(tmp_path / "files")
    render_meshes(tmp_path / "set", tmp_path / "files", up="z", views=VIEWS, processes=1)
    expected = from_arrays(CUBE.vertices, CUBE.faces, RED, name="cube")
    assert sorted(path.name for path in (tmp_path / "set" / "boxes").iterdir()) == ["cube_glb", "cube_obj", "cube_ply"]
    for name in ("cube_glb", "cube_ply", "cube_obj"):
        with Image.open(tmp_path / "set" / "boxes" / name / "image_0.jpg") as image:
            latents = np.load(tmp_path / "set" / "boxes" / name / "latent_0.npy")
            picture = ObjectRenderer(expected, 16, samples=1).render(latents)
            assert np.abs(np.asarray(image).astype(int) - picture).mean() < 1.5
    assert len(np.load(tmp_path / "set" / "val_images.npy")) == 1


def test_parts_of_a_scene_are_placed_and_coloured(tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    assembly = trimesh.Scene()
    # In glTF colours are linear: 55 of 255 is middle grey.
    for color, shift in (([255, 0, 0], 0.0), ([55, 0, 255], 9.0)):
        part = trimesh.Trimesh(CUBE.vertices, CUBE.faces, face_colors=np.tile(color, (12, 1)), process=False)
        assembly.add_geometry(part, transform=trimesh.transformations.translation_matrix([shift, 0, 0]))
    assembly.export(tmp_path / "two.glb")
    mesh = read_mesh(tmp_path / "two.glb", up="z")
    right = mesh.vertices[mesh.faces][:, :, 0].mean(axis=1) > 0
    assert right.sum() == 12
    assert (
        (mesh.colors[right, 2] > 0.99).all()
        and (mesh.colors[~right, 0] > 0.99).all()
        and np.allclose(mesh.colors[right, 0], 0.5, atol=0.01)
    )


def test_bad_files_are_named_and_the_others_rendered(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    write_meshes(tmp_path / "files")
    (tmp_path / "files" / "boxes" / "torn.glb").write_bytes(b"glTF")
    (tmp_path / "files" / "boxes" / "hollow.obj").write_text("v 0 0 0\n")
    (tmp_path / "files" / "boxes" / "line.obj").write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")
    with pytest.raises(ValueError, match="3 of the meshes cannot be rendered") as caught:
        render_meshes(tmp_path / "set", tmp_path / "files", views=VIEWS, processes=1)
    assert all(name in str(caught.value) for name in ("torn.glb", "hollow.obj", "line.obj"))
    assert len(list((tmp_path / "set" / "boxes").iterdir())) == 3
    assert not json.loads((tmp_path / "set" / "manifest.json").read_text())["complete"]


def test_an_open_mesh_is_rendered_and_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    meshes = {"boxes": {"open": from_arrays(CUBE.vertices, CUBE.faces[2:], name="open"), "closed": make_object("mug", 0, 0)}}
    with caplog.at_level("WARNING", logger="contextssl"):
        render_meshes(tmp_path / "set", meshes, views=VIEWS, processes=1)
    assert "1 meshes are not closed" in caplog.text and "boxes/open" in caplog.text
    with pytest.raises(ValueError, match="cannot name a folder"):
        render_meshes(tmp_path / "other", {"a/b": {"x": meshes["boxes"]["closed"]}}, views=VIEWS, processes=1)


def write_pack(path: Path) -> None:
    both = np.concatenate([CUBE.vertices, CUBE.vertices * [1, 1, 3]]).astype(np.float32)
    np.savez(
        path, vertices=both, faces=np.concatenate([CUBE.faces, CUBE.faces[:, ::-1]]).astype(np.uint16),
        face_colors=np.concatenate([RED, 255 - RED]), vertex_offsets=[0, 8, 16], face_offsets=[0, 12, 24],
        labels=np.array([1, 0], np.int16), categories=np.array(["long", "short"]), names=np.array(["kit/one", "two"]),
    )  # fmt: skip


def test_a_pack_gives_each_object_its_own_arrays(tmp_path: Path) -> None:
    write_pack(tmp_path / "pack.npz")
    catalogue = from_pack(tmp_path / "pack.npz", up="z")
    assert catalogue.objects == {"long": ["two"], "short": ["kit_one"]}
    one, two = catalogue.load("short", "kit_one"), catalogue.load("long", "two")
    np.testing.assert_allclose(np.ptp(one.vertices, axis=0) * np.sqrt(14), [1, 2, 3], rtol=1e-5)
    np.testing.assert_allclose(np.ptp(two.vertices, axis=0) * np.sqrt(86), [1, 2, 9], rtol=1e-5)
    assert (one.colors == [1, 0, 0]).all() and (two.colors == [0, 1, 1]).all()
    words = {"views": 2, "size": 16, "processes": 1}
    assert "4 pictures of 16 pixels, from pack.npz, y up" in prepare_meshes(tmp_path / "set", tmp_path / "pack.npz", **words)[0]
    assert "2 categories: long, short" in info(tmp_path / "set")[-1]


def test_what_is_no_source_of_meshes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        from_pack(tmp_path / "nothing.npz")
    np.savez(tmp_path / "other.npz", vertices=np.zeros(3))
    (tmp_path / "text.npz").write_text("no")
    for name in ("other.npz", "text.npz"):
        with pytest.raises(ValueError, match="is not a pack of meshes"):
            from_pack(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="holds no meshes"):
        from_folder(tmp_path)
    monkeypatch.delenv("CONTEXTSSL_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="give meshes="):
        prepare_meshes(tmp_path / "set")


@pytest.mark.data
def test_every_mesh_of_the_cc0_pack_can_be_shown() -> None:
    catalogue = from_pack(Path(os.environ["CONTEXTSSL_DATA"]) / "meshes" / "meshes.npz")
    assert len(catalogue.objects) == 39 and sum(map(len, catalogue.objects.values())) == 741
    latents = np.array([0, 0, 0.5, 0.6, 0.3, 1.2, 0.1])
    for category, names in catalogue.objects.items():
        meshes = [catalogue.load(category, name) for name in names]
        layers = ObjectRenderer(meshes[0], 24, samples=1).render_layers(latents)
        assert layers[..., 0].min() < 0.5 and layers.shape[-1] == scene.LAYERS, category

"""The procedural 3DIEBench and sets of anyone's meshes: made, checked and described (verbs of `contextssl data`)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from contextssl.files import sha256
from domains.vision.procedural import scene
from domains.vision.procedural.contact_sheet import write_contact_sheet
from domains.vision.procedural.folder import read_manifest, write_folder
from domains.vision.procedural.mesh import Mesh
from domains.vision.procedural.mesh_sources import Catalogue, from_folder, from_memory, from_pack, parametric
from domains.vision.procedural.plan import Views, plan_objects

CONTACT_SHEET = "contact_sheet.jpg"


def generate(
    root: Path,
    *,
    objects: int = 40,
    categories: int = 16,
    unseen_categories: int = 0,
    views: Views | None = None,
    processes: int | None = None,
) -> Path:
    """Render parametric objects in the published layout and return the folder; goes on where an interrupted call stopped.

    Args:
        root: the set's folder.
        objects: per category.
        categories: how many, at most `len(CATEGORIES)`.
        unseen_categories: so many of them, the last ones, are listed apart from training and validation.
        views: how objects are shown, and the seed.
        processes: how many render at the same time; all cores when None.

    Raises what `write_folder` and `Views` raise.
    """
    shown = views or Views()
    return _render(root, parametric(categories, objects, shown.seed), shown, unseen_categories, processes)


def render_meshes(
    root: Path,
    meshes: Path | Mapping[str, Mapping[str, Mesh]],
    *,
    up: str = "y",
    unseen_categories: int = 0,
    views: Views | None = None,
    processes: int | None = None,
) -> Path:
    """Render anyone's meshes in the published layout and return the folder.

    Args:
        root: the set's folder.
        meshes: an npz pack, a folder of CATEGORY/OBJECT.glb (or other formats), or meshes by category and name.
        up: which way is up in the files, y or z.
        unseen_categories: as for `generate`.
        views: as for `generate`.
        processes: as for `generate`.

    Raises what `write_folder`, `Views` and the readers in `mesh_sources` raise.
    """
    if not isinstance(meshes, Path):
        catalogue = from_memory(meshes)
    else:
        catalogue = from_folder(meshes, up) if meshes.is_dir() else from_pack(meshes, up)
    return _render(root, catalogue, views or Views(), unseen_categories, processes)


def _render(root: Path, catalogue: Catalogue, views: Views, unseen_categories: int, processes: int | None) -> Path:
    if processes is not None and processes < 1:
        raise ValueError(f"processes={processes}: give at least 1, or nothing for all cores")
    planned = plan_objects(catalogue.objects, views.seed, unseen_categories, views.unseen_rotation is not None)
    write_folder(root, planned, catalogue, views, processes)
    write_contact_sheet(root, root / CONTACT_SHEET)
    return root


def locate(name: str) -> Path:
    """Where a set is unless a root is given: $CONTEXTSSL_CACHE/name, by default ~/.cache/contextssl/name."""
    return Path(os.environ.get("CONTEXTSSL_CACHE") or Path.home() / ".cache" / "contextssl") / name


def prepare(
    root: Path | None = None,
    objects: int = 40,
    categories: int = 16,
    unseen_categories: int = 0,
    processes: int | None = None,
    **views: Any,
) -> list[str]:
    """Make the procedural set in `root` (where `locate` says, when None) and describe it; `views` as in `Views`."""
    target = root or locate("iebench-procedural")
    return info(
        generate(
            target,
            objects=objects,
            categories=categories,
            unseen_categories=unseen_categories,
            views=Views(**views),
            processes=processes,
        )
    )


def prepare_meshes(
    root: Path | None = None,
    meshes: str | Path | None = None,
    up: str = "y",
    unseen_categories: int = 0,
    processes: int | None = None,
    **views: Any,
) -> list[str]:
    """Render `meshes` (by default $CONTEXTSSL_DATA/meshes/meshes.npz) into `root` and describe the set."""
    packs = os.environ.get("CONTEXTSSL_DATA")
    if meshes is None and not packs:
        raise FileNotFoundError("no meshes: give meshes=<npz pack, or folder of CATEGORY/OBJECT.glb>, or set CONTEXTSSL_DATA")
    source = Path(packs or "") / "meshes" / "meshes.npz" if meshes is None else Path(meshes)
    target = root or locate("iebench-meshes")
    return info(
        render_meshes(target, source, up=up, unseen_categories=unseen_categories, views=Views(**views), processes=processes)
    )


def info(root: Path | None = None) -> list[str]:
    """What a set holds: source, picture size, splits, categories, seed."""
    target = root or locate("iebench-procedural")
    manifest = read_manifest(target)
    made = manifest["made"]
    views, splits = made["views"], Counter(one["split"] for one in made["objects"])
    categories = list(dict.fromkeys(one["category"] for one in made["objects"]))
    state = "complete" if manifest["complete"] else "unfinished: run the same prepare command again to go on"
    total = len(made["objects"]) * views["views"]
    return [
        f"{target}: {total:,} pictures of {views['size']} pixels, from {made['source']} ({state})",
        "objects: " + ", ".join(f"{split} {count:,}" for split, count in splits.items()) + f"; {views['views']} views each",
        f"rotation {_shares(views['rotation'])}, lamp {'moving' if views['vary_light'] else 'still'}, seed {views['seed']}",
        f"{len(categories)} categories: {', '.join(categories)}",
    ]


def verify(root: Path | None = None) -> list[str]:
    """One line for a set that is whole: every picture decodes, every latent is in range, every list is as it was written.

    Raises:
        FileNotFoundError: when there is no set.
        ValueError: naming what is damaged or missing.
    """
    target = root or locate("iebench-procedural")
    manifest = read_manifest(target)
    if not manifest["complete"]:
        raise ValueError(f"{target} is unfinished; run the same prepare command again to go on")
    damaged = [name for name, digest in manifest["sha256"].items() if _digest(target / name) != digest]
    views = manifest["made"]["views"]
    for one in manifest["made"]["objects"]:
        folder = target / one["category"] / one["name"]
        damaged += [f"{folder.parent.name}/{folder.name}"] * (not _is_sound(folder, views["views"], views["size"]))
    if damaged:
        more = f" and {len(damaged) - 10} more" if len(damaged) > 10 else ""
        raise ValueError(
            f"{target} is damaged: {', '.join(damaged[:10])}{more}; delete these and run the same prepare command again"
        )
    return [f"{target}: all {len(manifest['made']['objects']) * views['views']:,} pictures and latents are whole"]


def _is_sound(folder: Path, num_views: int, size: int) -> bool:
    try:
        for number in range(num_views):
            with Image.open(folder / f"image_{number}.jpg") as image:
                image.load()
                if image.size != (size, size):
                    return False
            latents = np.load(folder / f"latent_{number}.npy", allow_pickle=False)
            if latents.shape != (7,) or not ((latents >= scene.SMALLEST) & (latents <= scene.LARGEST)).all():
                return False
    except (OSError, ValueError, SyntaxError):
        return False
    return True


def _digest(path: Path) -> str:
    return sha256(path) if path.is_file() else ""


def _shares(shares: Sequence[float]) -> str:
    return ", ".join(f"{axis} +-{90 * share:g}" for axis, share in zip("xyz", shares, strict=True)) + " degrees"

"""Writes a rendered set in the layout of 3DIEBench: CATEGORY/OBJECT/image_{i}.jpg beside latent_{i}.npy, lists, a manifest.

An object's folder appears at once, when all of its views are in it; the manifest says `complete` when all objects are there.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import multiprocessing
import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.progress import track

from contextssl.files import sha256, write_bytes, write_text
from contextssl.progress import CONSOLE
from domains.vision.procedural import scene
from domains.vision.procedural.mesh import Mesh
from domains.vision.procedural.mesh_sources import Catalogue
from domains.vision.procedural.plan import SPLITS, PlannedObject, Views
from domains.vision.procedural.renderer import ObjectRenderer, embree

LOG = logging.getLogger("contextssl")
MANIFEST, FORMAT = "manifest.json", "rendered views 1"
UNFINISHED = ".unfinished"

Task = tuple[PlannedObject, Mesh]


def write_folder(root: Path, planned: Sequence[PlannedObject], catalogue: Catalogue, views: Views, processes: int | None) -> None:
    """Render what is planned and not there yet.

    Args:
        root: the set's folder, made if need be.
        planned: the objects.
        catalogue: where their meshes are.
        views: how they are shown.
        processes: how many render at the same time; all cores when None.

    Raises:
        ValueError: when the folder holds something else, or for meshes that cannot be shown, naming them; the rest is rendered.
        OSError: when the disk is full; the same call goes on from there.
        MissingPackageError: when Embree is not installed.
    """
    embree()
    made = json.loads(
        json.dumps({"source": catalogue.source, "views": asdict(views), "objects": [asdict(one) for one in planned]})
    )
    claim(root, made)
    bad: list[str] = []
    not_closed: list[str] = []
    tasks = _tasks(root, planned, catalogue, views, bad, not_closed)
    work = _in_turn(root, tasks, views) if processes == 1 else _in_parallel(root, tasks, views, processes)
    for _ in track(work, "rendering", total=len(planned), console=CONSOLE, disable=not CONSOLE.is_terminal, transient=True):
        pass
    if bad:
        more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise ValueError(f"{len(bad)} of the meshes cannot be rendered: {'; '.join(bad[:5])}{more}")
    if not_closed:
        LOG.warning(
            "%d meshes are not closed and are seen from both sides, such as %s", len(not_closed), ", ".join(not_closed[:5])
        )
    finish(root, planned, made)


def claim(root: Path, made: dict[str, Any]) -> None:
    """Mark the folder as being filled with this set; ValueError when it holds another one or anything else."""
    if (root / MANIFEST).is_file():
        if read_manifest(root)["made"] != made:
            raise ValueError(f"{root} holds a set made with other settings (see its {MANIFEST}); give another root, or delete it")
    elif root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ValueError(f"{root} is not empty and holds no rendered set; give an empty or new folder as root")
    write_text(root / MANIFEST, _manifest_text(made, complete=False))


def read_manifest(root: Path) -> dict[str, Any]:
    """The manifest of a folder; FileNotFoundError or ValueError when there is none that can be read."""
    if not (root / MANIFEST).is_file():
        raise FileNotFoundError(f"{root} holds no rendered set (no {MANIFEST}); make one with contextssl data prepare")
    try:
        manifest: dict[str, Any] = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']!r} instead of {FORMAT!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{root / MANIFEST} cannot be read ({error}); delete the folder and render it again") from error
    return manifest


def finish(root: Path, planned: Sequence[PlannedObject], made: dict[str, Any]) -> None:
    """Write the split lists, then the manifest that says the set is complete."""
    categories = sorted({one.category for one in planned})
    lists = {}
    for split in SPLITS:
        members = [one for one in planned if one.split == split]
        if members:
            lists[f"{split}_images.npy"] = np.array([f"/{one.path}/" for one in members])
            lists[f"{split}_labels.npy"] = np.array([categories.index(one.category) for one in members], dtype=np.int64)
    for name, array in lists.items():
        content = io.BytesIO()
        np.save(content, array)
        write_bytes(root / name, content.getvalue())
    write_text(root / MANIFEST, _manifest_text(made, complete=True, sha256={name: sha256(root / name) for name in lists}))


def is_complete(folder: Path, num_views: int) -> bool:
    """Whether an object's folder holds every picture and latent, none of them empty."""
    names = [name for view in range(num_views) for name in (f"image_{view}.jpg", f"latent_{view}.npy")]
    try:
        return all((folder / name).stat().st_size > 0 for name in names)
    except OSError:
        return False


def render_object(root: Path, planned: PlannedObject, mesh: Mesh, views: Views) -> None:
    """Render an object into its folder, which appears only when it is whole."""
    folder = root / planned.path
    unfinished = folder.with_name(f".{folder.name}{UNFINISHED}")
    try:
        for leftover in (unfinished, folder):
            if leftover.exists():
                shutil.rmtree(leftover)
        unfinished.mkdir(parents=True)
        renderer = ObjectRenderer(mesh, views.size, views.samples)
        for number, latents in enumerate(views.latents(planned)):
            image = Image.fromarray(renderer.render(latents))
            image.save(unfinished / f"image_{number}.jpg", quality=views.quality, subsampling=0)
            np.save(unfinished / f"latent_{number}.npy", latents)
        unfinished.replace(folder)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        what = "free some space" if error.errno == errno.ENOSPC else "make it writable"
        raise OSError(
            f"cannot write {folder} ({error.strerror or error}); {what} and run the same command again, which goes on from here"
        ) from error


def _tasks(
    root: Path, planned: Sequence[PlannedObject], catalogue: Catalogue, views: Views, bad: list[str], not_closed: list[str]
) -> Iterator[Task | None]:
    """What is left to render, with its mesh; None for what is there. Meshes with problems are noted in the two lists."""
    for one in planned:
        if is_complete(root / one.path, views.views):
            yield None
            continue
        try:
            mesh = catalogue.load(one.category, one.mesh)
        except ValueError as error:
            bad.append(str(error))
            yield None
            continue
        if mesh.num_open_edges():
            not_closed.append(one.path)
        yield one, mesh


def _in_turn(root: Path, tasks: Iterable[Task | None], views: Views) -> Iterator[None]:
    for task in tasks:
        if task is not None:
            render_object(root, *task, views)
        yield


def _in_parallel(root: Path, tasks: Iterable[Task | None], views: Views, processes: int | None) -> Iterator[None]:
    """As `_in_turn`; a bounded number of meshes is on its way to the other processes."""
    workers = processes or os.cpu_count() or 1
    running: set[Future[None]] = set()
    # Not fork: this process may have threads of torch, whose locks a copy would inherit.
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        for task in tasks:
            if task is None:
                yield
                continue
            running.add(pool.submit(render_object, root, *task, views))
            if len(running) >= 3 * workers:
                running, count = _collect(running)
                yield from [None] * count
        while running:
            running, count = _collect(running)
            yield from [None] * count
    finally:
        pool.shutdown(cancel_futures=True)


def _collect(running: set[Future[None]]) -> tuple[set[Future[None]], int]:
    """Wait until something is done; returns the rest and how many are done. An error in one of them is raised."""
    done, rest = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
    return rest, len(done)


def _manifest_text(made: dict[str, Any], **state: Any) -> str:
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("numpy", "embreex", "pillow", "trimesh"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    ranges = {name: [low, high] for name, low, high in zip(scene.LATENTS, scene.SMALLEST, scene.LARGEST, strict=True)}
    return json.dumps({"format": FORMAT, **state, "versions": versions, "latents": ranges, "made": made}, indent=1) + "\n"

"""Packing that stops and goes on: interruptions, half-written rows, other settings, several processes, full disks."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_packs import COUNTS, contents, pack_small

from domains.vision import packing
from domains.vision.image_folder import ObjectReader, pack_folder
from domains.vision.packing import PackItem
from domains.vision.view_store import ViewStore


class StoppingReader:
    """Reads a few objects and then stops, as an interruption does."""

    def __init__(self, most: int) -> None:
        self.most, self.names = most, list[str]()

    def __call__(self, reader: ObjectReader, item: PackItem) -> object:
        if len(self.names) == self.most:
            raise KeyboardInterrupt
        self.names.append(item.name)
        return READ(reader, item)


READ = ObjectReader.__call__


def read_by(monkeypatch: pytest.MonkeyPatch, most: int) -> StoppingReader:
    stopping = StoppingReader(most)
    monkeypatch.setattr(ObjectReader, "__call__", lambda self, item: stopping(self, item))
    return stopping


@pytest.mark.parametrize("most", [0, 1, 6, 12])
def test_an_interrupted_pack_goes_on_and_equals_an_uninterrupted_one(
    original: Path, store: ViewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    out = tmp_path / "pack"
    first = read_by(monkeypatch, most)
    with pytest.raises(KeyboardInterrupt):
        pack_small(original, out)
    with pytest.raises(FileNotFoundError, match="was interrupted; run the same prepare command again"):
        ViewStore.open(out)
    second = read_by(monkeypatch, 10**6)
    pack_small(original, out)
    assert not set(first.names) & set(second.names) and len(first.names + second.names) == len(COUNTS)
    assert contents(out) == contents(store.path)


def test_a_line_cut_off_in_the_journal_and_half_written_rows_are_made_again(
    original: Path, store: ViewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "pack"
    read_by(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        pack_small(original, out)
    journal = out / "unfinished.jsonl"
    journal.write_text(journal.read_text()[:-20])
    with (out / "views.npy").open("r+b") as file:
        file.seek(-300, 2)
        file.write(b"x" * 300)
    again = read_by(monkeypatch, 10**6)
    pack_small(original, out)
    assert len(again.names) == len(COUNTS) - 4
    assert contents(out) == contents(store.path)


def test_packing_again_reads_nothing(original: Path, store: ViewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = read_by(monkeypatch, 0)
    assert len(pack_small(original, store.path)) == len(COUNTS) and not reader.names


def test_other_settings_do_not_mix(original: Path, store: ViewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileExistsError, match="another pack"):
        pack_folder(original, store.path, size=8)
    read_by(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        pack_small(original, tmp_path / "pack")
    with pytest.raises(FileExistsError, match="unfinished pack of other images or settings"):
        pack_folder(original, tmp_path / "pack", size=8)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("keep me")
    with pytest.raises(FileExistsError, match="not a pack"):
        pack_small(original, tmp_path / "letters")
    assert contents(tmp_path / "letters") == {"a.txt": b"keep me"}


@pytest.mark.slow
def test_several_processes_write_the_same_store(original: Path, store: ViewStore, tmp_path: Path) -> None:
    pack_small(original, tmp_path / "pack", processes=2)
    assert contents(tmp_path / "pack") == contents(store.path)


def test_a_disk_too_small_is_noticed_before_anything_is_read(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    reader = read_by(monkeypatch, 0)
    with pytest.raises(OSError, match=r"the views need 0.00 GB and 0.00 GB are free; free some space") as error:
        pack_small(original, tmp_path / "pack")
    assert error.value.errno == errno.ENOSPC and not reader.names and not list((tmp_path / "pack").glob("*"))


def test_a_disk_that_fills_up_keeps_what_is_packed(
    original: Path, store: ViewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, count = packing._write_item, iter(range(100))

    def full(*arguments: object) -> object:
        if next(count) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(packing, "_write_item", full)
    with pytest.raises(OSError, match="the disk is full after 4 of 13 items; free some space and run the same command again"):
        pack_small(original, tmp_path / "pack")
    monkeypatch.setattr(packing, "_write_item", write)
    again = read_by(monkeypatch, 100)
    pack_small(original, tmp_path / "pack")
    assert len(again.names) == 9 and contents(tmp_path / "pack") == contents(store.path)

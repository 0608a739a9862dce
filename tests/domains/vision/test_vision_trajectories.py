"""Trajectories of 3DIEBench objects and of CIFAR-10 images: one item a sequence, every item once an epoch."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import tiny_cifar
import torch
from published_folder import write_folder
from scipy.spatial.transform import Rotation
from tiny_cifar import ShiftAndDim

from contextssl.adapter import Split
from contextssl.batch import Transitions
from contextssl.testing import check_adapter
from domains.vision.cifar10 import Cifar10
from domains.vision.cifar_files import CIFAR10
from domains.vision.cifar_store import Prepared
from domains.vision.encoders import SmallConvNet
from domains.vision.image_folder import pack_folder
from domains.vision.three_d_ie_bench import ThreeDIEBench

small = partial(SmallConvNet, widths=(4,), out_dim=8)
WHOLE = tiny_cifar.whole_set()


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    write_folder(folder := tmp_path_factory.mktemp("published"))
    return pack_folder(folder, tmp_path_factory.mktemp("packs") / "iebench", size=12).path


@pytest.fixture(scope="module")
def objects(packed: Path) -> ThreeDIEBench:
    return ThreeDIEBench(packed, encoder=small, trajectories=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Cifar10:
    root = Prepared.write(tmp_path_factory.mktemp("prepared"), CIFAR10, WHOLE, Path("written by a test")).path
    return Cifar10(ShiftAndDim(), root, encoder=small, augment_on="cpu", trajectories=True)


def shown(sequence: Transitions) -> torch.Tensor:
    return torch.cat([sequence.state[0, :1], sequence.next_state[0]])


def rows_of(adapter: ThreeDIEBench, sequence: Transitions) -> list[int]:
    """Rows of the store that the sequence shows, found by their pixels."""
    stored = adapter.store.views(torch.arange(int(adapter.store.num_views.sum()))).float() / 255
    return [int((stored == view).flatten(1).all(1).nonzero().item()) for view in shown(sequence)]


def object_of(adapter: ThreeDIEBench, row: int) -> int:
    return int(torch.searchsorted(adapter.store.first_row, row, right=True)) - 1


def test_both_conform(objects: ThreeDIEBench, images: Cifar10) -> None:
    check_adapter(objects, length=3)
    check_adapter(images, length=3)


@pytest.mark.parametrize("split", Split)
def test_views_of_one_object_follow_each_other_without_repetition(objects: ThreeDIEBench, split: Split) -> None:
    for seed in range(5):
        sequence = objects.held_out(4, 1, seed, split)
        rows = rows_of(objects, sequence)
        (item,) = {object_of(objects, row) for row in rows}
        assert item in objects.objects[split].tolist()
        fresh = min(5, int(objects.store.num_views[item]))
        assert len(set(rows[:fresh])) == fresh


def test_relative_rotations_lead_from_each_view_to_the_next(objects: ThreeDIEBench) -> None:
    sequence = objects.train_sequences(4, 0)[0]
    rows = rows_of(objects, sequence)
    angles = objects.store.latents[rows][:, :3].double().numpy()
    rotations = Rotation.from_euler("xyz", angles)
    for step, told in enumerate(sequence.action[0, :, :4].double().numpy()):
        assert (rotations[step] * Rotation.from_quat(told) * rotations[step + 1].inv()).magnitude() < 1e-5
    hues = objects.store.latents[rows][:, [3, 6]]
    torch.testing.assert_close(sequence.action[0, :, 4:], hues[1:] - hues[:-1])


def test_an_epoch_shows_every_object_in_one_sequence(objects: ThreeDIEBench) -> None:
    sequences = objects.train_sequences(2, 5)
    assert len(sequences) == len(objects.objects[Split.TRAIN])
    for epoch in range(2):
        indices = range(epoch * len(sequences), (epoch + 1) * len(sequences))
        seen = [object_of(objects, rows_of(objects, sequences[index])[0]) for index in indices]
        assert sorted(seen) == objects.objects[Split.TRAIN].tolist()


def test_sequences_longer_than_an_object_has_views_go_on(objects: ThreeDIEBench) -> None:
    sequence = objects.train_sequences(70, 0)[0]
    assert sequence.length == 70 and torch.equal(sequence.state[:, 1:], sequence.next_state[:, :-1])
    assert not (sequence.state == sequence.next_state).flatten(2).all(2).any()


def test_views_of_one_image_are_made_with_the_latents_that_are_told(images: Cifar10) -> None:
    sequences = images.train_sequences(3, 0)
    chosen = images.images[Split.TRAIN]
    assert len(sequences) == len(chosen)
    order = [int(chosen[sequences.places(index)]) for index in range(len(sequences))]
    assert sorted(order) == sorted(chosen.tolist())
    for index in range(6):
        sequence = sequences[index]
        latent = torch.cat([sequence.latent[0, :1, 0], sequence.latent[0, :, 1]])
        image = torch.from_numpy(WHOLE.images[order[index]]).float() / 255
        expected = torch.stack([image.roll(int(t[0]), -1) * t[1] for t in latent])
        torch.testing.assert_close(shown(sequence), expected)
        torch.testing.assert_close(sequence.action[0], latent[1:] - latent[:-1])
        assert len(latent[:, 1].unique()) == 4

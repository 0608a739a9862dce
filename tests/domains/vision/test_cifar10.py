"""CIFAR-10 as a domain: pairs are two views of one image, actions their difference, splits fixed, classes un-augmented."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tiny_cifar
import torch
from tiny_cifar import ShiftAndDim

from contextssl.adapter import Split
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.evaluation.probe import LinearProbe, NearestNeighbours
from contextssl.evaluation.protocols import ReadoutProtocol
from contextssl.evaluation.relative import RelativeProtocol
from contextssl.method import Method
from contextssl.testing import ToyAdapter, check_adapter
from domains.vision.cifar10 import Cifar10, balanced_order, fixed_splits
from domains.vision.cifar_files import CIFAR10
from domains.vision.cifar_store import Prepared
from domains.vision.encoders import ResNetEncoder, SmallConvNet
from domains.vision.untransformed import UNTRANSFORMED, UntransformedProtocol, untransformed_bank

WHOLE = tiny_cifar.whole_set()
cifar = partial(Cifar10, ShiftAndDim(), encoder=partial(SmallConvNet, widths=(4,), out_dim=8), augment_on="cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Prepared.write(tmp_path_factory.mktemp("prepared"), CIFAR10, WHOLE, Path("written by a test")).path


@pytest.fixture(scope="module")
def adapter(root: Path) -> Cifar10:
    return cifar(root)


def view(image: int, parameters: torch.Tensor) -> np.ndarray:
    """A view as one makes it by hand: moved by whole pixels along the rows, then dimmed."""
    moved = np.roll(WHOLE.images[image].astype(np.float32) / 255, int(parameters[0]), axis=-1)
    return moved * float(parameters[1])


def source_of(state: torch.Tensor, parameters: torch.Tensor) -> int:
    """Which image a view was made of; the only one that gives it with these parameters."""
    errors = [np.abs(view(image, parameters) - state.numpy()).max() for image in range(len(WHOLE.images))]
    (found,) = np.flatnonzero(np.array(errors) < 1e-6)
    return int(found)


def test_pairs_are_two_views_of_one_training_image_and_the_action_is_the_difference(adapter: Cifar10) -> None:
    batch = adapter.train_sequences(12, seed=3)[0]
    training = set(adapter.images[Split.TRAIN].tolist())
    found = []
    for t in range(12):
        t_x, t_y = batch.latent[0, t]
        assert source_of(batch.state[0, t], t_x) == source_of(batch.next_state[0, t], t_y)
        found.append(source_of(batch.state[0, t], t_x))
        assert torch.equal(batch.action[0, t], t_y - t_x) and not torch.equal(t_x, t_y)
    assert len(set(found)) == 12 and set(found) <= training
    assert len({tuple(row.tolist()) for row in batch.latent[0].flatten(0, 1)}) == 24  # each view has its own parameters


@pytest.mark.parametrize("split", list(Split))
def test_held_out_pairs_are_of_the_split_that_was_asked_for(adapter: Cifar10, split: Split) -> None:
    batch = adapter.held_out(4, 3, seed=1, split=split)
    found = {source_of(batch.state[b, t], batch.latent[b, t, 0]) for b in range(3) for t in range(4)}
    assert found <= set(adapter.images[split].tolist()) and len(found) > 3


def test_splits_are_disjoint_balanced_and_the_same_for_all_seeds(adapter: Cifar10, root: Path) -> None:
    images = adapter.images
    assert {split: len(found) for split, found in images.items()} == {"train": 90, "validation": 10, "test": 30}
    assert sorted(torch.cat(list(images.values())).tolist()) == list(range(130))
    assert images[Split.TEST].min() == 100
    for found in images.values():
        assert set(np.bincount(WHOLE.labels[found.numpy()], minlength=10)) == {len(found) // 10}
    assert all(torch.equal(found, cifar(root, seed=5).images[split]) for split, found in images.items())


def test_subsets_are_balanced_and_nested(root: Path) -> None:
    sizes = [10, 35, 60, 100]
    adapters = [cifar(root, num_images=size) for size in sizes]
    for smaller, larger in zip(adapters, adapters[1:], strict=False):
        for split in Split:
            assert set(smaller.images[split].tolist()) <= set(larger.images[split].tolist())
    for size, adapter in zip(sizes, adapters, strict=True):
        train, validation = adapter.images[Split.TRAIN], adapter.images[Split.VALIDATION]
        assert (len(train), len(validation)) == (size - size // 10, size // 10)
        assert np.ptp(np.bincount(WHOLE.labels[train.numpy()], minlength=10)) <= 1
    with pytest.raises(ValueError, match="num_images must be between 10 and 100, the training images that there are, found 101"):
        cifar(root, num_images=101)


def test_the_order_of_classes_is_balanced_for_uneven_ones_too() -> None:
    labels = torch.tensor([0] * 9 + [1] * 3 + [2] * 1)
    order = balanced_order(labels, 0)
    assert sorted(order.tolist()) == list(range(13))
    assert sorted(labels[order[:3]].tolist()) == [0, 1, 2] and sorted(labels[order[:7]].tolist()) == [0, 0, 0, 1, 1, 1, 2]
    assert not torch.equal(balanced_order(labels, 1), order)


def test_labelled_rows_are_views_with_their_parameters_and_class(root: Path) -> None:
    data = cifar(root, views_per_image=3, num_labelled=20).labelled(Split.TRAIN)
    assert data.inputs.shape == (60, 3, 32, 32) and data.inputs.dtype is torch.uint8
    for row in range(0, 60, 7):
        image = int(data.item[row])
        np.testing.assert_allclose(data.inputs[row].numpy(), 255 * view(image, data.latent[row]), atol=0.5001)
        assert data.target("class").values[row] == WHOLE.labels[image]
    assert torch.equal(data.target("shift").values, data.latent[:, :1]) and data.target("shift").group == "shift"
    assert torch.equal(data.target("dim").values, data.latent[:, 1:]) and data.target("class").group is None
    assert data.item.bincount().unique().tolist() == [0, 3]
    assert set(np.bincount(WHOLE.labels[data.item.unique().numpy()], minlength=10)) == {2}


def test_labelled_views_differ_between_seeds_and_splits_and_come_in_pieces(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = cifar(root).labelled(Split.TEST), cifar(root, seed=1).labelled(Split.TEST)
    assert torch.equal(first.item, other.item) and not torch.equal(first.latent, other.latent)
    assert not torch.equal(first.latent[:40], cifar(root).labelled(Split.VALIDATION).latent)
    monkeypatch.setattr("domains.vision.augmented_images.NUM_AT_ONCE", 7)
    assert torch.equal(cifar(root).labelled(Split.TEST).inputs, first.inputs)


def test_untransformed_images_are_the_files_own(adapter: Cifar10, root: Path) -> None:
    for split in Split:
        data = adapter.untransformed(split)
        assert torch.equal(data.item, adapter.images[split])
        assert np.array_equal(data.inputs.numpy(), WHOLE.images[data.item.numpy()])
        assert data.target("class").values.tolist() == WHOLE.labels[data.item.numpy()].tolist()
    assert len(cifar(root, num_labelled=7).untransformed(Split.TEST)) == 7


def test_scales_are_those_of_the_groups(adapter: Cifar10) -> None:
    _, action, _, latent = adapter.held_out(64, 40, seed=9).pairs()
    actions = adapter.actions
    assert torch.allclose(actions.action_scale, action.square().mean(0).sqrt(), rtol=0.05)
    assert torch.allclose(actions.latent_scale, latent.flatten(0, 1).std(0), rtol=0.05)
    # Nine shifts from -4 to 4: variance 60 / 9; light from .5 to 1: variance 1 / 48; of a difference, twice that.
    assert actions.latent_scale.tolist() == pytest.approx([(60 / 9) ** 0.5, (1 / 48) ** 0.5], rel=0.02)
    assert actions.action_scale.tolist() == pytest.approx([(120 / 9) ** 0.5, (1 / 24) ** 0.5], rel=0.03)


def test_the_adapter_conforms(adapter: Cifar10) -> None:
    check_adapter(adapter)


class Clear(ShiftAndDim):
    """Views that are the images themselves."""

    def apply(self, images: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        return images


def test_no_sequence_shows_an_image_of_another_split(root: Path) -> None:
    """With views that are the images, each split's states can be told apart."""
    adapter = Cifar10(Clear(), root, augment_on="cpu")
    by_bytes = {image.tobytes(): number for number, image in enumerate(WHOLE.images)}
    sequences = adapter.train_sequences(10, seed=0)
    seen = [by_bytes[(s * 255).round().byte().numpy().tobytes()] for index in range(9) for s in sequences[index].state[0]]
    assert sorted(seen) == sorted(adapter.images[Split.TRAIN].tolist()) and len(sequences) == 9


class OneParameter(ShiftAndDim):
    def draw(self, num_rows: int, generator: torch.Generator) -> torch.Tensor:
        return super().draw(num_rows, generator)[:, :1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"views_per_image": 0}, "views_per_image must be at least 1, found 0"),
        ({"num_labelled": 0}, "num_labelled must be at least 1, found 0"),
        ({"num_images": 5}, "num_images must be between 10 and 100"),
        ({"dataset": "mnist"}, "unknown data set 'mnist': there are cifar10, cifar100"),
        ({"augment_on": "nowhere"}, "device 'nowhere' cannot be used here"),
        ({"transform": OneParameter()}, r"the groups \['shift', 'dim'\] need 2 parameters an image, found \[1\]"),
    ],
)
def test_what_cannot_be_is_said(root: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cifar10(**({"transform": ShiftAndDim(), "augment_on": "cpu"} | settings), root=root)  # type: ignore[arg-type]


def test_the_manifest_says_what_the_data_are(adapter: Cifar10, root: Path) -> None:
    manifest = adapter.manifest
    assert manifest["images"] == {"train": 90, "validation": 10, "test": 30} and manifest["sha256"] == WHOLE.sha256
    assert manifest["groups"] == {"shift": "pixels", "dim": "share of the light"} and manifest["source"] == str(root)


def test_the_default_encoder_is_a_resnet_for_small_images(root: Path) -> None:
    encoder = Cifar10(ShiftAndDim(), root, augment_on="cpu").build_encoder()
    assert isinstance(encoder, ResNetEncoder) and encoder.conv1.kernel_size == (3, 3) and encoder.out_dim == 512
    assert encoder.normalise.mean.flatten().tolist() == pytest.approx([0.4914, 0.4822, 0.4465])


class Means(Method):
    """Features that say how bright an image is and which image it is."""

    def __init__(self, adapter: Cifar10) -> None:
        super().__init__()
        self.encoder, self.actions = torch.nn.Linear(1, 1), adapter.actions

    def represent(self, x: torch.Tensor) -> torch.Tensor:
        fractions = x.float() / 255 if x.dtype is torch.uint8 else x
        return torch.cat([fractions.mean((1, 2, 3))[:, None], fractions.mean(-1).flatten(1)], dim=1)

    def loss_terms(self, batch: object, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {}


def test_light_is_read_from_pairs_and_shifts_are_not(root: Path) -> None:
    """The difference in light is linear in mean brightness, and a shift along the rows leaves row means as they are."""
    adapter = cifar(root, views_per_image=6)
    probes = (LinearProbe(standardised=True),)
    rows = list(RelativeProtocol(probes=probes)(EmbeddingBank(Means(adapter), adapter)))
    found = {row.target: row.value for row in rows if row.metric == "r2_dim_mean"}
    assert found["relative_dim"] > 0.95 and found["relative_shift"] < 0.1


def test_classes_are_read_from_images_as_they_are(root: Path) -> None:
    adapter = cifar(root)
    bank = EmbeddingBank(Means(adapter), adapter, training_seed=4, method_name="means")
    plain = untransformed_bank(bank)
    for split in Split:
        images = torch.from_numpy(WHOLE.images[adapter.images[split].numpy()])
        assert torch.allclose(plain.features(split), Means(adapter).represent(images))
    readout = ReadoutProtocol(name=UNTRANSFORMED, probes=(NearestNeighbours(k=1),))
    rows = list(UntransformedProtocol(readout)(bank))
    assert {(row.protocol, row.target, row.seed, row.method) for row in rows} == {
        ("untransformed-probe/1", "untransformed_class", 4, "means")
    }
    assert {row.metric for row in rows} == {"accuracy", "balanced_accuracy"}


def test_contexts_of_both_banks_are_the_same(root: Path) -> None:
    adapter = cifar(root)
    bank = EmbeddingBank(
        Means(adapter), adapter, context_lengths=(0, 4), context_draws=2, seed=3, controls=("noise",), control_lengths=(8,)
    )
    other = untransformed_bank(bank)
    for name in ("context_lengths", "context_draws", "environments", "controls", "control_lengths", "seed", "context_split", "longest",
                 "training_seed", "method_name", "batch_size", "memory", "method"):  # fmt: skip
        assert getattr(other, name) == getattr(bank, name)
    ours, theirs = (one.adapter.held_out(5, 2, seed=1, split=Split.VALIDATION) for one in (bank, other))
    assert torch.equal(ours.state, theirs.state) and torch.equal(ours.action, theirs.action)
    assert torch.equal(other.adapter.train_sequences(3, 0)[1].state, adapter.train_sequences(3, 0)[1].state)


def test_an_adapter_without_untransformed_items_is_refused() -> None:
    toy = ToyAdapter()
    with pytest.raises(ValueError, match="ToyAdapter has no untransformed items"):
        list(UntransformedProtocol()(EmbeddingBank(Means(toy), toy)))  # type: ignore[arg-type]


def test_splits_need_training_images() -> None:
    with pytest.raises(ValueError, match="between 10 and 5"):
        fixed_splits(torch.zeros(8, dtype=torch.long), 5)


@pytest.mark.data
@pytest.mark.skipif(
    not (Path(os.environ.get("CONTEXTSSL_CACHE") or Path.home() / ".cache/contextssl") / "cifar10/manifest.json").is_file(),
    reason="CIFAR-10 is not prepared: contextssl data prepare cifar10",
)
def test_real_splits_are_balanced() -> None:
    adapter = cifar(num_labelled=50)
    assert {split: len(images) for split, images in adapter.images.items()} == {
        "train": 45_000,
        "validation": 5_000,
        "test": 10_000,
    }
    for split in Split:
        assert adapter._labels[adapter.images[split]].bincount().unique().tolist() == [len(adapter.images[split]) // 10]
    check_adapter(adapter)


def test_the_transforms_of_the_domain_configs_fit(root: Path) -> None:
    """The three pairs of groups, from their configs to the contract."""
    from contextssl.commands.configuration import build, compose_config

    small = ["domain.encoder._target_=domains.vision.encoders.SmallConvNet", f"domain.root={root}", "device=cpu"]
    for option, groups in (("cifar10", "crop blur"), ("cifar10_color_blur", "color blur"), ("cifar10_crop_color", "crop color")):
        adapter = build(compose_config([f"domain={option}", *small]).domain)
        assert " ".join(adapter.actions.names) == groups
        assert [target.name for target in adapter.labelled(Split.TEST).targets] == ["class", *groups.split()]
        check_adapter(adapter)

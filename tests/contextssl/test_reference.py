"""Weights and outputs of the authors' released code, reproduced by the classes that train here."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from contextssl.checkpoint import import_reference, import_reference_predictor
from contextssl.models.masks import pair_mask


@pytest.fixture(scope="module")
def reference_folder():
    folder = Path(os.environ.get("CONTEXTSSL_DATA", "missing")).parent / "reference"
    if not (folder / "predictor_golden.npz").exists():
        pytest.skip("the reference arrays are not here: set CONTEXTSSL_DATA to the data folder beside them")
    return folder


@pytest.fixture(scope="module")
def golden(reference_folder):
    arrays = np.load(reference_folder / "predictor_golden.npz", allow_pickle=False)
    return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.fixture(scope="module")
def checkpoint(reference_folder):
    """A state dict with the released keys at a smaller width, so that the test is light."""
    shapes = json.loads((reference_folder / "reference_checkpoint_keys.json").read_text())
    small = {2048: 32, 6144: 96, 8192: 128, 1024: 24}
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand([size if name.startswith("enc.") else small.get(size, size) for size in shape], generator=generator)
        * 0.1
        for name, shape in shapes.items()
    }


@pytest.mark.data
@pytest.mark.parametrize("prefix", ["", "predictor."])
def test_golden_arrays(golden, prefix):
    weights = {prefix + name.removeprefix("weight/"): value for name, value in golden.items() if name.startswith("weight/")}
    model = import_reference_predictor(weights, num_heads=4)
    features, actions = golden["features"], golden["actions"]
    tokens = torch.zeros(32, features.shape[1] + 6)
    tokens[:, :-6] = features
    tokens[0::2, -6:] = actions
    blocks = tokens.unflatten(0, (2, 16))
    masks = [pair_mask(16)] * len(model.blocks)
    with torch.no_grad():
        torch.testing.assert_close(model(blocks, masks).flatten(0, 1), golden["outputs_pair_mask"], atol=1e-5, rtol=0)
        queries = torch.cat([golden["query_features"], golden["query_actions"]], dim=1)
        prefix_cache, _ = model.prefix(blocks[:1], pair_mask(16))
        for length in (0, 2, 6, 14):
            expected = golden[f"query_outputs_context_{length}"]
            cached = model.query(queries[None], [(k[:, :, :length], v[:, :, :length]) for k, v in prefix_cache])[0]
            torch.testing.assert_close(cached, expected, atol=1e-5, rtol=0)
            context = blocks[0, :length].expand(len(queries), -1, -1)
            uncached = model(torch.cat([context, queries[:, None]], 1), [pair_mask(length + 1)] * len(model.blocks))[:, -1]
            torch.testing.assert_close(uncached, expected, atol=1e-5, rtol=0)


@pytest.mark.data
def test_released_checkpoint_becomes_a_ready_method(checkpoint, tmp_path, caplog):
    torch.save(checkpoint, tmp_path / "model.pt")
    method = import_reference(tmp_path / "model.pt", num_heads=4)
    assert "equiv_linear" in caplog.text and "rel_aug_predictor" in caplog.text
    torch.testing.assert_close(
        method.transformer.blocks[1].mlp_in.weight, checkpoint["predictor.transformer.h.1.mlp.c_fc.weight"]
    )
    torch.testing.assert_close(method.auxiliary[4].bias, checkpoint["aug_predictor.4.bias"])
    torch.testing.assert_close(method.encoder.layer4[1].conv2.weight, checkpoint["enc.layer4.1.conv2.weight"])
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert method.predict(images, torch.zeros(2, 6)).shape == (2, 512)


@pytest.mark.data
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("predictor.transformer.ln_f.bias"), r"missing: predictor.norm.bias"),
        (lambda w: w.update({"extra.weight": torch.zeros(1)}), r"unknown keys extra.weight"),
        (lambda w: w.update({"aug_predictor.4.bias": torch.zeros(3)}), r"wrongly shaped: aug_predictor.4.bias"),
        (lambda w: [w.pop(k) for k in list(w) if k.startswith("aug_predictor")], r"no key starts with 'aug_predictor.'"),
    ],
)
def test_checkpoints_that_do_not_fit_are_named(checkpoint, change, message):
    weights = dict(checkpoint)
    change(weights)
    with pytest.raises(ValueError, match=message):
        import_reference(weights)


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


def test_a_pickle_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"enc.conv1.weight": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(ValueError, match="could run code"):
        import_reference(tmp_path / "bomb.pt")
    assert not (tmp_path / "exploded").exists()

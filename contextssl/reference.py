"""Checkpoints of the authors' released code, read into the classes that train here (protocol 2, 3.3).

The released model is a torchvision ResNet under `enc.`, the context transformer under `predictor.` and the auxiliary
predictor under `aug_predictor.`. Its other heads serve monitoring and are not part of the method.
"""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.losses.contrastive import all_negatives
from contextssl.methods.context_ssl import ContextSSL
from contextssl.methods.environments import EnvironmentSampler
from contextssl.models.transformer import ContextTransformer

logger = logging.getLogger(__name__)

RENAMED = {
    r"_read_(in|out)\.": r"read_\1.",
    r"transformer\.h\.(\d+)\.ln_1\.": r"blocks.\1.norm_attention.",
    r"transformer\.h\.(\d+)\.ln_2\.": r"blocks.\1.norm_mlp.",
    r"transformer\.h\.(\d+)\.attn\.c_attn\.": r"blocks.\1.attention.project_in.",
    r"transformer\.h\.(\d+)\.attn\.c_proj\.": r"blocks.\1.attention.project_out.",
    r"transformer\.h\.(\d+)\.mlp\.c_fc\.": r"blocks.\1.mlp_in.",
    r"transformer\.h\.(\d+)\.mlp\.c_proj\.": r"blocks.\1.mlp_out.",
    r"transformer\.ln_f\.": r"norm.",
}
UNUSED_HEADS = ("equiv_linear.", "rel_aug_predictor.")


def import_reference(source: Path | str | Mapping[str, Tensor], *, num_heads: int = 4) -> ContextSSL:
    """A ready ContextSSL (rotation and color groups of 3DIEBench) with the weights of a released checkpoint.

    Args:
        source: a `.pt` file, which is never unpickled beyond plain tensors, or a state dict.
        num_heads: attention heads, which the keys do not show.

    Raises:
        ValueError: naming missing, unknown or wrongly shaped keys, or a file that holds more than tensors.
    """
    weights = _state_dict(source)
    unused = sorted({key.split(".")[0] for key in weights if key.startswith(UNUSED_HEADS)})
    if unused:
        logger.warning("ignored heads of the reference checkpoint that are not part of the method: %s", ", ".join(unused))
    parts = {prefix: _part(weights, prefix) for prefix in ("enc.", "predictor.", "aug_predictor.")}
    if unknown := [key for key in weights if not key.startswith((*parts, *UNUSED_HEADS))]:
        raise ValueError(f"reference checkpoint: unknown keys {_few(unknown)}; expected enc.*, predictor.* and aug_predictor.*")
    encoder = _resnet(parts["enc."])
    predictor = _renamed(parts["predictor."])
    width, num_layers, embedding_dim = _widths(predictor)
    actions = ActionSpace(
        [
            Group("rotation", 4, 4, Kind.QUATERNION, "relative quaternion, scalar last"),
            Group("color", 2, 2, Kind.CIRCULAR, "difference of floor and light hue, in [-1, 1]"),
        ]
    )
    auxiliary = parts["aug_predictor."]
    method = ContextSSL(
        encoder,
        actions,
        transformer=partial(ContextTransformer, width=width, num_layers=num_layers, num_heads=num_heads),
        contrastive=partial(all_negatives, temperature=0.1, clamp=1e-7),
        environments=EnvironmentSampler({"rotation": 0.5, "color": 0.5}, per_sequence=False),
        embedding_dim=embedding_dim,
        auxiliary_dims=tuple(len(auxiliary[key]) for key in ("0.bias", "2.bias") if key in auxiliary),
    )
    _load(method.encoder, parts["enc."], "enc.")
    _load(method.transformer, predictor, "predictor.")
    _load(method.auxiliary, auxiliary, "aug_predictor.")
    return method.eval()


def import_reference_predictor(state_dict: Mapping[str, Tensor], *, num_heads: int = 4) -> ContextTransformer:
    """The context transformer alone, from keys with or without the `predictor.` prefix; errors as `import_reference`."""
    prefixed = any(key.startswith("predictor.") for key in state_dict)
    weights = _renamed(_part(state_dict, "predictor.") if prefixed else dict(state_dict))
    width, num_layers, embedding_dim = _widths(weights)
    in_dim = weights["read_in.weight"].shape[1]
    transformer = ContextTransformer(in_dim, embedding_dim, width=width, num_layers=num_layers, num_heads=num_heads)
    _load(transformer, weights, "predictor.")
    return transformer.eval()


def _state_dict(source: Path | str | Mapping[str, Tensor]) -> dict[str, Tensor]:
    loaded: object = source
    if not isinstance(source, Mapping):
        try:
            loaded = torch.load(source, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ValueError(f"{source}: holds more than plain tensors and is not loaded, because that could run code") from error
        if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
            loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ValueError("reference checkpoint: expected a state dict of tensors by name")
    return {key.removeprefix("module."): value for key, value in loaded.items()}


def _part(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    part = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    if not part:
        raise ValueError(f"reference checkpoint: no key starts with {prefix!r}; found {_few(list(weights))}")
    return part


def _renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for key, value in weights.items():
        for theirs, ours in RENAMED.items():
            if re.match(theirs, key):
                renamed[re.sub(theirs, ours, key)] = value
                break
        else:
            renamed[key] = value
    return renamed


def _widths(predictor: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Model width, number of layers and output width, from renamed predictor weights."""
    if missing := [key for key in ("read_in.weight", "read_out.weight") if key not in predictor]:
        raise ValueError(f"reference checkpoint: predictor keys missing: {missing}")
    layers = {int(match.group(1)) for key in predictor if (match := re.match(r"blocks\.(\d+)\.", key))}
    return predictor["read_in.weight"].shape[0], len(layers), predictor["read_out.weight"].shape[0]


def _resnet(weights: Mapping[str, Tensor]) -> nn.Module:
    from torchvision.models import resnet18, resnet34, resnet50

    bottleneck, deep = "layer1.0.conv3.weight" in weights, "layer3.5.conv1.weight" in weights
    encoder: nn.Module = (resnet50 if bottleneck else resnet34 if deep else resnet18)()
    encoder.out_dim = encoder.fc.in_features  # type: ignore[union-attr, assignment]
    encoder.fc = nn.Identity()
    return encoder


def _load(module: nn.Module, weights: Mapping[str, Tensor], prefix: str) -> None:
    expected = module.state_dict()
    wrong = {
        "missing": [key for key in expected if key not in weights],
        "unknown": [key for key in weights if key not in expected],
        "wrongly shaped": [key for key in expected if key in weights and weights[key].shape != expected[key].shape],
    }
    if any(wrong.values()):
        found = "; ".join(f"{kind}: {_few([prefix + key for key in keys])}" for kind, keys in wrong.items() if keys)
        raise ValueError(f"reference checkpoint does not fit the released architecture: {found}")
    module.load_state_dict(dict(weights))


def _few(keys: list[str], count: int = 5) -> str:
    return ", ".join(keys[:count]) + (f" and {len(keys) - count} more" if len(keys) > count else "")

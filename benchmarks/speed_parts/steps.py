"""Training steps: against the bare encoder, against SimCLR of other libraries, and as they grow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from peers.contestant import Settings
from speed_parts.environments import PEERS, Environment, environment_of
from speed_parts.turns import Effort, Process, in_turns, ratio, summary

OURS = "our_steps.py"
DEFAULT = ["method=context_ssl/default"]
KEEPING = ", freed memory kept"
PAPER_IMAGES = 83.8e6  # of the paper's 1000 epochs (protocol 4.1)
PRODUCT_FLOPS = 2 * 8192**3


@dataclass(frozen=True)
class Sizes:
    """How large the steps are.

    Attributes:
        settings: of all contestants.
        num_transitions: T of a sequence.
        scaled_images: images of the steps whose growth is measured.
        lengths: context lengths 2T of these.
        widths: of the context transformer.
        batches: numbers of images.
        batch_transitions: T of these.
        reference: configuration whose transformer is reported apart.
    """

    settings: Settings
    num_transitions: int = 64
    scaled_images: int = 256
    lengths: tuple[int, ...] = (16, 64, 128)
    widths: tuple[int, ...] = (128, 512, 2048)
    batches: tuple[int, ...] = (128, 256, 512)
    batch_transitions: int = 32
    reference: tuple[str, ...] = ("method=context_ssl/reference",)


def method(overrides: list[str], num_transitions: int) -> dict[str, Any]:
    """What `our_steps.py` is asked for: a whole step."""
    return {"what": "method", "overrides": overrides, "num_transitions": num_transitions}


def simclr(settings: Settings, num_transitions: int) -> dict[str, Any]:
    """Ours, with the projector and temperature that all libraries get."""
    widths = ",".join(map(str, settings.projector_dims))
    overrides = ["method=simclr", f"method.projector_dims=[{widths}]", f"method.temperature={settings.temperature}"]
    return method(overrides, num_transitions)


def as_trained(settings: Settings) -> Settings:
    """With what `contextssl train` does to its process."""
    return replace(settings, keep_freed_memory=True)


def steps(sizes: Sizes, effort: Effort) -> dict[str, Any]:
    """Our steps against the encoder's forward and backward; the reference preset with its transformer's share apart."""
    settings, length = as_trained(sizes.settings), sizes.num_transitions
    asked = {
        "encoder": {"what": "encoder"},
        "context_ssl": method(DEFAULT, length),
        "simclr": simclr(settings, length),
    }
    seconds, rows = raced({name: replace(settings, own=own) for name, own in asked.items()}, effort)
    reference = method(list(sizes.reference), length)
    large = {"reference": reference, "reference_transformer": {**reference, "what": "transformer"}}
    few = Effort(min(2, effort.least), max(2, effort.most // 2), effort.seconds / 3)
    large_seconds, large_rows = raced({name: replace(settings, own=own) for name, own in large.items()}, few)
    found = {
        "rows": rows | large_rows,
        "over_encoder": {name: ratio(seconds[name], seconds["encoder"]) for name in ("context_ssl", "simclr")},
        "reference_transformer_share": ratio(large_seconds["reference_transformer"], large_seconds["reference"]),
        "reference_without_transformer_over_encoder": round(
            (median(large_seconds["reference"]) - median(large_seconds["reference_transformer"])) / median(seconds["encoder"]), 4
        ),
    }
    return found | throughput(settings, asked | large, seconds | large_seconds)


def throughput(settings: Settings, asked: Mapping[str, dict[str, Any]], seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Images a second and hours for the paper's training; on a GPU also the share of what a matrix product reaches."""
    rate = {name: settings.images / median(seconds[name]) for name in ("context_ssl", "reference", "simclr")}
    found: dict[str, Any] = {
        "images_per_second": {name: round(value, 1) for name, value in rate.items()},
        "hours_for_the_paper": {name: round(PAPER_IMAGES / value / 3600, 2) for name, value in rate.items()},
    }
    if settings.device == "cpu":
        return found
    with Process(OURS, replace(settings, own={"what": "product"})) as product:
        reached = PRODUCT_FLOPS / min([product.go() for _ in range(20)][5:])
    utilisation = {}
    for name in rate:
        with Process(OURS, replace(settings, compile=False, own=asked[name])) as process:  # compiled code is not counted
            utilisation[name] = round(process.flops() / median(seconds[name]) / reached, 4)
    return found | {"product_flops_per_second": reached, "share_of_product": utilisation}


def peers(sizes: Sizes, effort: Effort, folder: Path) -> dict[str, Any]:
    """SimCLR here against SimCLR of other libraries: same torch, encoder, images, optimizer, layout and precision.

    Ours keeps freed memory, as in training; on a CPU the others run as they are, and once more with ours of that.

    Raises:
        ValueError: when a peer's loss is not ours on the same numbers.
    """
    environments = {peer.name: environment_of(peer, folder) for peer in PEERS}
    keeping = as_trained(sizes.settings)
    contestants = {"contextssl": replace(keeping, own=simclr(sizes.settings, sizes.num_transitions))}
    scripts: dict[str, tuple[str, Path | None]] = {"contextssl": (OURS, None)}
    for peer in PEERS:
        if (python := environments[peer.name].python) is not None:
            ways = {peer.name: sizes.settings} | ({f"{peer.name}{KEEPING}": keeping} if keeping.device == "cpu" else {})
            contestants |= ways
            scripts |= dict.fromkeys(ways, (peer.script, python))
    seconds, rows = raced(contestants, effort, scripts)
    check_losses({name: row["loss"] for name, row in rows.items()})
    return {
        "environments": {name: described(environment) for name, environment in environments.items()},
        "rows": rows,
        "over_fastest_peer": over_fastest(seconds, "contextssl", lambda name: not name.endswith(KEEPING)),
        "over_fastest_peer_keeping_memory": over_fastest(seconds, "contextssl", lambda name: name.endswith(KEEPING)),
    }


def over_fastest(seconds: Mapping[str, list[float]], ours: str, among: Callable[[str], bool]) -> float | None:
    """Our median over the smallest of the others' that count; None where none does."""
    others = [median(values) for name, values in seconds.items() if name != ours and among(name)]
    return round(median(seconds[ours]) / min(others), 4) if others else None


def check_losses(losses: Mapping[str, float]) -> None:
    """Raise ValueError unless all losses on the planted embeddings are ours."""
    ours = losses["contextssl"]
    wrong = {name: loss for name, loss in losses.items() if not math.isclose(loss, ours, rel_tol=1e-5)}
    if wrong:
        raise ValueError(f"on the same embeddings our SimCLR loss is {ours}, and that of others {wrong}: they are not the same")


def described(environment: Environment) -> dict[str, str | None]:
    """Without the path, which is this machine's."""
    return {"installed": environment.installed, "error": environment.error}


def scaling(sizes: Sizes, effort: Effort) -> dict[str, Any]:
    """Time and memory of a step of the default preset as context length, width and batch grow, each by itself."""
    settings, images = as_trained(sizes.settings), sizes.scaled_images
    longest = max(sizes.lengths) // 2
    families = {
        "context_length": {length: (images, length // 2, DEFAULT) for length in sizes.lengths},
        "width": {width: (images, longest, [*DEFAULT, f"method.transformer.width={width}"]) for width in sizes.widths},
        "images": {number: (number, sizes.batch_transitions, DEFAULT) for number in sizes.batches},
    }
    found = {}
    for family, members in families.items():
        asked = {
            str(member): replace(settings, images=number, own=method(overrides, length))
            for member, (number, length, overrides) in members.items()
        }
        found[family] = raced(asked, replace(effort, seconds=effort.seconds / len(families)))[1]
    return {
        "images": images,
        "context_length": 2 * longest,
        "context_length_of_images": 2 * sizes.batch_transitions,
        "rows": found,
    }


def raced(
    contestants: Mapping[str, Settings], effort: Effort, scripts: Mapping[str, tuple[str, Path | None]] | None = None
) -> tuple[dict[str, list[float]], dict[str, dict[str, Any]]]:
    """Seconds of every round, and a row for each contestant: what it is, its memory in a fresh process, its times."""
    with ExitStack() as stack:
        processes = {}
        for name, settings in contestants.items():
            script, python = (scripts or {}).get(name, (OURS, None))
            processes[name] = stack.enter_context(Process(script, settings, python))
        memory = {name: process.memory() for name, process in processes.items()}  # this warms up, too
        seconds = in_turns({name: process.go for name, process in processes.items()}, effort, warm_up=False)
    rows = {name: processes[name].description | summary(seconds[name]) | {"memory_mb": memory[name]} for name in contestants}
    return seconds, rows

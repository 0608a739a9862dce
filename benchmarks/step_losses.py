"""Whether a change of the training step, or one of its options, changes what is learnt; benchmarks/results/step_losses.json.

    python benchmarks/step_losses.py                    losses of the first 20 steps, plain and with each option
    python benchmarks/step_losses.py --before OLD.json  and how far the plain ones are from an earlier record

Every case trains a preset from the same seeds on the same sequences on one thread. A difference is
|loss - loss of the plain run| / |loss of the plain run|, the largest up to a step: 0 where every bit is the same. What differs
by a rounding in the first step differs visibly after twenty where adversaries train beside the method.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import DomainAdapter
from contextssl.adapters.views import ViewsAdapter
from contextssl.commands.configuration import build, compose_config
from contextssl.files import write_text
from contextssl.run import describe_environment
from contextssl.seeding import generator, seed_globals
from contextssl.training import TrainingState, fit
from domains.vision.encoders import Pixels, SmallConvNet

NUM_STEPS = 20
PLAN = ("train=table", f"train.num_steps={NUM_STEPS}", "train.warmup_steps=5", "train.num_transitions=16")
NARROW = ("method.transformer.width=64", "method.auxiliary_dims=[64]")
# Leakage counts from the first step on, or 20 steps would not show it.
EARLY = ("++method.rehearsal.penalty.onset_r2=-1000", "method.rehearsal.penalty.ramp=5")


@dataclass(frozen=True)
class Case:
    """A preset on a domain."""

    name: str
    domain: str
    overrides: tuple[str, ...]


CASES = (
    Case("default on a table", "table", ("method=context_ssl/default", *EARLY)),
    Case("reference on a table", "table", ("method=context_ssl/reference", *NARROW)),
    Case("images on images", "images", ("method=context_ssl/images", *EARLY)),
    Case("augmentations on images", "images", ("method=context_ssl/augmentations", *EARLY)),
    Case("plain on images", "images", ("method=context_ssl/plain",)),
    Case("VICReg+ on images", "images", ("method=plus/vicreg", "method.transformer.width=64")),
    Case("SimCLR on images", "images", ("method=simclr", "method.projector_dims=[64,64]")),
)
OPTIONS = {
    "channels last": ("train.channels_last=true",),
    "fused optimizer": ("train.optimizer.fused=true",),
    "activation checkpointing": ("train.activation_checkpointing=true",),
    "bfloat16": ("train.precision=bfloat16",),
    "compiled": ("train.compile=default",),
}
TOLD_STEPS = (1, 2, 5, NUM_STEPS)


def domain(name: str) -> DomainAdapter:
    """A generated census, or 60 blobs seen eight times at 16 pixels under a shift and a brightness."""
    if name == "table":
        adapter: DomainAdapter = build(compose_config(["domain=generated_census"]).domain)
        return adapter
    draws = generator(0, "blobs")
    latents = torch.rand(60, 8, 3, generator=draws) * 2 - 1
    place = torch.linspace(-1.5, 1.5, 16)
    size = 0.2 + 0.4 * torch.rand(60, 1, 1, 1, generator=draws)
    rows, columns = (place.view(shape) - latents[..., axis, None, None] for axis, shape in ((0, (16, 1)), (1, (1, 16))))
    blobs = torch.exp(-(rows.square() + columns.square()) / size.square()) * (0.7 + 0.3 * latents[..., 2, None, None])
    views = (255 * blobs).to(torch.uint8).unsqueeze(2).expand(-1, -1, 3, -1, -1).contiguous()
    actions = ActionSpace([Group("shift", 2, 2, Kind.REAL, "half widths"), Group("brightness", 1, 1, Kind.REAL, "")])
    pixels = Pixels((0.1,) * 3, (0.2,) * 3)
    return ViewsAdapter(views, latents, actions, [], encoder=lambda: SmallConvNet(pixels, (16, 32), 64))


def losses(case: Case, adapter: DomainAdapter, options: Sequence[str] = ()) -> list[float]:
    """The loss of each step."""
    config = compose_config([*PLAN, *case.overrides, *options])
    seed_globals(0)
    method = build(config.method)(adapter.build_encoder(), adapter.actions)
    plan = build(config.train)
    state = TrainingState(method, plan.optimizer(method.parameters()), generator(0, "method"))
    found: list[float] = []

    def note(_step: int, terms: dict[str, Tensor]) -> None:
        found.append(sum(float(term) for term in terms.values()))

    fit(state, adapter.train_sequences(plan.num_transitions, 0), plan, note)
    return found


def differences(found: Sequence[float], plain: Sequence[float]) -> dict[str, float]:
    """The largest relative difference up to some steps, by the step."""
    relative = [abs(a - b) / abs(b) for a, b in zip(found, plain, strict=True)]
    return {str(step): max(relative[:step]) for step in TOLD_STEPS}


def main() -> None:
    """Train, compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="an earlier record to compare the plain losses with")
    parser.add_argument("--options", nargs="*", choices=list(OPTIONS), default=list(OPTIONS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/step_losses.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    before = json.loads(arguments.before.read_text()) if arguments.before else None
    adapters = {name: domain(name) for name in ("table", "images")}
    rows = []
    for case in CASES:
        plain = losses(case, adapters[case.domain])
        row: dict[str, object] = {"case": case.name, "losses": plain}
        row["options"] = {
            name: differences(losses(case, adapters[case.domain], OPTIONS[name]), plain) for name in arguments.options
        }
        if before is not None:
            earlier = next(other for other in before["results"] if other["case"] == case.name)
            row["before"] = differences(plain, earlier["losses"])
        rows.append(row)
        print(f"{case.name}: loss {plain[0]:.4f} to {plain[-1]:.4f}")
        for name, found in {"before": row.get("before"), **row["options"]}.items():
            print(f"  {name}: {found}")
    command = ["python", "benchmarks/step_losses.py", *(["--before", arguments.before.name] if before else [])]
    record: dict[str, object] = {"environment": describe_environment(command), "num_steps": NUM_STEPS}
    if before is not None:
        record["compared_with"] = before["environment"]["commit"] or before["environment"]["code_digest"]
    write_text(arguments.out, json.dumps(record | {"results": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

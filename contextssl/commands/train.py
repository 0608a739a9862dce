"""contextssl train: from a configuration to a trained method in a run folder. This is the whole of the wiring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from contextssl.allocator import keep_freed_memory
from contextssl.checkpoint import load_weights
from contextssl.commands.configuration import as_yaml, build
from contextssl.commands.console import log_to
from contextssl.commands.logger import NoLogger
from contextssl.distributed import num_processes, rank, synchronise_batch_norms
from contextssl.evaluation.monitor import watch
from contextssl.processes import from_first
from contextssl.recording import Recorder
from contextssl.run import Run, refuse_existing
from contextssl.seeding import derive_seed, generator, seed_globals
from contextssl.training import TrainingState, choose_device, fit


def train(config: DictConfig, folder: Path, *, resume: bool, command: Sequence[str]) -> Run:
    """Train in a new run folder, or go on in an existing one as if it had never stopped.

    Several processes (`process_group`) train as one; the first of them writes.

    Args:
        config: what `configs/config.yaml` composes to, or the run's own config.yaml when resuming.
        folder: of the run.
        resume: whether to go on from the run's newest checkpoint.
        command: recorded with the run.

    Raises:
        FileExistsError: for a new run in a folder that holds something.
        ValueError: when processes have different data or code.
        Interrupted: after SIGTERM or Ctrl-C, with a checkpoint saved.
    """
    if not resume:
        from_first(lambda: refuse_existing(folder))
    seed_globals(config.seed)
    adapter = build(config.domain)
    method = build(config.method)(adapter.build_encoder(), adapter.actions)
    if config.init_from and not resume:
        load_weights(method, Path(config.init_from))
    device = choose_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    method.to(device)
    if num_processes() > 1:
        synchronise_batch_norms(method)

    plan, recording = build(config.train), build(config.record)
    sequences = adapter.train_sequences(plan.num_transitions, config.seed)
    state = TrainingState(method, plan.optimizer(method.parameters()), generator(config.seed, "method"))

    run = from_first(lambda: Run.open(folder) if resume else Run.create(folder, as_yaml(config), adapter.manifest, command))
    with log_to(run.log):
        watched = adapter.held_out(plan.num_transitions, 2, derive_seed(config.seed, "diagnosis"))
        digests = _agreed(run.digests(adapter.manifest))
        logger = build(config.logger)(run) if rank() == 0 else NoLogger(run)
        recorder = Recorder(run, state, plan.num_steps, recording, digests, logger, watch, watched)
        if resume:
            recorder.resume()
        with recorder.listening() as on_step:
            fit(state, sequences, plan, on_step)
    return run


def _agreed(digests: dict[str, str]) -> dict[str, str]:
    """The digests, which are those of the first process."""
    for what, digest in from_first(lambda: digests).items():
        if digests[what] != digest:
            raise ValueError(
                f"rank {rank()}: its {what} is not that of rank 0; all processes need the same code, data and run folder"
            )
    return digests

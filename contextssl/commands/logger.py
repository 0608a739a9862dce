"""Where metrics go besides the run folder: nowhere, or Weights & Biases."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Literal

import yaml

from contextssl.files import write_text
from contextssl.run import Run


class NoLogger:
    """Keeps nothing; the run folder has it all."""

    def __init__(self, run: Run) -> None:
        del run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


class WandbLogger:
    """One W&B run for one run folder: its id is kept there, so that a resumed run goes on in the same curves.

    Args:
        run: the run folder.
        project: W&B project.
        mode: `online`, or `offline` for no account and no network.
    """

    def __init__(self, run: Run, project: str, mode: Literal["online", "offline"] = "online") -> None:
        import wandb  # slow to import, and most runs do without

        kept = run.folder / "wandb_id"
        if not kept.exists():
            write_text(kept, secrets.token_hex(4))
        settings = yaml.safe_load(run.config.read_text(encoding="utf-8"))
        self._wandb = wandb.init(
            project=project,
            mode=mode,
            id=kept.read_text(),
            resume="allow",
            dir=str(run.folder),
            name=run.folder.name,
            config=settings,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send one row."""
        self._wandb.log(dict(values), step=step)

    def finish(self) -> None:
        """Close the W&B run."""
        self._wandb.finish()

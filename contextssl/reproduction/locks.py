"""One process at a time for a run folder, on one machine or several that share a disk."""

from __future__ import annotations

import fcntl
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

LOG = logging.getLogger("contextssl")
POLL = 0.2  # seconds


class Stopped(Exception):  # noqa: N818 - not an error: somebody asked for it
    """Work was given up because its caller asked to stop."""


@contextmanager
def exclusive(path: Path, stop: threading.Event | None = None) -> Iterator[IO[str]]:
    """Hold the lock of that file, waiting for whoever has it; the open file is what a child must inherit to hold it too.

    The kernel lets go of it when the last process that holds the file open has ended, however it ends: a child that
    outlives its killed parent keeps its successor waiting. The empty file stays.

    Args:
        path: of the lock.
        stop: give up waiting once it is set.

    Raises:
        Stopped: when `stop` was set first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        waiting = False
        while not _taken(file):
            if not waiting:
                LOG.info("waiting for another process that works on %s", path.with_suffix(""))
                waiting = True
            if stop is None:
                stop = threading.Event()
            if stop.wait(POLL):
                raise Stopped(f"gave up waiting for {path}")
        yield file


def _taken(file: IO[str]) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

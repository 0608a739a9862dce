"""Where messages go: the terminal, and the log of the run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contextssl.processes import launched
from contextssl.progress import CONSOLE

LOG = logging.getLogger("contextssl")


class _ConsoleHandler(logging.Handler):
    """Prints above a progress bar; warnings say that they are."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        CONSOLE.print(prefix + record.getMessage(), markup=False, highlight=False, soft_wrap=True)


def say_on_console() -> None:
    """Send the messages of the project to standard error, once; of several processes the first one speaks."""
    CONSOLE.quiet = launched()[0] > 0
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    if not any(isinstance(handler, _ConsoleHandler) for handler in LOG.handlers):
        LOG.addHandler(_ConsoleHandler())


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Write messages to a file too, after what it holds; an error that ends the block is written with its traceback.

    Of several processes the first writes its messages, the others errors only.
    """
    number, _ = launched()
    handler = logging.FileHandler(path, encoding="utf-8", delay=number > 0)
    handler.setLevel(logging.ERROR if number else logging.NOTSET)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOG.addHandler(handler)
    try:
        yield
    except Exception as error:
        handler.handle(LOG.makeRecord(LOG.name, logging.ERROR, "", 0, "%s", (error,), (type(error), error, error.__traceback__)))
        raise
    finally:
        LOG.removeHandler(handler)
        handler.close()

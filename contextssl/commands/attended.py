"""A `contextssl` command that lives no longer than who started it: python -m contextssl.commands.attended VERB ...

Its standard input is a pipe that nobody writes to. When it ends, the starter has ended, be it by SIGKILL, and the command
gets SIGTERM: training saves a checkpoint and stops, all else just stops.
"""

from __future__ import annotations

import os
import signal
import sys
import threading


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_input, daemon=True).start()
    from contextssl.commands.main import main  # takes a second

    sys.exit(main())

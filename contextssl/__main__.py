"""`python -m contextssl` is the command `contextssl`, for launchers that start modules, as torchrun does."""

from __future__ import annotations

import sys

from contextssl.commands.main import main

if __name__ == "__main__":
    sys.exit(main())

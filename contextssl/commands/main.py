"""The `contextssl` command: finds the verb, and turns what a user can cause into one sentence.

Exit codes: 0 done; 1 an error while running; 2 a wrong command or configuration; 130 and 143 stopped by Ctrl-C or
SIGTERM (a training run has saved a checkpoint then). CONTEXTSSL_FULL_ERROR=1 shows tracebacks.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence

VERBS = {
    "train": ("launch", "train a method on a domain"),
    "evaluate": ("evaluate", "measure a trained run"),
    "reproduce": ("reproduce", "make a table of a paper again"),
    "report": ("report", "write the report of a run"),
    "compare": ("compare", "differences between two runs"),
    "data": ("data", "fetch, verify or describe data"),
    "doctor": ("doctor", "check this installation"),
    "demo": ("demo", "make data, train, evaluate and report, in a few minutes"),
}
HELP = (
    "usage: contextssl VERB ...\n\n"
    + "\n".join(f"  {verb:<9} {what}" for verb, (_, what) in VERBS.items())
    + ("\n\nSettings are given as key=value. contextssl VERB --help says more; CONTEXTSSL_FULL_ERROR=1 shows tracebacks.")
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not words or words[0] in ("-h", "--help"):
            print(HELP)
            return 0 if words else 2
        if words[0] not in VERBS:
            print(f"contextssl: unknown verb {words[0]!r}; there are {', '.join(VERBS)}", file=sys.stderr)
            return 2
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # so that a config can name a class in a file of one's own
        return _guarded(words)
    except BrokenPipeError:  # the reader, `head` for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _guarded(words: Sequence[str]) -> int:
    from contextssl.commands.configuration import ConfigurationError
    from contextssl.commands.console import say_on_console
    from contextssl.distributed import num_processes
    from contextssl.processes import Interrupted, launched

    say_on_console()
    number, size = launched()
    name = f"contextssl {words[0]}" + (f", rank {number} of {size}" if size > 1 else "")
    try:
        if size > 1 and words[0] != "train":
            raise ConfigurationError("only train runs in several processes; leave out torchrun")
        return int(importlib.import_module(f"contextssl.commands.{VERBS[words[0]][0]}").main(words[1:]))
    except Interrupted as stopped:
        if number == 0:
            print(f"contextssl {words[0]}: {stopped}", file=sys.stderr)
        return 128 + stopped.signal_number
    except KeyboardInterrupt:
        print(f"contextssl {words[0]}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("CONTEXTSSL_FULL_ERROR") == "1":
            raise
        configuration = isinstance(error, ConfigurationError)
        if number == 0 or num_processes() > 1 or not configuration:  # all read the same words, before they meet
            print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if configuration else 1


if __name__ == "__main__":
    sys.exit(main())

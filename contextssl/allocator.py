"""Memory between steps: on a CPU, giving it back and asking for it again takes up to a fifth of a training step.

A step allocates and frees the same large blocks as the one before. glibc hands every block of over 32 MiB back to the
system at once and gets it again page by page, zeroed. `benchmarks/results/speed_cpu.json` has steps with and without.
"""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of <malloc.h>
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for its next allocations. Costs about a fifth more memory at the peak.

    Returns:
        Whether it is so now. The C library decides: glibc can be told, others (macOS, Windows, musl) are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    both = mallopt(MMAP_THRESHOLD, NEVER), mallopt(TRIM_THRESHOLD, NEVER)
    return both == (1, 1)

"""The optional packages of the extra `render`."""

from __future__ import annotations


class MissingPackageError(ImportError, ValueError):
    """A package that an extra installs is not there; commands show it as one sentence, like every ValueError."""

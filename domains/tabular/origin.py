"""Where the rows of a table are from."""

from __future__ import annotations

from enum import StrEnum


class Source(StrEnum):
    """The real files, or generated ones with the same columns in which nobody is real."""

    REAL = "real"
    GENERATED = "generated"

    @classmethod
    def _missing_(cls, value: object) -> Source:
        raise ValueError(f"data are from one of {', '.join(cls)}, found {value!r}; a folder of files is given as root")

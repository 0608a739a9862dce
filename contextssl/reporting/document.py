"""What a report is made of, before it becomes Markdown or HTML.

Text may mark `code` with backticks and **emphasis** with two stars; nothing else is markup.
"""

from __future__ import annotations

from dataclasses import dataclass

from contextssl.reporting.pictures import Picture
from contextssl.reporting.tables import Table


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text; `kind` is `lead` for the headline, `note` for remarks below a table, `text` otherwise."""

    text: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Notices:
    """Things a reader must know before believing the numbers; `kind` is `stand-in` or `caution`."""

    lines: tuple[str, ...]
    kind: str = "caution"


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure file pair `figures/<name>.svg|png`, what it shows in words, and whether it needs a whole line."""

    name: str
    description: str
    svg: str
    png: bytes
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels that belong together, under one caption."""

    panels: tuple[Panel, ...]
    caption: str


@dataclass(frozen=True, slots=True)
class CaptionedTable:
    """A table under its caption."""

    table: Table
    caption: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Verbatim text; folded away behind `summary` where one is given and the medium can fold."""

    text: str
    summary: str | None = None


Block = Paragraph | Notices | Figure | Picture | CaptionedTable | Listing


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A report: title, one line below it, what stands before the first heading, and the sections."""

    title: str
    subtitle: str
    opening: tuple[Block, ...]
    sections: tuple[Section, ...]

    @property
    def panels(self) -> list[Panel]:
        """All figure panels, in reading order."""
        blocks = [*self.opening, *(block for section in self.sections for block in section.blocks)]
        return [panel for block in blocks if isinstance(block, Figure) for panel in block.panels]

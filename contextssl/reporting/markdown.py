"""A report as Markdown, its figures beside it."""

from __future__ import annotations

import html

from contextssl.reporting.document import Block, CaptionedTable, Document, Figure, Listing, Notices, Paragraph
from contextssl.reporting.pictures import Picture
from contextssl.reporting.tables import to_markdown


def to_page(document: Document) -> str:
    """The document in Markdown; figures are referred to as `figures/<name>.png`."""
    parts = [f"# {document.title}", document.subtitle, *map(_block, document.opening)]
    for section in document.sections:
        parts += [f"## {section.title}", *map(_block, section.blocks)]
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return text
        case Notices(lines, kind):
            mark = "CAUTION" if kind == "stand-in" else "WARNING"
            return f"> [!{mark}]\n" + "\n".join(f"> - {line}" if len(lines) > 1 else f"> {line}" for line in lines)
        case Figure(panels, caption):
            images = "\n".join(
                f'<img src="figures/{panel.name}.png" alt="{html.escape(panel.description)}" width="{98 if panel.wide else 49}%">'
                for panel in panels
            )
            return f"{images}\n\n*{caption}*"
        case Picture(name, description, caption, _):
            return f'<img src="figures/{name}.png" alt="{html.escape(description)}" width="98%">\n\n*{caption}*'
        case CaptionedTable(table, caption):
            return f"*{caption}*\n\n{to_markdown(table)}"
        case Listing(text, summary):
            fence = f"```\n{text.rstrip()}\n```"
            return f"<details><summary>{summary}</summary>\n\n{fence}\n\n</details>" if summary else fence

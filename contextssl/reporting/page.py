"""A report as one HTML file that needs nothing else: style and figures are inside."""

from __future__ import annotations

import base64
import html
import re
from importlib.resources import files

from contextssl.reporting import style
from contextssl.reporting.document import Block, CaptionedTable, Document, Figure, Listing, Notices, Panel, Paragraph
from contextssl.reporting.pictures import Picture
from contextssl.reporting.tables import to_html


def to_page(document: Document) -> str:
    """The document as HTML; light or dark as the reader prefers, one column on a phone, plain in print."""
    css = files("contextssl.reporting").joinpath("page.css").read_text(encoding="utf-8")
    body = "".join(map(_block, document.opening))
    for section in document.sections:
        body += f"<section>\n<h2>{_text(section.title)}</h2>\n{''.join(map(_block, section.blocks))}</section>\n"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(document.title)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n<main>\n"
        f"<header>\n<h1>{_text(document.title)}</h1>\n<p>{_text(document.subtitle)}</p>\n</header>\n{body}"
        f"</main>\n</body>\n</html>\n"
    )


def _text(text: str) -> str:
    """Escaped text with `code` and **emphasis** marked up."""
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html.escape(text, quote=False))
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)


def _block(block: Block) -> str:
    match block:
        case Paragraph(text, kind):
            return f'<p class="{kind}">{_text(text)}</p>\n'
        case Notices(lines, kind):
            return _notices(lines, kind)
        case Figure(panels, caption):
            inside = "".join(
                '<div class="{}">{}</div>\n'.format("wide" if panel.wide else "narrow", _inline(panel)) for panel in panels
            )
            return f'<figure>\n<div class="panels">\n{inside}</div>\n<figcaption>{_text(caption)}</figcaption>\n</figure>\n'
        case Picture(_, description, caption, png):
            source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
            image = f'<img src="{source}" alt="{html.escape(description)}">'
            return f'<figure class="picture">\n{image}\n<figcaption>{_text(caption)}</figcaption>\n</figure>\n'
        case CaptionedTable(table, caption):
            return (
                f'<figure>\n<figcaption>{_text(caption)}</figcaption>\n<div class="scroll">\n{to_html(table)}</div>\n</figure>\n'
            )
        case Listing(text, summary):
            listing = f"<pre><code>{html.escape(text.rstrip(), quote=False)}</code></pre>\n"
            return f"<details>\n<summary>{_text(summary)}</summary>\n{listing}</details>\n" if summary else listing


def _notices(lines: tuple[str, ...], kind: str) -> str:
    if kind == "stand-in":
        return f'<aside class="stand-in">{"".join(f"<p>{_text(line)}</p>" for line in lines)}</aside>\n'
    items = "".join(f"<li>{_text(line)}</li>\n" for line in lines)
    return f'<aside>\n<strong class="head">Before you believe it</strong>\n<ul>\n{items}</ul>\n</aside>\n'


def _inline(panel: Panel) -> str:
    """The panel's SVG as an element of the page, in the page's colours, with ids of its own and a description."""
    svg = panel.svg[panel.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{panel.name}-", svg)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    colours = {style.INK: "ink", style.SOFT: "soft", style.RULE: "rule", style.PAPER: "paper"}
    colours |= {colour: f"c{position}" for position, colour in enumerate(style.COLOURS)}
    for colour, name in colours.items():
        svg = svg.replace(colour, f"var(--{name})")
    description = html.escape(panel.description)
    return svg.replace("<svg", f'<svg role="img" aria-label="{description}"', 1)

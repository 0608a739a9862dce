"""Where the texts of a drawn figure lie."""

from __future__ import annotations

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text


def assert_texts_apart(figure: Figure) -> None:
    """Fail unless every text lies within the figure and none covers another."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    boxes = [text.get_window_extent(renderer) for text in texts]
    assert texts
    for text, box in zip(texts, boxes, strict=True):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height, text.get_text()
    for (text, box), (other, its_box) in combinations(zip(texts, boxes, strict=True), 2):
        assert not box.shrunk(0.98, 0.7).overlaps(its_box.shrunk(0.98, 0.7)), (text.get_text(), other.get_text())

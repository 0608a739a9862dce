"""Pictures of an evaluation: kept with their captions, shown by the report whatever they show, one sentence when broken."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from synthetic_results import adult_rows, row, vision_rows

from contextssl.reporting import write_report
from contextssl.reporting.pictures import Picture, read_pictures, remove_pictures, write_picture

MakeRun = Callable[..., Path]


def picture(name: str, colour: str) -> Picture:
    content = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(content, "PNG")
    return Picture(name, f"a {colour} square", f"It is **{colour}** & < 5 `px`.", content.getvalue())


PICTURES = (picture("cats", "red"), picture("cats-again", "green"), picture("dogs", "blue"))


def test_what_is_written_is_read_back_by_name(tmp_path: Path) -> None:
    for one in reversed(PICTURES):
        assert write_picture(tmp_path, one) == tmp_path / f"{one.name}.png"
    assert read_pictures(tmp_path) == PICTURES
    assert read_pictures(tmp_path / "missing") == ()


def test_removing_pictures_leaves_the_other_figures(tmp_path: Path) -> None:
    write_picture(tmp_path, PICTURES[0])
    (tmp_path / "story.png").write_bytes(b"figure")
    remove_pictures(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["story.png"]
    remove_pictures(tmp_path / "missing")


@pytest.mark.parametrize("rows", [vision_rows((0,)), adult_rows((0,), (0,), probes=("linear", "mlp"))], ids=["vision", "adult"])
def test_the_report_shows_every_picture_once_after_the_first_figure(make_run: MakeRun, rows: list) -> None:
    run = make_run(rows, metrics=3)
    for one in PICTURES:
        write_picture(run / "figures", one)
    page, markdown = write_report(run).read_text(), (run / "report.md").read_text()
    shown = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)">\n<figcaption>(.*?)</figcaption>', page)
    assert [(base64.b64decode(data), html.unescape(alt)) for data, alt, _ in shown] == [(p.png, p.description) for p in PICTURES]
    assert shown[0][2] == "It is <strong>red</strong> &amp; &lt; 5 <code>px</code>."
    assert re.findall(r'<img src="figures/((?:cats|dogs)[^"]*)\.png" alt="([^"]+)"', markdown) == [
        (p.name, p.description) for p in PICTURES
    ]
    place = page.index("<img")
    assert page[:place].count("<figure>") == 1 and "<h2>Metric against context length</h2>" in page[:place]
    assert all((run / "figures" / f"{one.name}.png").read_bytes() == one.png for one in PICTURES)


def test_pictures_are_shown_where_there_are_no_curves(make_run: MakeRun) -> None:
    run = make_run([row(0.9, target="income", metric="accuracy", environment="-", control="-", method="simclr")], metrics=0)
    write_picture(run / "figures", PICTURES[0])
    page = write_report(run).read_text()
    assert page.count("<img") == 1 and "<h2>Pictures</h2>" in page


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cats.png", None, "cats.json: the picture cats.png is missing; evaluate again"),
        ("cats.json", '{"caption": "x"}', "cats.json: not the caption of a picture .'description'.; delete it or evaluate again"),
        ("cats.json", "[1", "cats.json: not the caption of a picture"),
        ("cats.json", "[]", "cats.json: not the caption of a picture"),
    ],
)
def test_a_broken_picture_is_one_sentence(make_run: MakeRun, name: str, content: str | None, said: str) -> None:
    run = make_run(None)
    write_picture(run / "figures", PICTURES[0])
    if content is None:
        (run / "figures" / name).unlink()
    else:
        (run / "figures" / name).write_text(content)
    with pytest.raises(ValueError, match=said):
        write_report(run)

"""Whole reports: complete, self-contained, the same bytes every time, and one sentence when a file is broken."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic_results import adult_rows, vision_rows

from contextssl.reporting import write_report
from contextssl.reporting.run_folder import read_run
from contextssl.reporting.run_section import training_series

MakeRun = Callable[..., Path]


def contents(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}


class Links(HTMLParser):
    """Collects what a page refers to, its ids, and tags that do not close."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "xlink:href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in ("meta", "br", "img", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_full_report_holds_every_part_and_every_figure_it_names(make_run: MakeRun) -> None:
    run = make_run(adult_rows())
    page = write_report(run).read_text()
    for heading in (
        "Metric against context length",
        "Comparison",
        "Controls",
        "All numbers",
        "Training",
        "Data",
        "How to reproduce",
    ):
        assert f"<h2>{heading}</h2>" in page
    markdown = (run / "report.md").read_text()
    named = re.findall(r'src="(figures/[^"]+)"', markdown)
    assert named and all((run / name).is_file() for name in named)
    assert {Path(name).stem for name in named} == {path.stem for path in (run / "figures").iterdir()}
    for path in (run / "figures").glob("*.svg"):
        xml.etree.ElementTree.parse(path)
    for text in (page, markdown):
        assert "contextssl train experiment=adult_sex seed=0" in text and "0123456789abcdef" in text
        assert "mask_probability: 0.9" in text and "29,304" in text and "attribute-probe/1" in text
        for probe in ("linear (raw)", "linear, standardised", "kNN, k = 10", "MLP (raw)", "boosting"):
            assert probe in text


def test_the_page_says_of_which_numbers_lower_is_the_better_side(make_run: MakeRun) -> None:
    markdown = (write_report(make_run(adult_rows(probes=("linear",)), metrics=3)).parent / "report.md").read_text()
    assert "Of differences between groups lower is fairer." in markdown
    answer = next(line for line in markdown.splitlines() if "**income**" in line)
    assert "equalized-odds difference (sex), where lower is fairer, .0" in answer and "accuracy, where" not in answer
    glossary = markdown.split("## All numbers")[1]
    assert glossary.count("between groups, lower is fairer") == 4 and "predicted correctly;" in glossary


def test_the_page_refers_to_nothing_outside_itself(make_run: MakeRun) -> None:
    page = write_report(make_run(vision_rows((0,)), metrics=3)).read_text()
    links = Links()
    links.feed(page)
    assert links.open == []
    assert links.links and all(link.startswith("#") for link in links.links)
    assert {link[1:] for link in links.links} <= set(links.ids)
    assert len(links.ids) == len(set(links.ids))
    assert "http" not in page and "@import" not in page
    assert {target for target in re.findall(r"url\(([^)]*)\)", page) if not target.startswith("#")} == set()


def test_equal_folders_give_equal_bytes_wherever_they_stand(make_run: MakeRun) -> None:
    runs = [make_run(adult_rows(probes=("linear",)), name, metrics=3) for name in ("one", "elsewhere")]
    for run in runs:
        write_report(run)
    assert contents(runs[0]) == contents(runs[1])


def test_stand_in_data_are_announced_in_every_output(make_run: MakeRun) -> None:
    run = make_run(adult_rows((0,), (0,), probes=("linear",)), "generated", metrics=3, stand_in=True, source="a generator")
    real = make_run(adult_rows((0,), (0,), probes=("linear",)), "real", metrics=3)
    page, real_page = write_report(run).read_text(), write_report(real).read_text()
    assert "not from real ones (source: a generator)" in page and "not from real ones" not in real_page
    assert page.index("Stand-in data") < page.index("<h2>")
    assert "not from real ones" in (run / "report.md").read_text().split("##")[0]
    for path in (run / "figures").iterdir():
        assert path.read_bytes() != (real / "figures" / path.name).read_bytes()


def test_a_run_without_results_or_metrics_reports_what_there_is(make_run: MakeRun) -> None:
    run = make_run(None, metrics=0)
    page = write_report(run).read_text()
    assert "has not been evaluated yet" in page and "mask_probability" in page and "<h2>Training</h2>" not in page


def test_an_evaluation_that_may_report_nothing_is_not_taken_for_none(make_run: MakeRun) -> None:
    page = write_report(make_run([])).read_text()
    assert "left nothing to report" in page and "has not been evaluated yet" not in page


def test_a_text_in_the_manifest_keeps_its_lines(make_run: MakeRun) -> None:
    flow = ["             patients", "in PATIENTS       1,000", "= cohort            876"]
    page = write_report(make_run(None, flow=flow, sensitive=["sex", "race"])).read_text()
    assert "\n".join(flow) in page and "sex, race" in page


def test_warnings_of_the_log_and_collapse_come_first(make_run: MakeRun) -> None:
    run = make_run(None)
    warning = "embeddings are nearly constant (spread 0.001)"
    (run / "log.txt").write_text(f"2020-01-01 INFO started\n2020-01-01 WARNING {warning}\n2020-01-02 WARNING {warning}\n")
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 700, "diagnostics/effective_rank": 1.2}) + "\n")
    opening = write_report(run).read_text().split("<h2>")[0]
    assert opening.count(warning) == 1 and "effective rank was 1.200" in opening and "started" not in opening


def test_uncommitted_changes_are_said(make_run: MakeRun) -> None:
    run = make_run(None)
    (run / "environment.json").write_text(json.dumps({"commit": "abc", "dirty": True}))
    assert "uncommitted changes" in write_report(run).read_text()


def test_terms_share_the_panel_of_their_total(make_run: MakeRun) -> None:
    panels = training_series(read_run(make_run(None)).metrics)
    assert [name for _, name, _ in panels] == ["loss", "learning rate", "effective rank", "alignment", "uniformity"]
    assert list(panels[0][2]) == ["total", "contrastive", "auxiliary", "leakage"]
    steps, values = panels[0][2]["leakage"]
    assert steps[:2] == [10, 20] and values[:2] == [0.0, 0.0] and values[-1] == 0.4


@pytest.mark.parametrize(
    ("name", "text", "error", "said"),
    [
        ("config.yaml", None, FileNotFoundError, "has no config.yaml: it is not a run folder"),
        ("environment.json", None, FileNotFoundError, "has no environment.json"),
        ("manifest.json", None, FileNotFoundError, "has no manifest.json"),
        ("config.yaml", "a: [1", ValueError, "config.yaml: not YAML"),
        ("config.yaml", "just words", ValueError, "config.yaml: expected named settings, found str"),
        ("environment.json", '{"a": 1,\n', ValueError, "environment.json:2: not JSON"),
        ("manifest.json", "[]", ValueError, "manifest.json: expected named entries, found list"),
        ("metrics.jsonl", '{"step": 1}\n{"step": 2, "lo', ValueError, "metrics.jsonl:2: not a row of metrics"),
        ("metrics.jsonl", '{"loss": 1}\n', ValueError, "metrics.jsonl:1: not a row of metrics .it has no step"),
        ("results.jsonl", '{"target": "sex"}\n', ValueError, "results.jsonl:1: not a result row"),
        ("results.jsonl", "PK\n", ValueError, "results.jsonl:1: not a result row"),
    ],
)
def test_a_missing_or_broken_file_is_one_sentence_and_nothing_is_written(
    make_run: MakeRun, name: str, text: str | None, error: type[Exception], said: str
) -> None:
    run = make_run(adult_rows((0,), (0,)))
    if text is None:
        (run / name).unlink()
    else:
        (run / name).write_text(text)
    before = contents(run)
    with pytest.raises(error, match=said) as caught:
        write_report(run)
    assert "\n" not in str(caught.value)
    assert contents(run) == before


def test_binary_rubbish_and_words_for_values_are_named_too(make_run: MakeRun) -> None:
    run = make_run(adult_rows((0,), (0,)))
    rows = (run / "results.jsonl").read_text()
    (run / "results.jsonl").write_text(re.sub(r'"value": [^,]*', '"value": "high"', rows, count=1))
    with pytest.raises(ValueError, match="results.jsonl:1: not a result row .its value is 'high'"):
        write_report(run)
    (run / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="manifest.json: not a text file"):
        write_report(run)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no run folder"):
        write_report(tmp_path / "missing")

"""Tables against hand-computed numbers, and how numbers are printed."""

from __future__ import annotations

import math
import re

import pytest
from synthetic_results import row

from contextssl.reporting import html_table, markdown_table
from contextssl.reporting.names import direction, lower_is_better, metric_meaning, metric_name
from contextssl.reporting.number_format import number, with_bounds, with_margin
from contextssl.reporting.summary import summary_frame
from contextssl.reporting.tables import Cell, Table, pivot, to_html


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.8454, ".845"),
        (0.8456, ".846"),
        (1.0, "1.000"),
        (-0.06, "−.060"),
        (-0.0001, ".000"),
        (0.9999, "1.000"),
        (3.14159, "3.142"),
        (12.345, "12.35"),
        (123.45, "123.5"),
        (-45678.9, "−45,679"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_numbers_are_printed_without_leading_zeros(value: float | None, expected: str) -> None:
    assert number(value) == expected


def test_intervals_are_printed_as_half_widths_or_bounds_and_left_out_where_missing() -> None:
    assert with_margin(0.845, 0.841, 0.849) == ".845 ± .004"
    assert with_margin(0.845, None, None) == with_margin(0.845, math.nan, math.nan) == ".845"
    assert with_margin(math.nan, 0.1, 0.2) == "–"
    assert with_bounds(0.845, 0.841, 0.849) == ".845 [.841, .849]"


def test_what_a_metric_leaves_out_stands_apart_from_its_name() -> None:
    found = [metric_name(metric) for metric in ("hit@5", "hit@5(no identity)", "equalized_odds_difference(sex)", "own(sex)")]
    assert found == ["H@5", "H@5 (no identity)", "equalized-odds difference (sex)", "own (sex)"]


def test_metrics_of_groups_say_whose_they_are_and_which_way_is_better() -> None:
    printed = {
        "calibration_error(sex=Female)": ("calibration error (sex: Female)", "lower is better"),
        "calibration_error_difference(sex)": ("calibration difference (sex)", "lower is fairer"),
        "demographic_parity_difference(sex+race)": ("parity difference (sex and race)", "lower is fairer"),
        "equal_opportunity_difference": ("equal-opportunity difference", "lower is fairer"),
        "equalized_odds_difference_mean(sex)": ("mean equalized-odds difference (sex)", "lower is fairer"),
        "true_positive_rate(sex+marital_group=Female+never_married)": (
            "true-positive rate (sex and marital group: Female and never married)", "",
        ),
        "false_positive_rate(sex=Male)": ("false-positive rate (sex: Male)", "lower is better"),
        "selection_rate(sex=Male)": ("selection rate (sex: Male)", ""),
        "prediction_error": ("prediction error", "lower is better"),
        "auroc": ("AUROC", ""),
    }  # fmt: skip
    assert {metric: (metric_name(metric), direction(metric)) for metric in printed} == printed
    assert all(lower_is_better(metric) == bool(direction(metric)) and metric_meaning(metric) for metric in printed)


def test_a_pivot_averages_draws_within_seeds_and_seeds_then() -> None:
    values = {(0, 0): 0.1, (0, 1): 0.3, (1, 0): 0.4, (1, 1): 0.8}  # seed means .2 and .6
    rows = [
        row(v, target="sex", metric="auroc", context_length=14, seed=s, context_draw=d, floor=0.5) for (s, d), v in values.items()
    ]
    table = pivot(summary_frame(rows))
    assert table.rows == (("sex", "linear (raw)", "AUROC"),)
    assert table.columns == (("", "floor"), ("told nothing", "c = 14"))
    floor, cell = table.cells[0]
    assert floor.mean == 0.5
    assert cell.mean == pytest.approx(0.4)
    reach = 12.7062 * 0.4 / math.sqrt(2) / math.sqrt(2)  # t(.975, 1 degree) x sd / sqrt(seeds)
    assert (cell.low, cell.high) == pytest.approx((0.4 - reach, 0.4 + reach), abs=1e-4)


def test_a_single_number_keeps_its_own_interval() -> None:
    table = pivot(summary_frame([row(0.6, target="sex", metric="auroc", low=0.55, high=0.65)]))
    assert table.cells == ((Cell(0.6, 0.55, 0.65),),)


def test_rows_and_columns_are_put_in_order_and_holes_are_dashes() -> None:
    rows = [
        row(0.4, target="sex", metric="auroc", probe="knn-10", environment="none", context_length=126),
        row(0.3, target="sex", metric="auroc", probe="linear", environment="none", context_length=2),
        row(0.2, target="sex", metric="auroc", probe="linear", environment="sex", context_length=2),
        row(0.1, target="sex", metric="auroc", probe="linear", environment="-", control="empty"),
    ]
    assert markdown_table(rows, rows=("probe",)) == (
        "| probe | no context, c = 0 | told sex, c = 2 | told nothing, c = 2 | told nothing, c = 126 |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| linear (raw) | .100 | .200 | .300 | – |\n"
        "| kNN, k = 10 | – | – | – | .400 |\n"
    )


def test_controls_are_left_out_unless_asked_for() -> None:
    rows = [
        row(0.9, target="sex", metric="auroc", environment="sex", context_length=2),
        row(0.7, target="sex", metric="auroc", environment="sex", context_length=2, control="shuffled"),
    ]
    assert ".700" not in markdown_table(rows) and ".900" in markdown_table(rows)
    assert ".700" in markdown_table(rows, control="shuffled")
    assert "| shuffled actions | .700 |" in markdown_table(rows, rows=("control",), columns=("environment",))


def test_a_filter_keeps_exactly_what_it_names() -> None:
    rows = [row(n / 1000, target="sex", metric="auroc", environment="sex", context_length=n) for n in (2, 14, 126)]
    text = markdown_table(rows, context_length=[2, 126])
    assert ".002" in text and ".126" in text and ".014" not in text
    with pytest.raises(ValueError, match="no column 'lenght'"):
        markdown_table(rows, lenght=2)


def test_two_numbers_for_one_cell_are_refused_with_what_tells_them_apart() -> None:
    rows = [row(0.1, target="sex", metric="auroc", split=split) for split in ("validation", "test")]
    with pytest.raises(ValueError, match="they differ in split"):
        markdown_table(rows)


def test_html_has_the_same_numbers_merged_headings_and_escaped_names() -> None:
    rows = [
        row(0.25, target="a<b", metric=metric, environment=environment, context_length=2)
        for metric in ("auroc", "accuracy")
        for environment in ("sex", "none")
    ]
    text = html_table(rows, columns=("context_length", "environment"))
    assert text.count(".250") == 4
    assert '<th colspan="2" scope="col">c = 2</th>' in text
    assert "a&lt;b" in text and "a<b" not in text
    assert text.count("a&lt;b") == 1  # the label of the second line repeats and is left blank


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        ((("R2", ""), ("AUROC", "")), [["method", "R2", "AUROC"]]),
        ((("", "R2"), ("", "AUROC")), [["method", "R2", "AUROC"]]),
        ((("told", "R2"), ("told", "")), [["method", "told"], ["R2", ""]]),
        ((("",),), [["method", ""]]),
    ],
)
def test_a_level_of_headings_without_a_word_is_no_line(columns: tuple[tuple[str, ...], ...], lines: list[list[str]]) -> None:
    text = to_html(Table(("method",), columns, (("ours",),), ((Cell(0.5),) * len(columns),)))
    head = text.partition("<thead>")[2].partition("</thead>")[0]
    assert [re.findall(">([^<>]*)</th>", line) for line in head.splitlines() if line] == lines
    assert f'rowspan="{len(lines)}"' in head

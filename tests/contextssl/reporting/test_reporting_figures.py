"""What figures draw equals what was put in: inspected on the axes, not on pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from synthetic_results import LENGTHS, adult_rows, row, vision_rows

from contextssl.reporting import figures, style
from contextssl.reporting.comparison import fairness_points
from contextssl.reporting.summary import Readout, Study

SEX = Readout("sex", "linear", "auroc")


def study_of(rows: list) -> Study:
    study = Study.of(rows)
    assert study is not None
    return study


def line(axes: Axes, label: str) -> Line2D:
    return next(found for found in axes.get_lines() if found.get_label() == label)


def test_lines_bands_floor_and_controls_are_the_numbers_of_the_results() -> None:
    told, untold = (0.9, 0.92, 0.95, 0.97, 0.99), (0.9, 0.7, 0.6, 0.58, 0.57)
    rows = [row(0.9, target="sex", metric="auroc", environment="-", control="empty", floor=0.5, seed=s) for s in (0, 1)]
    for environment, values in (("sex", told), ("none", untold)):
        for length, value in zip(LENGTHS[1:], values[1:], strict=True):
            for seed, shift in ((0, -0.01), (1, 0.01)):
                where = {"environment": environment, "context_length": length, "seed": seed, "floor": 0.5}
                rows.append(row(value + shift, target="sex", metric="auroc", **where))
    rows.append(row(0.8, target="sex", metric="auroc", environment="sex", context_length=126, control="shuffled"))
    axes = figures.context_curves(study_of(rows), SEX).axes[0]
    for environment, values in (("sex", told), ("none", untold)):
        assert np.asarray(line(axes, environment).get_xdata()).tolist() == [0, 1, 2, 3, 4]
        assert np.asarray(line(axes, environment).get_ydata()) == pytest.approx(values)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "2", "14", "30", "126"]
    assert line(axes, "floor").get_ydata() == [0.5, 0.5]
    assert np.asarray(line(axes, "sex shuffled").get_ydata()).tolist() == [0.8]
    reach = 12.7062 * 0.01  # t(.975, 1 degree) x .01 sqrt(2) / sqrt(2)
    heights = [collection.get_paths()[0].vertices[:, 1] for collection in axes.collections]
    expected = sorted([*told[1:], *untold[1:]])
    assert max(heights[0].max(), heights[1].max()) == pytest.approx(max(expected) + reach, abs=1e-4)
    assert min(heights[0].min(), heights[1].min()) == pytest.approx(min(expected) - reach, abs=1e-4)


def test_the_story_has_a_panel_a_group_and_a_line_an_environment_that_tells_one() -> None:
    rows = vision_rows()
    study = study_of(rows)
    readouts = [study.readout(target) for target in study.headline_targets]
    assert readouts == [Readout("rotation", "linear", "r2_dim_mean"), Readout("color", "linear", "r2_dim_mean")]
    readouts = [Readout(target, "linear", "r2_pooled") for target in ("rotation", "color")]
    panels = figures.context_story(study, readouts).axes
    for axes, readout, floor in zip(panels, readouts, (0.229, 0.0), strict=True):
        measured = [r for r in rows if (r.target, r.probe, r.metric) == readout]
        labels = [found.get_label() for found in axes.get_lines()]
        assert labels == ["rotation", "color", "floor", "rotation wrong-group"]
        for environment in ("rotation", "color"):
            at = [
                [r.value for r in measured if r.context_length == n and r.control == "true" and r.environment == environment]
                for n in LENGTHS[1:]
            ]
            start = [r.value for r in measured if r.control == "empty"]
            expected = [sum(values) / 3 for values in [start, *at]]
            assert all(len(values) == 3 for values in [start, *at])
            assert np.asarray(line(axes, environment).get_ydata()) == pytest.approx(expected)
        assert line(axes, "floor").get_ydata() == [floor, floor]
        wrong = [r.value for r in measured if r.control == "wrong-group"]
        assert np.asarray(line(axes, "rotation wrong-group").get_ydata()) == pytest.approx([sum(wrong) / 3])
        assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "2", "14", "30", "126"]
        assert line(axes, "rotation").get_color() == style.COLOURS[0] and line(axes, "color").get_color() == style.COLOURS[1]
    assert [axes.get_legend() is not None for axes in panels] == [True, False]


def test_bands_of_few_draws_do_not_decide_the_scale() -> None:
    rows = [row(v, target="sex", metric="auroc", environment="-", control="empty", floor=0.5) for v in (0.9,)]
    for length, pair in ((2, (0.6, 0.8)), (14, (0.70, 0.72))):
        for draw, value in enumerate(pair):
            where = {"environment": "sex", "context_length": length, "context_draw": draw, "floor": 0.5}
            rows.append(row(value, target="sex", metric="auroc", **where))
    axes = figures.context_curves(study_of(rows), SEX).axes[0]
    low, high = axes.get_ylim()  # the interval at two tokens reaches from -.57 to 1.97
    assert 0.3 < low < 0.5 and 0.9 < high < 1.1


def test_one_draw_of_one_seed_is_drawn_without_band() -> None:
    axes = figures.context_curves(study_of(adult_rows((0,), (0,))), SEX).axes[0]
    assert np.isfinite(np.asarray(line(axes, "sex").get_ydata(), dtype=float)).all()
    assert all(np.isfinite(limit) for limit in axes.get_ylim())


def test_missing_lengths_and_values_leave_gaps_not_errors() -> None:
    rows = [row(0.5, target="sex", metric="auroc", environment="sex", context_length=2)]
    rows += [
        row(v, target="sex", metric="auroc", environment="none", context_length=n) for n, v in ((2, 0.4), (14, float("nan")))
    ]
    axes = figures.context_curves(study_of(rows), SEX).axes[0]
    assert np.asarray(line(axes, "sex").get_xdata()).tolist() == [0]
    assert np.asarray(line(axes, "none").get_ydata()).tolist() == [0.4]


def test_all_probes_of_a_metric_share_a_scale_and_differences_start_at_zero() -> None:
    study = study_of(adult_rows())
    limits = {figures.context_curves(study, readout).axes[0].get_ylim() for readout in study.readouts("sex")}
    assert len(limits) == 1
    assert figures.context_curves(study, study.readout("income", "equalized_odds_difference(sex)")).axes[0].get_ylim()[0] == 0


def test_the_plane_shows_each_method_at_its_own_numbers_and_leaves_out_constant_predictors() -> None:
    study = study_of(adult_rows())
    points = {point.label: point for point in fairness_points(study, "income", "equalized_odds_difference(sex)") if point.label}
    assert points["gradient boosting"].x == pytest.approx((0.068, 0.062, 0.074))
    assert points["gradient boosting"].y == pytest.approx((0.873, 0.867, 0.879))
    assert "majority" not in points
    cell = study.cell(study.readout("income"), "none", 126)
    assert cell is not None and points["told nothing, c = 126"].y[0] == cell["mean"]
    axes = figures.utility_plane(list(points.values()), "t", "x", "y").axes[0]
    drawn = {(x[0], y[0]) for x, y in (mark.get_data() for mark in axes.get_lines()) if len(x) == 1}
    assert drawn == {(point.x[0], point.y[0]) for point in points.values()}


def test_labels_in_the_plane_do_not_overlap() -> None:
    study = study_of(adult_rows())
    drawing = figures.utility_plane(fairness_points(study, "income", "equalized_odds_difference(sex)"), "t", "x", "y")
    drawing.canvas.draw()
    boxes = [text.get_window_extent() for text in drawing.axes[0].texts]
    assert len(boxes) == 7
    assert not [1 for i, one in enumerate(boxes) for other in boxes[:i] if one.overlaps(other)]
    assert all(drawing.bbox.x0 <= box.x0 and box.x1 <= drawing.bbox.x1 for box in boxes)


def test_training_curves_are_the_logged_values_and_log_scaled_only_over_wide_ranges() -> None:
    narrow = figures.training_curves("loss", {"total": ([10, 20], [3.0, 2.0])}).axes[0]
    assert np.asarray(line(narrow, "total").get_xydata()).tolist() == [[10, 3], [20, 2]]
    assert narrow.get_yscale() == "linear"
    assert figures.training_curves("lr", {"lr": ([10, 20], [1e-2, 1e-5])}).axes[0].get_yscale() == "log"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_spread_labels_keep_order_and_distance_and_centre(positions: list[float]) -> None:
    positions = sorted(positions)
    moved = style.spread(positions, 0.1)
    assert all(after - before >= 0.1 - 1e-9 for before, after in zip(moved, moved[1:], strict=False))
    assert sum(moved) == pytest.approx(sum(positions))


def test_labels_that_are_far_apart_stay_where_they_are() -> None:
    assert style.spread([0.1, 0.5, 0.9], 0.1) == [0.1, 0.5, 0.9]
    assert style.spread([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1, 2), min_size=1, max_size=6))
def test_labels_pushed_inside_keep_order_and_distance_and_stay_where_they_fit(positions: list[float]) -> None:
    apart = style.spread(sorted(positions), 0.1)
    moved = style.within(apart, 0.1)
    assert all(after - before >= 0.1 - 1e-9 for before, after in zip(moved, moved[1:], strict=False))
    assert moved[0] >= -1e-9 and moved[-1] <= 0.95 + 1e-9
    if apart[0] >= 0 and apart[-1] <= 0.95:
        assert moved == apart


def test_equal_figures_are_equal_files() -> None:
    study = study_of(adult_rows())
    drawings = [figures.context_curves(study, SEX) for _ in range(2)]
    assert style.svg_of(drawings[0]) == style.svg_of(drawings[1])
    assert style.png_of(drawings[0]) == style.png_of(drawings[1])


@settings(max_examples=25, deadline=None)
@given(names=st.lists(st.text("mil ", min_size=1, max_size=24), min_size=1, max_size=4), single=st.booleans())
def test_labels_beside_lines_stay_in_their_panel(names: list[str], single: bool) -> None:
    """Whatever they say: the axes give way. Beside two panels, the first one's labels end before the second one's ticks."""
    figure, panels = (lambda f, a: (f, [a]))(*style.panel("t", "")) if single else style.panel_row(["a", "b"], "")
    before = [axes.get_position().x1 for axes in panels]
    for axes in panels:
        axes.set_xlim(0, 1)
        style.label_lines(axes, [style.LineLabel(0.5, name, "k") for name in names])
    figure.set_dpi(200)
    renderer = FigureCanvasAgg(figure).get_renderer()
    edges = [panels[1].get_tightbbox(renderer).x0, figure.bbox.x1] if not single else [figure.bbox.x1]
    for axes, edge, old in zip(panels, edges, before, strict=True):
        ends = [text.get_window_extent(renderer).x1 for text in axes.texts]
        assert max(ends) <= edge
        assert axes.get_position().x1 <= old
        if max(map(len, names)) <= 3:
            assert axes.get_position().x1 == old


def test_a_quantity_that_was_logged_once_is_a_mark() -> None:
    drawn = figures.training_curves("rank", {"once": ([40], [3.0]), "often": ([10, 20], [1.0, 2.0])}).axes[0]
    assert line(drawn, "once").get_marker() == "o" and line(drawn, "often").get_marker() == ""

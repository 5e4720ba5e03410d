from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from cellnet.evaluation import plots
from cellnet.evaluation.calibration import reliability_bins
from cellnet.evaluation.figures import Scored
from cellnet.evaluation.intervals import Estimate, wilson
from cellnet.evaluation.selective import risk_coverage
from cellnet.labels import LabelSchema

NAMES = ("ig", "a$b$\\frac{1}", "x" * 60)


def texts(figure: Figure) -> str:
    figure.draw_without_rendering()
    axes = figure.axes
    return " ".join(t.get_text() for a in axes for t in (*a.texts, *a.get_xticklabels(), *a.get_yticklabels()))


def test_confusion_matrix_shows_counts_and_names_that_are_no_formulas() -> None:
    shown = texts(plots.confusion_matrix([[1200, 3, 0], [0, 7, 0], [0, 0, 0]], NAMES))
    assert "1,200" in shown
    assert "a$b$\\frac{1}" in shown
    assert "x" * 19 + "…" in shown


def test_shades_keep_right_shares_and_lift_rare_mistakes() -> None:
    depth = plots.shades([[999, 1], [0, 0]])
    assert depth[0, 0] == pytest.approx(0.999)
    assert depth[0, 1] == pytest.approx(0.1)
    assert depth[1].tolist() == [0, 0]


def test_intervals_leave_room_for_all_of_them() -> None:
    targets, called = np.repeat([0, 0, 1, 1], [50, 2, 9, 40]), np.repeat([0, 1, 0, 1], [50, 2, 9, 40])
    probabilities = np.eye(3, dtype=np.float32)[called]
    figures = Scored(LabelSchema.from_names(NAMES), probabilities, targets, targets >= 0).per_class()
    figure = plots.per_class_intervals(figures)
    lowest = min(f[key].low for f in list(figures.values())[:2] for key in ("precision", "recall", "f1"))
    assert figure.axes[0].get_xlim()[0] <= lowest
    assert "(52)" in texts(figure)
    assert "(0)" in texts(figure)


@pytest.mark.parametrize(
    ("lows", "start"), [([0.991], 0.95), ([0.95], 0.95), ([0.8], 0.8), ([0.0], 0.0), ([np.nan], 0)]
)
def test_axis_starts_at_a_round_number_below_all(lows: list[float], start: float) -> None:
    assert plots.axis_start(lows) == start


def test_reliability_draws_filled_bins_only() -> None:
    figure = plots.reliability(reliability_bins([[0.9, 0.1], [0.65, 0.35]], [0, 1]))
    assert len(figure.axes[1].patches) == 2


def figures(coverage: int = 100, right: int = 100, n: int = 100) -> dict[str, Estimate]:
    return {"coverage": wilson(coverage, n), "accepted_accuracy": wilson(right, coverage)}


def test_the_risk_coverage_curve_shows_what_the_model_accepts() -> None:
    confidence = np.linspace(0.99, 0.6, 100)
    points = risk_coverage(np.stack([confidence, 1 - confidence], 1), [0] * 90 + [1] * 10)
    [axes] = plots.risk_coverage(points, figures()).axes
    [line] = axes.lines
    assert line.get_xdata()[-1] == 1
    assert line.get_ydata()[-1] == pytest.approx(0.1)
    [axes] = plots.risk_coverage(points, figures(80, 79)).axes
    _, across, upwards = axes.lines
    assert across.get_ydata() == pytest.approx([1 / 80] * 2)
    assert upwards.get_xdata() == pytest.approx([0.8] * 2)
    assert axes.get_ylim()[1] >= max(upwards.get_ydata())
    assert plots.describe_risk_coverage(points) == (
        "Of the images accepted, wrong are: 0.0 % if 50 % are accepted, 0.0 % if 80 % are accepted, 0.0 % if 90 % are "
        "accepted, 5.3 % if 95 % are accepted, 10.0 % if 100 % are accepted."
    )


def test_a_model_that_accepts_nothing_has_no_cross() -> None:
    [axes] = plots.risk_coverage(risk_coverage([[0.9, 0.1]], [0]), figures(0, 0)).axes
    assert len(axes.lines) == 1
    assert plots.describe_risk_coverage(risk_coverage([[0.9, 0.1]], [0])).endswith("0.0 % if 100 % are accepted.")


@pytest.mark.parametrize("epochs", [1, 3, 20])
def test_curves_draw_the_columns_that_are_there(epochs: int) -> None:
    history = [{"epoch": e, "train_loss": 1 / (e + 1), "val_accuracy": "0.5", "lr": 1e-3} for e in range(epochs)]
    left, right = plots.training_curves(history).axes
    assert [line.get_label() for line in left.lines] == ["training loss"]
    assert [line.get_label() for line in right.lines] == ["validation accuracy"]
    assert len(left.lines[0].get_xdata()) == epochs


HISTORY = [
    {"epoch": e, "train_loss": 2 / e, "val_loss": 1.5 / e, "val_accuracy": 1 - 0.5 / e, "val_macro_f1": 1 - 0.6 / e}
    for e in (1, 2, 3, 4, 5)
]


def test_the_chosen_epoch_is_marked_with_what_it_reached() -> None:
    for axes, labels in zip(
        plots.training_curves(HISTORY, best_epoch=4).axes,
        (["training loss 0.5", "validation loss 0.375"], ["validation accuracy 87.5%", "validation macro F1 85.0%"]),
        strict=True,
    ):
        *curves, mark = axes.lines
        assert [line.get_label() for line in curves] == labels
        assert list(mark.get_xdata()) == [4, 4]
        assert axes.get_title("right") == "marked: epoch 4, the chosen one"
        assert [text.get_text() for text in axes.get_legend().get_texts()] == labels
        assert {round(tick, 6) % 1 for tick in axes.get_xticks()} == {0}


def test_an_epoch_that_is_not_there_is_not_marked() -> None:
    assert [len(axes.lines) for axes in plots.training_curves(HISTORY, best_epoch=6).axes] == [2, 2]


def test_a_wild_epoch_leaves_the_others_legible() -> None:
    wild = [*HISTORY, HISTORY[-1] | {"epoch": 6, "val_loss": 50.0}]
    assert [plots.training_curves(rows).axes[0].get_yscale() for rows in (HISTORY, wild)] == ["linear", "log"]


def test_curves_in_words() -> None:
    assert plots.describe_curves(HISTORY[:3], best_epoch=2) == (
        "Curves from epoch 1 to 3; epoch 2 was chosen. Training loss: from 2 to 0.667, chosen 1. "
        "Validation loss: from 1.5 to 0.5, chosen 0.75. Validation accuracy: from 50.0% to 83.3%, chosen 75.0%. "
        "Validation macro F1: from 40.0% to 80.0%, chosen 70.0%."
    )
    assert plots.describe_curves([{"epoch": 1, "train_loss": "0.5"}]) == (
        "Curves from epoch 1 to 1. Training loss: from 0.5 to 0.5."
    )


def test_curves_of_a_history_without_figures_are_empty_axes() -> None:
    assert not any(axes.lines for axes in plots.training_curves([{"epoch": 1}]).axes)

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import cellnet
from cellnet.errors import ConfigError, DataError, LabelError
from cellnet.evaluation import ModelComparison, Report, compare, metrics
from cellnet.evaluation.clusters import Units
from cellnet.evaluation.compare import points
from cellnet.evaluation.intervals import Estimate
from cellnet.evaluation.paired import paired_bootstrap
from cellnet.inference import Predictions
from cellnet.labels import LabelSchema

SCHEMA = LabelSchema.from_names(["lymphocyte", "monocyte", "blast"])
FIGURES = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1}


def answers(seed: int, n: int = 300, error: float = 0.1) -> np.ndarray:
    """Labels of a model; the targets are 0, 1, 2, 0, ..."""
    rng, targets = np.random.default_rng(seed), np.arange(n) % 3
    return np.where(rng.random(n) < error, (targets + rng.integers(1, 3, n)) % 3, targets)


def predictions(called: np.ndarray, schema: LabelSchema = SCHEMA, **columns) -> Predictions:
    n = len(called)
    columns = {"files": [f"cell{i}.jpg" for i in range(n)], "targets": np.arange(n) % 3} | columns
    return Predictions(schema=schema, probabilities=np.eye(3)[called] * 0.7 + 0.1, **columns)


@pytest.fixture
def comparison() -> ModelComparison:
    return compare(
        *(predictions(answers(seed, error=error)) for seed, error in ((0, 0.05), (1, 0.1), (2, 0.12))),
        names=["hybrid", "cnn", "vgg"],
    )


def test_every_two_models_have_differences_and_an_exact_test(comparison: ModelComparison) -> None:
    targets = np.arange(300) % 3
    called = {"hybrid": answers(0, error=0.05), "cnn": answers(1, error=0.1), "vgg": answers(2, error=0.12)}
    pairs = [("hybrid", "cnn"), ("hybrid", "vgg"), ("cnn", "vgg")]
    p_values = []
    for one, (first, second) in zip(comparison.differences, pairs, strict=True):
        assert (one.test.first, one.test.second) == (first, second)
        a, b = (called[name] == targets for name in (first, second))
        assert (one.test.only_first, one.test.only_second) == ((a & ~b).sum(), (b & ~a).sum())
        p_values.append(stats.binomtest(one.test.only_first, one.test.only_first + one.test.only_second).pvalue)
        assert one.test.p == pytest.approx(p_values[-1])
        matrices = [metrics.confusion_matrix(targets, called[name], 3) for name in (first, second)]
        for name in ("accuracy", "macro_f1", "balanced_accuracy"):
            function = getattr(metrics, name)
            assert one.figures[name].value == pytest.approx(float(function(matrices[0]) - function(matrices[1])))
            assert one.figures[name].low < one.figures[name].value < one.figures[name].high
    assert sorted(one.test.p_holm for one in comparison.differences)[0] == pytest.approx(min(1, 3 * min(p_values)))


def test_each_model_has_the_figures_of_its_report(comparison: ModelComparison) -> None:
    report = Report.from_predictions(predictions(answers(1, error=0.1)))
    assert comparison.models["cnn"] == {name: report.metrics[name] for name in comparison.models["cnn"]}
    assert (comparison.n, comparison.unreadable, comparison.grouped) == (300, 0, False)


def test_intervals_agree_with_resampling_pairs_of_answers() -> None:
    a, b, targets = answers(0, 1500, 0.06), answers(0, 1500, 0.1), np.arange(1500) % 3
    rng = np.random.default_rng(0)
    naive: dict[str, list[float]] = {name: [] for name in FIGURES}
    for _ in range(1500):
        rows = rng.integers(0, 1500, 1500)
        matrices = [metrics.confusion_matrix(targets[rows], called[rows], 3) for called in (a, b)]
        for name, function in FIGURES.items():
            naive[name].append(float(function(matrices[0]) - function(matrices[1])))
    for name, found in paired_bootstrap(targets, a, b, 3, FIGURES).items():
        assert (found.low, found.high) == pytest.approx(tuple(np.quantile(naive[name], [0.025, 0.975])), abs=0.004)


def test_models_that_agree_may_still_differ_a_little() -> None:
    called, targets = answers(0, 60, 0.0), np.arange(60) % 3
    found = paired_bootstrap(targets, called, called, 3, FIGURES)["accuracy"]
    assert found.value == 0
    assert -0.08 < found.low < -0.01
    assert 0.01 < found.high < 0.08


def test_copies_in_groups_say_no_more_than_the_images() -> None:
    a, b, targets = answers(0), answers(1, error=0.15), np.arange(300) % 3
    single = paired_bootstrap(targets, a, b, 3, FIGURES)["macro_f1"]
    copied = [np.repeat(each, 4) for each in (targets, a, b)]
    units = Units.of(np.repeat(np.arange(300), 4).tolist(), 1200)
    grouped = paired_bootstrap(*copied, 3, FIGURES, units=units)["macro_f1"]
    naive = paired_bootstrap(*copied, 3, FIGURES)["macro_f1"]
    assert grouped.high - grouped.low == pytest.approx(single.high - single.low, rel=0.1)
    assert naive.high - naive.low == pytest.approx((single.high - single.low) / 2, rel=0.1)


def test_groups_are_resampled_as_a_whole_and_the_table_says_so() -> None:
    groups = [f"donor {i // 30}" for i in range(300)]
    result = compare(predictions(answers(0), groups=groups), predictions(answers(1)))
    assert result.grouped
    assert "groups of images" in result.method
    assert "those of one group are not" in " ".join(str(result).split())


def test_rows_and_classes_may_stand_in_another_order(comparison: ModelComparison) -> None:
    order = np.random.default_rng(0).permutation(300)
    other = LabelSchema.from_names(["blast", "Lymphocyte", "monocytes"])
    called, targets = answers(1, error=0.1), np.arange(300) % 3
    shuffled = predictions(
        ((called + 1) % 3)[order], other, files=[f"cell{i}.jpg" for i in order], targets=((targets + 1) % 3)[order]
    )
    first = predictions(answers(0, error=0.05))
    again = compare(first, shuffled, names=["hybrid", "cnn"])
    assert again.differences[0].figures == comparison.differences[0].figures
    assert again.models["cnn"]["accuracy"] == comparison.models["cnn"]["accuracy"]


def test_images_that_a_model_could_not_read_are_left_out() -> None:
    a, b = predictions(answers(0)), predictions(answers(1))
    table = b.probabilities.copy()
    table[7] = np.nan
    errors = [None] * 300
    errors[7] = "cut off"
    b = Predictions(b.files, SCHEMA, table, errors, targets=b.targets)
    result = compare(a, b)
    assert (result.n, result.unreadable) == (299, 1)


def test_names_are_those_given_or_the_titles_or_numbers() -> None:
    a, b = predictions(answers(0)), predictions(answers(1))
    assert list(compare(a, b).models) == ["model 1", "model 2"]
    reports = [Report.from_predictions(one, title=title) for one, title in ((a, "old"), (b, "new"))]
    assert list(cellnet.compare(*reports).models) == ["old", "new"]
    assert list(compare(reports[0], reports[0]).models) == ["model 1", "model 2"]


def test_one_image_and_one_class() -> None:
    schema = LabelSchema.from_names(["cell"])
    one = Predictions(["a.jpg"], schema, [[1.0]], targets=[0])
    difference = compare(one, one).differences[0]
    assert difference.figures["accuracy"] == Estimate(0, 0, 0)  # of one class nothing can be mistaken
    assert difference.test.p == 1
    first, second = (Predictions(["a"], SCHEMA, [row], targets=[0]) for row in ([0.8, 0.1, 0.1], [0.1, 0.8, 0.1]))
    accuracy = compare(first, second).differences[0].figures["accuracy"]
    assert accuracy.value == 1
    assert accuracy.low < 0.6


@pytest.mark.parametrize(
    ("others", "error", "message"),
    [
        ([], ConfigError, "at least two"),
        ([predictions(answers(0, 299))], DataError, r"300 and 299 rows; cell299\.jpg is in one only"),
        ([predictions(answers(0), files=["a.jpg"] * 300)], DataError, "other images"),
        (
            [predictions(answers(0), targets=(np.arange(300) + 1) % 3)],
            DataError,
            "is a lymphocyte for model 1 and a mono",
        ),
        ([predictions(answers(0), targets=None)], DataError, "column 'target'"),
        (
            [predictions(answers(0), LabelSchema.from_names(["lymphocyte", "monocyte", "platelet"]))],
            LabelError,
            r"dataset\.harmonise\(model\.labels\)",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(others: list[Predictions], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        compare(predictions(answers(0)), *others)


def test_nothing_that_all_could_read_is_refused() -> None:
    first = Predictions(["a", "b"], SCHEMA, [[1, 0, 0], [np.nan] * 3], [None, "bad"], targets=[0, 0])
    second = Predictions(["a", "b"], SCHEMA, [[np.nan] * 3, [1, 0, 0]], ["bad", None], targets=[0, 0])
    with pytest.raises(DataError, match="no image among 2 that all models could read"):
        compare(first, second)
    empty = Predictions([], SCHEMA, [], targets=[])
    with pytest.raises(DataError, match="no image among 0"):
        compare(empty, empty)


def test_each_model_needs_a_name_of_its_own() -> None:
    one = predictions(answers(0))
    for names in (["a"], ["a", "a"]):
        with pytest.raises(ConfigError, match="a name of its own"):
            compare(one, one, names=names)


def test_it_is_shown_saved_and_drawn(comparison: ModelComparison, tmp_path: Path) -> None:
    text = str(comparison)
    assert max(map(len, text.splitlines())) <= 100
    assert "hybrid − cnn: right alone" in text
    assert points(comparison.differences[0].figures["macro_f1"]) in text
    path = comparison.save(tmp_path / "new")
    assert {file.name for file in path.parent.iterdir()} == {"comparison.json", "differences.csv", "differences.png"}
    saved = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert saved == json.loads(json.dumps(comparison.to_dict()))
    assert saved["models"]["cnn"]["accuracy"] == comparison.models["cnn"]["accuracy"].to_dict()
    assert saved["differences"][0]["figures"]["macro_f1"] == comparison.differences[0].figures["macro_f1"].to_dict()
    with (path.parent / "differences.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["first"], row["second"]) for row in rows][-1] == ("cnn", "vgg")
    assert float(rows[0]["accuracy_low"]) == comparison.differences[0].figures["accuracy"].low
    figure = comparison.plot()
    figure.draw_without_rendering()
    assert [axes.get_title("left") for axes in figure.axes] == ["accuracy", "macro F1", "balanced accuracy"]
    assert figure.axes[0].get_yticklabels()[0].get_text() == "hybrid − cnn"


def test_long_names_fit() -> None:
    result = compare(predictions(answers(0)), predictions(answers(1)), names=["x" * 60, "y" * 60])
    assert max(map(len, str(result).splitlines())) <= 100


def test_long_paths_are_told_apart() -> None:
    runs = [f"runs/a_long_experiment_of_our_laboratory/{kind}/predictions.csv" for kind in ("first", "second")]
    seeds = [f"a_long_experiment_of_our_laboratory_seed_{seed}" for seed in (0, 1)]
    either = [f"{seed}_seen_beside_one_another_for_long_{seed}_" + "x" * 30 for seed in ("a", "b")]
    alike = [f"{'x' * 30}_{kind}_{'y' * 30}" for kind in ("first", "second")]
    for names, first, second in (
        (runs, "first", "second"),
        (seeds, "…" + seeds[0][-27:], "…" + seeds[1][-27:]),
        (either, either[0][:27] + "…", either[1][:27] + "…"),
        (alike, *alike),
    ):
        result = compare(predictions(answers(0)), predictions(answers(1)), names=names)
        assert f"{first} − {second}: right alone" in str(result)
        assert str(result.differences[0]).startswith(f"{first} − {second}: right alone")
        (label,) = result.plot().axes[0].get_yticklabels()
        assert len(set(label.get_text().split(" − "))) == 2
        assert list(result.to_dict()["models"]) == names

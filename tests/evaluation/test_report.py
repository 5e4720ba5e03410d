from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from cellnet.errors import ConfigError, DataError
from cellnet.evaluation import Estimate, Report
from cellnet.inference import Predictions
from cellnet.labels import PBC_LABELS, LabelSchema

HISTORY = [{"epoch": e, "train_loss": 1 / e, "val_loss": 1.1 / e, "val_accuracy": 1 - 0.5 / e} for e in (1, 2, 3)]


def predictions(n: int = 160, seed: int = 0, unreadable: tuple[int, ...] = (3, 50), sure: float = 3.0) -> Predictions:
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % 7  # no platelet
    logits = rng.normal(0, 1, (n, 8))
    logits[np.arange(n), targets] += sure
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    errors: list[str | None] = [None] * n
    for row in unreadable:
        probabilities[row], errors[row] = np.nan, "cut off"
    abstain = ~(probabilities.max(1) > 0.5)
    files = [f"class/{i:03d}.jpg" for i in range(n)]
    return Predictions(files, PBC_LABELS, probabilities, errors, abstain=abstain, targets=targets)


@pytest.fixture
def report() -> Report:
    return Report.from_predictions(
        predictions(), title="Trial", dataset="PBC", part="test", notes=["No donor ids."], history=HISTORY
    )


@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:The y_prob values")  # scikit-learn's own
def test_figures_equal_scikit_learns_on_the_readable_images(report: Report) -> None:
    preds = report.predictions
    known = preds.readable
    targets, called = preds.targets[known], preds.probabilities[known].argmax(1)
    present = range(7)
    expected = {
        "accuracy": sk.accuracy_score(targets, called),
        "balanced_accuracy": sk.balanced_accuracy_score(targets, called),
        "macro_f1": sk.f1_score(targets, called, average="macro", labels=present),
        "weighted_f1": sk.f1_score(targets, called, average="weighted", labels=present),
        "macro_precision": sk.precision_score(targets, called, average="macro", labels=present),
        "macro_recall": sk.recall_score(targets, called, average="macro", labels=present),
        "weighted_precision": sk.precision_score(targets, called, average="weighted", labels=present),
        "weighted_recall": sk.recall_score(targets, called, average="weighted", labels=present),
        "kappa": sk.cohen_kappa_score(targets, called),
        "mcc": sk.matthews_corrcoef(targets, called),
        "nll": sk.log_loss(targets, preds.probabilities[known].astype(float), labels=range(8)),
        "coverage": 1 - preds.abstain[known].mean(),
        "accepted_accuracy": (targets == called)[~preds.abstain[known]].mean(),
        "top_2_accuracy": sk.top_k_accuracy_score(targets, preds.probabilities[known], k=2, labels=range(8)),
        "macro_roc_auc": np.mean([sk.roc_auc_score(targets == c, preds.probabilities[known, c]) for c in present]),
        "macro_average_precision": np.mean(
            [sk.average_precision_score(targets == c, preds.probabilities[known, c]) for c in present]
        ),
    }
    for name, value in expected.items():
        assert report.metrics[name].value == pytest.approx(value, abs=1e-6), name
    assert set(report.metrics) == {*expected, "ece", "classwise_ece", "brier", "aurc"}
    assert report.accuracy == report.metrics["accuracy"] == report.metrics["weighted_recall"]
    assert np.array_equal(report.confusion, sk.confusion_matrix(targets, called, labels=range(8)))
    assert report.confusion.dtype == np.int64
    for label, figure in enumerate(sk.f1_score(targets, called, average=None, labels=present)):
        assert report.per_class[PBC_LABELS.names[label]]["f1"].value == pytest.approx(figure, abs=1e-12)


def test_every_interval_holds_its_value(report: Report) -> None:
    estimates = [*report.metrics.values()]
    estimates += [e for f in report.per_class.values() for e in f.values() if isinstance(e, Estimate)]
    for estimate in estimates:
        assert math.isnan(estimate.value) or estimate.low <= estimate.value <= estimate.high
    assert all(e.low < e.high for e in report.metrics.values())


def test_unreadable_images_are_counted_and_listed_not_scored(report: Report) -> None:
    assert (report.n, report.unreadable) == (158, [3, 50])
    assert not {3, 50} & {*report.worst(1000), *report.least_certain(1000), *report.typical()}


def test_an_absent_class_is_n_0_and_nan(report: Report) -> None:
    platelet = report.per_class["platelet"]
    assert platelet["n"] == 0
    assert all(math.isnan(platelet[key].value) for key in ("precision", "recall", "f1", "npv"))
    assert platelet["specificity"].value > 0.9


def test_mistakes_come_worst_first(report: Report) -> None:
    preds = report.predictions
    worst = report.worst(1000)
    assert len(worst) == report.n - np.trace(report.confusion)
    assert all(preds.probabilities[i].argmax() != preds.targets[i] for i in worst)
    certainty = [preds.probabilities[i].max() for i in worst]
    assert certainty == sorted(certainty, reverse=True)
    assert report.worst(2) == worst[:2]
    typical = report.typical()
    assert [preds.targets[i] for i in typical] == sorted({preds.targets[i] for i in typical})
    assert preds.probabilities[report.least_certain(1)[0]].max() == np.nanmin(preds.probabilities.max(1))


def test_most_confused_counts_pairs(report: Report) -> None:
    true, label, count = report.most_confused(1)[0]
    assert report.confusion[PBC_LABELS.index(true), PBC_LABELS.index(label)] == count
    off_diagonal = report.confusion - np.diag(np.diag(report.confusion))
    assert count == off_diagonal.max()
    assert sum(c for *_, c in report.most_confused(100)) == off_diagonal.sum()


def test_mistakes_within_and_across_lineages(report: Report) -> None:
    within, across = report.lineage_errors() or (0, 0)
    granulocytes = [PBC_LABELS.index(n) for n in ("basophil", "eosinophil", "ig", "neutrophil")]
    block = report.confusion[np.ix_(granulocytes, granulocytes)]
    assert within == block.sum() - np.trace(block)
    assert within + across == report.n - np.trace(report.confusion)
    plain = Predictions(["a"], LabelSchema.from_names(["one", "two"]), [[1, 0]], targets=[0])
    assert Report.from_predictions(plain).lineage_errors() is None


def test_the_table_fits_100_columns_and_says_what_matters(report: Report) -> None:
    table = str(report)
    assert max(map(len, table.splitlines())) <= 100
    for words in ("Trial", "PBC · test part · 158 images, 2 more unreadable", "balanced accuracy", "No donor ids."):
        assert words in table
    assert str(report.accuracy) in table
    assert "platelet" in table
    assert "n/a" in table


def test_the_table_fits_with_many_images_and_long_names() -> None:
    schema = LabelSchema.from_names(["x" * 50, "y"])
    preds = Predictions(["f"] * 2, schema, [[1, 0], [0, 1]], targets=[0, 1])
    assert max(map(len, str(Report.from_predictions(preds)).splitlines())) <= 100


def test_save_writes_everything_and_the_same_twice(report: Report, tmp_path: Path) -> None:
    page = report.save(tmp_path / "new" / "folder")
    assert page == tmp_path / "new" / "folder" / "report.html"
    assert {p.name for p in page.parent.iterdir()} == {
        "report.html", "metrics.json", "predictions.csv",
        "confusion.png", "per_class.png", "reliability.png", "risk_coverage.png", "curves.png",
    }  # fmt: skip
    before = {p.name: p.read_bytes() for p in page.parent.iterdir()}
    report.save(page.parent)
    assert before == {p.name: p.read_bytes() for p in page.parent.iterdir()}
    again = Report.from_predictions(Predictions.read_csv(page.parent / "predictions.csv"))
    assert again.accuracy == report.accuracy
    assert again.metrics["macro_f1"] == report.metrics["macro_f1"]


def test_metrics_json_is_the_tree_of_estimates(report: Report, tmp_path: Path) -> None:
    report.save(tmp_path)
    tree = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert tree == json.loads(json.dumps(report.to_dict()))
    assert tree["metrics"]["macro_f1"] == report.metrics["macro_f1"].to_dict()
    assert tree["per_class"]["ig"]["recall"] == report.per_class["ig"]["recall"].to_dict()
    assert tree["per_class"]["platelet"]["recall"] == {"value": None, "low": None, "high": None}
    assert tree["per_class"]["ig"]["n"] == report.per_class["ig"]["n"]
    assert (tree["n"], tree["unreadable"], tree["part"]) == (158, 2, "test")
    assert tree["schema"]["hash"] == PBC_LABELS.hash
    assert tree["confusion"] == report.confusion.tolist()
    assert {"python", "cellnet", "torch", "numpy"} <= tree["versions"].keys()


def test_settings_of_any_kind_go_into_the_json() -> None:
    settings = {"config": {"lr": 1e-3, "betas": (0.9, 0.999), "out": Path("runs"), "limit": math.inf}, "seed": 0}
    report = Report.from_predictions(predictions(), settings=settings)
    assert report.to_dict()["settings"] == {
        "config": {"lr": 1e-3, "betas": [0.9, 0.999], "out": "runs", "limit": None},
        "seed": 0,
    }


def test_a_folder_that_cannot_be_written_is_one_sentence(report: Report, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Cannot write"):
        report.save(tmp_path / "file")


def test_predictions_without_targets_are_refused() -> None:
    with pytest.raises(DataError, match="column 'target'"):
        Report.from_predictions(Predictions(["a"], PBC_LABELS, [[1 / 8] * 8]))


def test_nothing_readable_is_refused() -> None:
    preds = Predictions(["a"], PBC_LABELS, [[np.nan] * 8], errors=["broken"], targets=[0])
    with pytest.raises(DataError, match="None of the 1 images could be read"):
        Report.from_predictions(preds)


@pytest.mark.parametrize("right", [True, False])
def test_a_single_image(right: bool, tmp_path: Path) -> None:
    preds = Predictions(["a.jpg"], PBC_LABELS, [[0.65, *[0.05] * 7]], targets=[0 if right else 1])
    report = Report.from_predictions(preds)
    assert report.accuracy.value == right
    assert report.save(tmp_path).exists()
    assert str(report).splitlines()[1] == "1 image"

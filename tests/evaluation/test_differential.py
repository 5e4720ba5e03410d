"""The differential count: exact limits, mistakes taken out, coverage by simulation, flags, and what is written."""

from __future__ import annotations

import csv
import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from cellnet.errors import DataError, UnknownNameError
from cellnet.evaluation import Report, differential
from cellnet.inference import Predictions
from cellnet.labels import LEUKOCYTES, PBC_LABELS, LabelSchema

N = PBC_LABELS.names
module = import_module("cellnet.evaluation.differential")  # the function has its name


def predictions(calls: dict[str, int], abstained: int = 0, schema: LabelSchema = PBC_LABELS) -> Predictions:
    labels = [schema.names.index(name) for name, count in calls.items() for _ in range(count)]
    labels += [0] * abstained
    flags = [False] * (len(labels) - abstained) + [True] * abstained
    table = np.eye(len(schema))[labels]
    return Predictions([f"{i}.png" for i in range(len(labels))], schema, table, abstain=flags)


def mistakes(judged: int = 500, right: float = 0.95, left: float = 0.02) -> np.ndarray:
    """Every class is mistaken for the next one."""
    table = np.zeros((8, 9))
    for i in range(8):
        table[i, 8] = round(judged * left)
        table[i, (i + 1) % 8] = round(judged * (1 - right - left))
        table[i, i] = judged - table[i].sum()
    return table


def test_limits_are_the_exact_binomial_ones() -> None:
    calls = {"neutrophil": 62, "lymphocyte": 30, "monocyte": 8, "basophil": 0, "platelet": 40, "erythroblast": 3}
    count = differential(predictions(calls, abstained=5))
    assert (count.white_cells, count.abstained, count.unreadable) == (100, 5, 0)
    for name in ("neutrophil", "lymphocyte", "monocyte", "basophil"):
        interval = binomtest(calls[name], 100).proportion_ci(0.95, "exact")
        share = count[name].share
        assert (share.value, share.low, share.high) == pytest.approx((calls[name] / 100, interval.low, interval.high))
    # Beside the white cells: per white cell, by the odds of a share.
    interval = binomtest(3, 103).proportion_ci(0.95, "exact")
    assert count["erythroblast"].share.value == pytest.approx(0.03)
    assert count["erythroblast"].share.high == pytest.approx(interval.high / (1 - interval.high))
    assert not count["platelet"].counted
    assert np.isnan(count["neutrophil"].corrected.value)
    assert count.flags == []
    assert len(count.to_review) == 5


def test_strange_images_are_no_cells_that_were_abstained_from() -> None:
    judged = mistakes(right=0.9, left=0.01)
    judged[N.index("ig"), [8, N.index("ig")]] += [100, -100]  # the class that is abstained from most often
    cells = predictions({"neutrophil": 80, "ig": 20}, abstained=30)
    cells.ood[:] = 0.5
    cells.ood[-28:] = 3.0
    plain, apart = differential(cells, judged), differential(cells, judged, strange=1.0)
    assert (plain.abstained, plain.strange, apart.abstained, apart.strange) == (30, 0, 2, 28)
    assert plain["ig"].corrected.value > apart["ig"].corrected.value
    fewer = predictions({"neutrophil": 80, "ig": 20}, abstained=2)
    assert apart["ig"].corrected == differential(fewer, judged)["ig"].corrected
    assert len(apart.to_review) == 30
    assert "2 images left to a person, 28 unlike the cells that the model knows, 0 unreadable" in str(apart)
    assert apart.to_dict()["strange"] == 28


def test_without_lineages_every_class_counts() -> None:
    schema = LabelSchema.from_names(["a", "b"])
    assert differential(predictions({"a": 3, "b": 1}, schema=schema))["a"].share.value == 0.75


def test_known_mistakes_are_taken_out() -> None:
    truth = np.array([0.02, 0.05, 0, 0, 0.3, 0.08, 0.55, 0])
    judged = mistakes()
    rates = judged / judged.sum(1, keepdims=True)
    seen = np.rint(100_000 * truth @ rates).astype(int)  # what very many cells would be called
    count = differential(predictions(dict(zip(N, map(int, seen[:8]), strict=True)), abstained=int(seen[8])), judged)
    for name, share in zip(N, truth, strict=True):
        assert count[name].corrected.value == pytest.approx(share, abs=2e-3)
    raw = count["platelet"].share.value  # neutrophils that were called platelets
    assert raw > 0.01
    assert count["platelet"].corrected.low <= 1e-3


def test_the_corrected_interval_covers_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAWS", 400)
    rng = np.random.default_rng(3)
    truth = np.array([0.02, 0.05, 0.0, 0.02, 0.3, 0.08, 0.53, 0.0])
    best = mistakes(right=0.92) / 500
    hits = []
    for _ in range(60):
        judged = np.array([rng.multinomial(150, row) for row in best])
        seen = rng.multinomial(300, truth @ best)
        count = differential(predictions(dict(zip(N, map(int, seen[:8]), strict=True)), abstained=int(seen[8])), judged)
        for name in ("eosinophil", "lymphocyte", "monocyte", "neutrophil"):
            estimate = count[name].corrected
            hits.append(estimate.low <= truth[N.index(name)] <= estimate.high)
    assert 0.91 <= np.mean(hits) <= 0.995


def test_a_class_that_was_never_judged_is_not_corrected() -> None:
    judged = mistakes()
    judged[N.index("basophil")] = 0
    count = differential(predictions({"neutrophil": 50, "lymphocyte": 50}), judged)
    assert np.isnan(count["basophil"].corrected.value)
    assert sum(count[name].corrected.value for name in ("neutrophil", "lymphocyte", "monocyte")) <= 1 + 1e-9


def test_a_flag_needs_more_than_mistakes_explain() -> None:
    judged = mistakes()  # of the erythroblasts, 3 % are called ig
    few = differential(predictions({"neutrophil": 150, "lymphocyte": 50, "ig": 1}), judged)
    many = differential(predictions({"neutrophil": 150, "lymphocyte": 50, "ig": 12}), judged)
    assert few.flags == []
    assert "from" in few["ig"].note
    assert many["ig"].flag.startswith("12 of 212 cells were called ig; mistakes alone explain ")
    assert many["neutrophil"].flag == many["neutrophil"].note == ""
    assert differential(predictions({"ig": 12, "neutrophil": 9}), judged, unexpected=()).flags == []
    alone = differential(predictions({"ig": 12}), judged)
    assert alone.flags == ["Every cell was called ig."]


def test_false_alarms_are_as_rare_as_said_and_the_sensitivity_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAWS", 400)
    rng = np.random.default_rng(0)
    best = mistakes(judged=1000) / 1000
    judged = 1000 * best
    healthy = np.array([0.01, 0.03, 0, 0, 0.3, 0.06, 0.6, 0])
    ill = 0.98 * healthy + 0.02 * np.eye(8)[N.index("ig")]
    rates = {}
    for name, truth in (("healthy", healthy), ("ill", ill)):
        samples = [rng.multinomial(200, truth @ best) for _ in range(40)]
        counts = [
            differential(predictions(dict(zip(N, map(int, seen[:8]), strict=True)), abstained=int(seen[8])), judged)
            for seen in samples
        ]
        rates[name] = np.mean([bool(count["ig"].flag) for count in counts])
        said = float(counts[0]["ig"].note.split("probability of ")[1].split(" ")[0]) / 100
    assert rates["healthy"] <= 0.05
    assert abs(rates["ill"] - said) < 0.2


def test_false_alarms_are_as_rare_where_the_model_abstains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAWS", 200)
    monkeypatch.setattr(module, "STEPS", 1)
    rng = np.random.default_rng(0)
    rates = 0.5 * (0.96 * np.eye(8, 9) + 0.04 * np.eye(9)[N.index("ig")])
    rates[:, 8] = 0.5
    healthy = np.array([0.01, 0.03, 0, 0, 0.3, 0.06, 0.6, 0])
    flags = 0
    for _ in range(100):
        seen = rng.multinomial(400, healthy @ rates)
        cells = predictions(dict(zip(N, map(int, seen[:8]), strict=True)), abstained=int(seen[8]))
        flags += bool(differential(cells, 2000 * rates)["ig"].flag)
    assert flags <= 4


def test_of_few_cells_no_number_is_flagged() -> None:
    judged = mistakes(right=0.6)  # every third erythroblast is called ig
    few = differential(predictions({"erythroblast": 2, "ig": 1}), judged, unexpected=["ig"])
    assert few["ig"].note == "ig: of so few cells (3), no number is flagged."
    assert few.flags == []


def test_classes_go_by_synonym() -> None:
    schema = LabelSchema.from_names(["thrombocyte", "neutrophil", "normoblast", "promyelocyte", "artefact"])
    cells = predictions({"thrombocyte": 50, "neutrophil": 40, "normoblast": 30, "promyelocyte": 20}, schema=schema)
    count = differential(cells, np.hstack([np.eye(5) * 500, np.zeros((5, 1))]))
    assert [row.counted for row in count.rows] == [False, True, False, True, True]
    assert count.white_cells == 60
    assert [row.label for row in count.rows if row.flag] == ["normoblast", "promyelocyte"]


def test_classes_to_flag_are_given_by_name_or_synonym() -> None:
    cells = predictions({"neutrophil": 60, "ig": 20})
    for name in ("ig", "IG", "immature granulocyte"):
        assert len(differential(cells, mistakes(), unexpected=[name]).flags) == 1
    with pytest.raises(UnknownNameError, match="Did you mean 'neutrophil'"):
        differential(cells, unexpected=["neutrophile"])


def test_what_is_no_cell_is_not_counted_though_the_model_does_not_abstain() -> None:
    table = np.eye(8)[[N.index("neutrophil")] * 6]
    table[5] = np.nan
    cells = Predictions(list("abcdef"), PBC_LABELS, table, [None] * 5 + ["cut off"], [0, 0, 0, 0, 5, 0], [False] * 6)
    count = differential(cells, strange=1.0)
    assert (count.white_cells, count.abstained, count.strange, count.unreadable) == (4, 0, 1, 1)
    assert count["basophil"].count == 0
    assert count.to_review == ("e", "f")
    assert count.reasons == ("strange", "unreadable")


def test_a_report_gives_the_models_mistakes() -> None:
    cells = predictions({"neutrophil": 6, "lymphocyte": 4}, abstained=2)
    targets = [N.index("neutrophil")] * 5 + [N.index("lymphocyte")] * 7
    report = Report.from_predictions(
        Predictions(cells.files, PBC_LABELS, cells.probabilities, abstain=cells.abstain, targets=targets)
    )
    called = report.called
    assert called.shape == (8, 9)
    assert called[N.index("lymphocyte")].tolist() == [0, 0, 0, 0, 4, 0, 1, 0, 2]
    assert report.scoring().called[N.index("lymphocyte")] == (0, 0, 0, 0, 4, 0, 1, 0, 2)


def test_files(tmp_path: Path) -> None:
    count = differential(predictions({"neutrophil": 60, "ig": 20}, abstained=3), mistakes())
    with count.to_csv(tmp_path / "d.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert rows["neutrophil"]["cells"] == "60"
    assert float(rows["neutrophil"]["share"]) == 0.75
    assert "Look at them" in rows["ig"]["flag"]
    page = count.to_html(tmp_path / "d.html", title="<Ward & 7>").read_text(encoding="utf-8")
    assert "&lt;Ward &amp; 7&gt;" in page
    assert "20 of 80 cells were called ig" in page
    assert "3 images left to a person" in page
    assert "uncertain: 80.png, 81.png, 82.png" in page
    flagged = [f"{i}.png" for i in range(60, 80)]
    assert f"ig: {', '.join(flagged)}" in page
    assert "takes out the model's known mistakes" in page
    plain = json.loads(json.dumps(count.to_dict(), allow_nan=False))
    assert plain["classes"]["ig"]["count"] == 20
    assert plain["classes"]["ig"]["files"] == flagged
    assert plain["classes"]["neutrophil"]["files"] == []
    assert plain["reasons"] == ["uncertain"] * 3
    assert f"  {', '.join(flagged[:10])} and 10 more" in str(count)
    assert "neutrophil" in str(count)
    assert "; 1 image left to a person" in str(differential(predictions({"neutrophil": 60}, abstained=1)))


def test_where_nothing_can_be_corrected_a_line_says_why(tmp_path: Path) -> None:
    unjudged, judged = (differential(predictions({"neutrophil": 60}), table) for table in (None, mistakes()))
    for text in (str(unjudged), unjudged.to_html(tmp_path / "d.html").read_text(encoding="utf-8")):
        assert "how often this model is mistaken is not known" in text
        assert "takes out" not in text
    assert not judged.caveat


@pytest.mark.parametrize(
    "confusion",
    [np.ones((8, 8)), np.zeros((8, 9)), -np.ones((8, 9)), np.full((8, 9), np.nan), np.ones((5, 6))],
)
def test_confusions_that_are_none(confusion: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"give report\.called"):
        differential(predictions({"neutrophil": 3}), confusion)


def test_nothing_to_count() -> None:
    with pytest.raises(DataError, match="None of the 7 images was called a white cell"):
        differential(predictions({"platelet": 5}, abstained=2))
    with pytest.raises(DataError, match="None of the 0 images"):
        differential(Predictions([], LEUKOCYTES, np.empty((0, 5))))


def test_one_cell() -> None:
    share = differential(predictions({"monocyte": 1}))["monocyte"].share
    assert (share.value, share.high) == (1, 1)
    assert share.low == pytest.approx(0.025)

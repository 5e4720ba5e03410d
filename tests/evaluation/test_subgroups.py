"""Figures of subgroups: their intervals, groups taken together, what is not known, and values that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from cellnet.errors import DataError
from cellnet.evaluation import Report
from cellnet.evaluation.clusters import wilson_of_groups
from cellnet.evaluation.subgroups import FEW, MOST, NOT_KNOWN, score_subgroups
from cellnet.inference import Predictions
from cellnet.labels import LabelSchema

SCHEMA = LabelSchema.from_names(["lymphocyte", "monocyte"])


def predictions(right: list[bool], groups: list[object] | None = None, unreadable: int | None = None) -> Predictions:
    table = np.array([[0.9, 0.1] if each else [0.2, 0.8] for each in right])
    errors = [None] * len(right)
    if unreadable is not None:
        table[unreadable], errors[unreadable] = np.nan, "cut off"
    files = [f"{i}.png" for i in range(len(right))]
    return Predictions(files, SCHEMA, table, errors, targets=[0] * len(right), groups=groups)


def test_each_subgroup_has_wilsons_interval_for_its_own_images() -> None:
    right = [True] * 20 + [False] * 4 + [True] * 3
    found = score_subgroups(predictions(right), {"stain": ["MGG"] * 24 + ["Wright"] * 3})["stain"]
    interval = binomtest(20, 24).proportion_ci(0.95, "wilson")
    figures = found["MGG"]
    assert (figures["n"], figures["wrong"], figures["few"], figures["groups"]) == (24, 4, False, None)
    assert figures["accuracy"].value == pytest.approx(20 / 24)
    assert (figures["accuracy"].low, figures["accuracy"].high) == pytest.approx((interval.low, interval.high))
    assert found["Wright"]["few"]
    assert found["Wright"]["n"] < FEW


def test_what_is_not_known_comes_last_and_unreadable_images_are_not_scored() -> None:
    preds = predictions([True] * 6, unreadable=1)
    found = score_subgroups(preds, {"age": [70, 8, None, float("nan"), "", 70]})["age"]
    assert list(found) == ["70", NOT_KNOWN]
    assert [figures["n"] for figures in found.values()] == [2, 3]


def test_images_of_one_group_count_together() -> None:
    right, groups = [True] * 30 + [False] * 10 + [True] * 20, [i // 10 for i in range(60)]
    found = score_subgroups(predictions(right, groups), {"site": ["a"] * 40 + ["b"] * 10 + ["c"] * 10})["site"]
    assert found["a"]["groups"] == 4
    assert found["a"]["accuracy"] == wilson_of_groups([10, 10, 10, 0], [10] * 4)
    # A single group tells nothing of others: its images count as independent.
    interval = binomtest(10, 10).proportion_ci(0.95, "wilson")
    assert found["b"]["groups"] == 1
    assert found["b"]["accuracy"].low == pytest.approx(interval.low)
    partly = score_subgroups(predictions([True] * 4, ["x", "x", None, None]), {"site": ["a"] * 4})["site"]
    assert partly["a"]["groups"] == 3


def test_values_of_a_pandas_series_go_by_position_and_its_na_is_not_known() -> None:
    pandas = pytest.importorskip("pandas")
    preds, values = predictions([True] * 12 + [False] * 12), ["good"] * 12 + ["bad"] * 12
    expected = score_subgroups(preds, {"stain": values})
    for index in (range(23, -1, -1), range(100, 124)):
        assert score_subgroups(preds, {"stain": pandas.Series(values, index=index)}) == expected
    found = score_subgroups(preds, {"age": pandas.array([7] * 23 + [None], dtype="Int64")})["age"]
    assert [(value, figures["n"]) for value, figures in found.items()] == [("7", 23), (NOT_KNOWN, 1)]


def test_values_that_do_not_fit_are_refused() -> None:
    preds = predictions([True] * 60)
    with pytest.raises(DataError, match="'stain' has 2 values for 60 images; give one an image"):
        score_subgroups(preds, {"stain": ["a", "b"]})
    with pytest.raises(DataError, match=f"'age' has 60 different values, .* at most {MOST} .* ranges"):
        score_subgroups(preds, {"age": list(range(60))})


def test_a_report_tells_its_subgroups_in_text_and_json(tmp_path: Path) -> None:
    values = {"stain": ["MGG"] * 12 + ["Wright"] * 2, "donor": np.repeat([1, 2], 7)}
    report = Report.from_predictions(predictions([True] * 13 + [False]), subgroups=values)
    assert report.subgroups["stain"]["Wright"]["accuracy"].value == 0.5
    text = str(report)
    assert "stain: MGG" in text
    assert "few images" in text.split("stain: Wright")[1].splitlines()[0]
    assert max(map(len, text.splitlines())) <= 100
    tree = json.loads(json.dumps(report.to_dict()))["subgroups"]
    assert tree["donor"]["2"]["n"] == 7
    assert tree["stain"]["Wright"]["accuracy"]["value"] == 0.5
    assert "subgroup" not in str(Report.from_predictions(predictions([True] * 4)))

"""Goals, tables and the page of speed tell one story."""

from __future__ import annotations

import csv
import runpy
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SPEED = ROOT / "benchmarks" / "speed"
RESULTS = ROOT / "benchmarks" / "results"
TEMPLATE = (ROOT / "docs" / "speed.md.in").read_text(encoding="utf-8")
GOAL = {
    "what": "SMOTE",
    "table": "speed",
    "where": {"what": "ours"},
    "column": "ratio",
    "at_least": 20,
    "unit": "×",
    "best": "48×",
}


@pytest.fixture
def goals() -> dict[str, Any]:
    return runpy.run_path(str(SPEED / "goals.py"))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "speed.csv").write_text(
        'what,items_per_second,ratio,extra_mib\npeer,100,1.00,"2,000"\nours,1320,13.2,40\nbest,2640,26.4,\n'
    )
    return tmp_path / "results"


def page(results: Path) -> str:
    """The page, from tables in another folder."""
    script = runpy.run_path(str(ROOT / "docs" / "speed_page.py"))
    script["fill"].__globals__["RESULTS"] = results
    script["TABLES"]["fill"].__globals__["BENCHMARKS"] = results.parent
    filled: str = script["fill"](TEMPLATE)
    return filled


def test_every_goal_finds_its_row(goals: dict[str, Any]) -> None:
    verdicts = goals["judge_all"]()
    assert len({verdict.what for verdict in verdicts}) == len(verdicts)
    written = {t for q in runpy.run_path(str(SPEED / "__main__.py"))["QUESTIONS"].values() for t in q.tables}
    rates = tomllib.loads((SPEED / "scale.toml").read_text(encoding="utf-8"))["rate"]
    assert {verdict.table for verdict in verdicts} <= written
    assert {rate["table"] for rate in rates} <= written | {"speed_training_gpu"}
    for verdict in verdicts:
        assert len(verdict.tried) == (0 if verdict.value is None else max(2, len(verdict.tried)))


def test_the_page_says_what_became_of_each_goal(goals: dict[str, Any]) -> None:
    text = page(RESULTS)
    assert "{{" not in text
    for verdict in goals["judge_all"]():
        row = next(line for line in text.splitlines() if line.startswith(f"| {verdict.what} |"))
        assert verdict.goal in row
        assert verdict.measured in row
        assert verdict.status in row
        assert (f"**{verdict.what}**: {verdict.measured}" in text) == (verdict.status == "missed")


@pytest.mark.parametrize(
    ("change", "status", "measured", "tried"),
    [
        ({}, "missed", "13.2×", ["not yet tried", "not yet tried"]),
        ({"at_least": 13.2}, "met", "13.2×", None),
        (
            {"tried": [{"text": "bytes", "where": {"what": "best"}}]},
            "missed",
            "13.2×",
            ["bytes: 26.4×", "not yet tried"],
        ),
        ({"tried": [{"text": "a"}, {"text": "b"}, {"text": "c"}]}, "missed", "13.2×", ["a", "b", "c"]),
        ({"where": {"what": "peer"}, "beside": {"what": "ours"}, "column": "extra_mib"}, "met", "50×", None),
        ({"at_least": None, "at_most": 40, "column": "extra_mib", "unit": "MiB"}, "met", "40 MiB", None),
        ({"at_least": None, "at_most": 39, "column": "extra_mib", "unit": "MiB"}, "missed", "40 MiB", None),
        ({"table": "never"}, "not measured yet", "", []),
    ],
)
def test_what_becomes_of_a_goal(
    goals: dict[str, Any], results: Path, change: dict[str, Any], status: str, measured: str, tried: list[str] | None
) -> None:
    goal = {key: value for key, value in {**GOAL, **change}.items() if value is not None}
    verdict = goals["judge"](goal, results)
    assert (verdict.status, verdict.measured) == (status, measured)
    if tried is not None:
        assert verdict.tried == tried


def test_share_of_the_limit(goals: dict[str, Any], results: Path) -> None:
    verdict = goals["judge"]({**GOAL, "limit": {"where": {"what": "best"}}}, results)
    assert verdict.of_limit == 0.5
    assert verdict.goal_of_limit == pytest.approx(20 / 26.4)
    assert goals["judge"](GOAL, results).goal_of_limit is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"where": {"what": "theirs"}}, "speed.csv has 0 rows where"),
        ({"where": {}}, "speed.csv has 3 rows where"),
        ({"where": {"who": "ours"}}, "speed.csv has no column who"),
        ({"column": "ratios"}, "speed.csv has no column ratios"),
        ({"column": "what"}, "holds 'ours' as what"),
        ({"at_most": 5}, "must say at_least or at_most"),
        ({"limit": {"where": {"what": "never"}}}, "speed.csv has 0 rows where"),
        ({"tried": [{"text": "it", "where": {"what": "never"}}]}, "speed.csv has 0 rows where"),
    ],
)
def test_a_goal_that_disagrees_with_its_table(
    goals: dict[str, Any], results: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        goals["judge"]({**GOAL, **change}, results)


@pytest.mark.parametrize(("table", "what"), [("speed_smote", "cellnet"), ("speed_loading", "cellnet packed, uint8")])
def test_the_page_cannot_be_made_without_a_row_it_names(tmp_path: Path, table: str, what: str) -> None:
    folder = Path(shutil.copytree(RESULTS, tmp_path / "results"))
    path = folder / f"{table}.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row for row in rows if row["what"] != what)
    with pytest.raises(ValueError, match=f"{table}.csv has 0 rows"):
        page(folder)


GROWTH = "what,of,n,seconds,extra_mib,time_exponent,memory_exponent,time_exponent_error,memory_exponent_error\n"


def test_growth_is_drawn_and_carried_on(tmp_path: Path) -> None:
    plots = runpy.run_path(str(ROOT / "docs" / "speed_plots.py"))
    assert plots["draw"]()["speed-goals"].startswith(b"\x89PNG")
    assert "python -m benchmarks.speed growth" in page(tmp_path)
    rows = "SMOTE,images,1000,1,10,2.00,1.00,0.01,0.02\nSMOTE,images,2000,4,20,2.00,1.00,0.01,0.02\n"
    rows += "bootstrap,images,10,1,,0.00,,0.00,\nbootstrap,images,20,1,,0.00,,0.00,\n"
    (tmp_path / "speed_growth.csv").write_text(GROWTH + rows)
    text = page(tmp_path)
    assert "| SMOTE | images | 1000 – 2000 | 1 – 4 | 10 – 20 | 2.00 ± 0.01 | 1.00 ± 0.02 |" in text
    assert "| SMOTE | images | 2,000 in 4 seconds | 12 days | 31,688 years |" in text  # 1e6 s, 1e12 s
    assert "| bootstrap | images | 20 in" not in text
    assert "assets/speed-growth.png" in text
    plots["draw"].__globals__["RESULTS"] = tmp_path
    assert plots["growth"]().startswith(b"\x89PNG")


def test_tables_are_shown_once_they_are_there(results: Path) -> None:
    assert "None yet." in page(results)
    head = "images,largest_difference,what,items_per_second,ratio,machine\n"
    (results / "speed_metrics.csv").write_text(
        f'{head}"1,000",0,scikit-learn,5,1.00,here\n"1,000",0,cellnet,400,80.00,here\n'
    )
    text = page(results)
    assert "| cellnet | 400 | 80.00 | 0 | here |" in text
    assert "80×, goal ≥ 85×" in text

"""The questions of speed at tiny size: each asks, and writes a table of the committed one's columns."""

from __future__ import annotations

import csv
import importlib
import mmap
import os
import runpy
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scipy.stats import linregress

FOLDER = Path(__file__).parents[2] / "benchmarks" / "speed"
RESULTS = FOLDER.parent / "results"
QUESTIONS = runpy.run_path(str(FOLDER / "__main__.py"))["QUESTIONS"]


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    threads = torch.get_num_threads(), cv2.getNumThreads()
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # what the command sets is undone
    yield runpy.run_path(str(FOLDER / "__main__.py"))
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module(request.param)


def columns(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file))


def committed() -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in RESULTS.iterdir()}


@pytest.mark.parametrize("name", QUESTIONS)
def test_each_question_writes_its_tables(runner: dict[str, Any], name: str, tmp_path: Path) -> None:
    before = committed()
    with runner["results_in"](tmp_path):
        runner["ask"](name, tiny=True)
    tables = runner["QUESTIONS"][name].tables
    assert {path.stem for path in tmp_path.iterdir()} == set(tables)
    for table in tables:
        with (tmp_path / f"{table}.csv").open(newline="", encoding="utf-8") as file:
            assert len(list(csv.DictReader(file))) >= 2
        if (RESULTS / f"{table}.csv").exists():
            assert columns(tmp_path / f"{table}.csv") == columns(RESULTS / f"{table}.csv")
    assert committed() == before


def test_the_command_at_tiny_size_leaves_the_results_alone(
    runner: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    before = committed()
    runner["main"](["imports", "normalise", "--tiny"])
    assert committed() == before
    said = capsys.readouterr().out
    assert "== imports" in said
    assert "what=import cellnet" in said
    assert "what=a plain copy" in said


def test_each_question_has_a_process_and_failures_are_named(
    runner: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def run(command: list[str]) -> SimpleNamespace:
        asked.append((command[2:], os.environ["OMP_NUM_THREADS"]))
        return SimpleNamespace(returncode=int(command[2] == "supcon"))

    monkeypatch.setattr(runner["subprocess"], "run", run)
    with pytest.raises(SystemExit, match="No table from supcon;"):
        runner["main"](["smote", "supcon", "--root", str(tmp_path)])
    assert asked == [(["smote", "--root", str(tmp_path)], "1"), (["supcon", "--root", str(tmp_path)], "1")]


def test_a_question_about_images_asks_for_them(runner: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match="loading reads images; name the folder"):
        runner["main"](["loading"])


def test_an_unknown_question_is_refused(runner: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        runner["main"](["smoke"])
    assert "invalid choice: 'smoke'" in capsys.readouterr().err


@pytest.mark.parametrize("script", ["growth"], indirect=True)
def test_the_exponent_is_the_slope_of_the_logarithms(script: ModuleType) -> None:
    counts = [10, 30, 100, 400]
    exponent, error = script.fit_exponent(counts, [3 * n**1.7 for n in counts])
    assert exponent == pytest.approx(1.7)
    assert error == pytest.approx(0, abs=1e-9)
    values = [1.0, 5.0, 9.0, 70.0]
    line = linregress(np.log(counts), np.log(values))
    assert script.fit_exponent(counts, values) == pytest.approx((line.slope, line.stderr))
    assert np.isnan(script.fit_exponent(counts, [0, *values[1:]])).all()
    assert np.isnan(script.fit_exponent(counts[:2], values[:2])).all()


@pytest.mark.parametrize("script", ["harness"], indirect=True)
def test_memory_is_that_of_the_work(script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def work() -> np.ndarray[Any, Any]:
        """50 MiB that no free memory of this process can stand for."""
        fresh = np.frombuffer(mmap.mmap(-1, 50 << 20), np.uint8)
        fresh[:] = 1
        return fresh

    if (extra := script.extra_memory(work)) is not None:
        assert 40 < extra < 80
    monkeypatch.setattr(script, "PROCESS", tmp_path)
    assert script.extra_memory(list) is None


@pytest.mark.parametrize("script", ["harness"], indirect=True)
def test_work_elsewhere_has_another_environment(script: ModuleType) -> None:
    with script.elsewhere({"CELLNET_SPEED": "there"}) as make:
        there = make(partial, os.getenv, "CELLNET_SPEED")
        process = make(partial, os.getpid)
        assert os.getenv("CELLNET_SPEED") is None
        assert [there(), there()] == ["there", "there"]
        assert process() == process() != os.getpid()
        with pytest.raises(ZeroDivisionError):
            make(divmod, 1, 0)


@pytest.mark.parametrize("script", ["training"], indirect=True)
def test_memory_is_kept_only_where_that_means_something(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(script, "KEEPS_MEMORY", False)
    monkeypatch.setattr(script, "MODES", {"fp32": script.MODES["fp32"]})
    with importlib.import_module("harness").results_in(tmp_path):
        script.main(["mobilenet_v2"], "cpu", True, {"mobilenet_v2": 32}, {"mobilenet_v2": 2}, rounds=1)
    with (tmp_path / "speed_training.csv").open(newline="", encoding="utf-8") as file:
        assert [row["what"] for row in csv.DictReader(file)] == ["fp32", "products alone"]


@pytest.mark.parametrize("script", ["harness"], indirect=True)
def test_rows_of_another_model_stay(script: ModuleType, tmp_path: Path) -> None:
    table = [{"model": model, "ratio": ratio} for model, ratio in (("one", "1.00"), ("two", "2.00"), ("one", "3.00"))]
    with script.results_in(tmp_path):
        assert script.known("speed", "one") == []
        script.write("speed", table)
        assert script.known("speed", "one") == [table[0], table[2]]
        assert script.known("speed", "three") == []


@pytest.mark.parametrize("script", ["operations"], indirect=True)
def test_products_compute_as_much_as_was_counted(script: ModuleType) -> None:
    image = torch.zeros(1, 3, 8, 8)
    convolution = torch.nn.Conv2d(3, 5, 3)
    counted = script.flops(lambda: convolution(image))
    assert counted == 2 * (3 * 3 * 3) * 5 * (6 * 6)
    for side in (2, 8, 512):
        assert script.flops(script.products(counted, side)) == pytest.approx(counted, abs=side**2)


@pytest.mark.parametrize("script", ["harness"], indirect=True)
def test_figures_keep_three_digits(script: ModuleType) -> None:
    assert [script.figure(value) for value in (3.8123, 0.012345, 99.96, 179005.4)] == [
        "3.81",
        "0.0123",
        "100",
        "179005",
    ]

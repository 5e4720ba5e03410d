"""Runs beside each other: what is paired, how their figures spread, and that none is done twice."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cellnet.datasets import CellDataset, read_split
from cellnet.errors import ConfigError, UnknownNameError
from cellnet.evaluation.intervals import wilson
from cellnet.experiments import Comparison, Trial, compare_trials, repeat_splits, vary
from cellnet.models import CellClassifier, create_model
from cellnet.training import TrainConfig

MakeModel = Callable[[], CellClassifier]
CONFIG = TrainConfig(epochs=1, batch_size=8, lr=3e-3)
FRACTIONS = (0.5, 0.17, 0.33)


@pytest.fixture(scope="module")
def optimizers(
    cells: CellDataset, make_model: MakeModel, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Comparison, Path]:
    out = tmp_path_factory.mktemp("studies") / "optimizers"
    trials = vary(Trial(make_model, CONFIG), {"optimizer": ["adam", "sgd"], "seed": [0, 1]})
    return compare_trials(lambda seed: cells.split(FRACTIONS, seed), trials, out, device="cpu"), out


@pytest.fixture(scope="module")
def shuffled(
    cells: CellDataset, make_model: MakeModel, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Comparison, Path]:
    out = tmp_path_factory.mktemp("studies") / "splits"
    return repeat_splits(cells, make_model, CONFIG, out, seeds=(3, 4, 5), fractions=FRACTIONS, device="cpu"), out


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def right(run: Any) -> np.ndarray:
    return run.predictions.probabilities.argmax(1) == run.predictions.targets


def test_rows(optimizers: tuple[Comparison, Path]) -> None:
    result, out = optimizers
    rows = rows_of(out / "compare.csv")
    assert [(row["optimizer"], row["seed"]) for row in rows] == [
        ("adam", "0"),
        ("adam", "1"),
        ("sgd", "0"),
        ("sgd", "1"),
    ]
    assert [float(row["accuracy"]) for row in rows] == [right(run).mean() for run in result.runs]
    assert {(row["n_train"], row["n_test"]) for row in rows} == {("32", "16")}
    for row in rows:
        folder = out / f"optimizer={row['optimizer']},seed={row['seed']}"
        assert f'optimizer = "{row["optimizer"]}"\n' in (folder / "config.toml").read_text()
        assert (folder / "model" / "model.safetensors").is_file()


def test_recipes_are_paired_at_the_same_seed_on_the_same_images(optimizers: tuple[Comparison, Path]) -> None:
    result, out = optimizers
    pairs = result.pairs
    assert [(pair.first, pair.second) for pair in pairs] == [
        (f"optimizer=adam,seed={seed}", f"optimizer=sgd,seed={seed}") for seed in (0, 1)
    ]
    p_values = []
    for pair, first, second in zip(pairs, result.runs[:2], result.runs[2:], strict=True):
        assert first.predictions.files == second.predictions.files
        a, b = right(first), right(second)
        assert (pair.only_first, pair.only_second) == ((a & ~b).sum(), (b & ~a).sum())
        assert pair.difference == pytest.approx(a.mean() - b.mean())
        n = pair.only_first + pair.only_second
        p_values.append(stats.binomtest(pair.only_first, n).pvalue if n else 1.0)
        assert pair.p == pytest.approx(p_values[-1])
    smaller, larger = sorted(p_values)
    assert sorted(pair.p_holm for pair in pairs) == pytest.approx(
        sorted([min(1, 2 * smaller), min(1, max(larger, 2 * smaller))])
    )
    assert [row["first"] for row in rows_of(out / "pairs.csv")] == [pair.first for pair in pairs]


def test_seeds_of_one_split_spread_without_correction(optimizers: tuple[Comparison, Path], tmp_path: Path) -> None:
    trials, runs = optimizers[0].trials, optimizers[0].runs
    values = [5 / 16, 6 / 16]
    figures = [runs[0].figures | {"accuracy": wilson(16 * value, 16)} for value in values]
    better = [replace(run, figures=one) for run, one in zip(runs[:2], figures, strict=True)]
    result = Comparison(trials, [*better, *runs[2:]])
    assert list(result.spread) == ["optimizer=adam", "optimizer=sgd"]
    accuracy = result.spread["optimizer=adam"]["accuracy"]
    half = stats.t.ppf(0.975, 1) * stats.sem(values)
    assert accuracy.mean.value == pytest.approx(np.mean(values))
    assert accuracy.mean.low == pytest.approx(max(np.mean(values) - half, 0))
    assert accuracy.mean.high == pytest.approx(min(np.mean(values) + half, 1))
    result.save(tmp_path)
    rows = {(row["recipe"], row["figure"]): row for row in rows_of(tmp_path / "spread.csv")}
    assert len(rows) == 6
    assert float(rows["optimizer=adam", "accuracy"]["deviation"]) == pytest.approx(np.std(values, ddof=1))


def test_repeated_splits_spread_with_correction_and_are_not_paired(
    cells: CellDataset, shuffled: tuple[Comparison, Path]
) -> None:
    result, out = shuffled
    assert result.pairs == []
    assert not (out / "pairs.csv").exists()
    for seed in (3, 4, 5):
        parts = read_split(out / f"split_seed={seed}" / "split.csv", cells)
        assert [part.files for part in parts] == [part.files for part in cells.split(FRACTIONS, seed)]
    values = np.array([right(run).mean() for run in result.runs])
    assert len(set(values)) > 1
    accuracy = result.spread[""]["accuracy"]
    error = math.sqrt((1 / 3 + 16 / 32) * values.var(ddof=1))
    low, high = stats.t.interval(0.95, 2, values.mean(), error)
    assert (accuracy.mean.low, accuracy.mean.high) == pytest.approx((max(low, 0), min(high, 1)))
    assert accuracy.lowest.value == values.min()
    assert accuracy.highest == max((run.figures["accuracy"] for run in result.runs), key=lambda f: f.value)
    assert "all runs: mean accuracy" in str(result)


def test_seeds_alone_are_paired_with_each_other(optimizers: tuple[Comparison, Path]) -> None:
    result = optimizers[0]
    seeds = Comparison(result.trials[:2], result.runs[:2])
    assert [(pair.first, pair.second) for pair in seeds.pairs] == [("optimizer=adam,seed=0", "optimizer=adam,seed=1")]


def test_it_is_shown_and_saved(optimizers: tuple[Comparison, Path]) -> None:
    result, out = optimizers
    text = str(result)
    assert "optimizer=sgd,seed=1" in text
    assert "McNemar" in text
    saved = json.loads((out / "compare.json").read_text())
    assert saved == json.loads(json.dumps(result.to_dict(), allow_nan=False))
    single = Comparison(result.trials[:1], result.runs[:1]).to_dict()
    assert single["spread"]["optimizer=adam"]["accuracy"]["deviation"]["value"] is None
    assert single["pairs"] == []
    same = Comparison(result.trials[:2], result.runs[:1] * 2).to_dict()
    assert same["spread"]["optimizer=adam"]["accuracy"]["mean"]["low"] is None


def test_added_trials_are_trained_and_done_ones_are_not(
    cells: CellDataset, make_model: MakeModel, shuffled: tuple[Comparison, Path], witness: Any
) -> None:
    before, out = shuffled
    watch = witness()
    again = repeat_splits(
        cells, make_model, CONFIG, out, seeds=(3, 4, 5, 6), fractions=FRACTIONS, device="cpu", resume=True,
        callbacks=[watch],
    )  # fmt: skip
    assert watch.begun == [0]
    assert again.rows[:3] == before.rows
    assert len(rows_of(out / "compare.csv")) == 4


def test_another_comparison_in_the_folder(
    cells: CellDataset, make_model: MakeModel, shuffled: tuple[Comparison, Path]
) -> None:
    def repeat(config: TrainConfig = CONFIG, images: CellDataset = cells, **options: Any) -> None:
        repeat_splits(images, make_model, config, shuffled[1], seeds=(3,), fractions=FRACTIONS, **options)

    with pytest.raises(ConfigError, match="already holds a study"):
        repeat()
    with pytest.raises(ConfigError, match=r"split_seed=3 cannot be continued: epochs was 1, is 2"):
        repeat(TrainConfig(epochs=2, batch_size=8, lr=3e-3), resume=True)
    with pytest.raises(ConfigError, match="train was"):
        repeat(images=cells.subset(range(1, 48)), resume=True)


def test_other_options_of_a_run_that_stands_there_are_found_before_any_training(
    cells: CellDataset, make_model: MakeModel, tmp_path: Path, witness: Any
) -> None:
    def compare(config: TrainConfig, optimizers: list[str], watching: Any) -> Comparison:
        trials = vary(Trial(make_model, config), {"optimizer": optimizers})
        divide = partial(cells.split, FRACTIONS)
        return compare_trials(divide, trials, tmp_path, resume=True, device="cpu", callbacks=[watching])

    compare(CONFIG, ["adam"], witness())
    with pytest.raises(KeyboardInterrupt):
        compare(CONFIG, ["rmsprop"], witness(stop=(1, 0)))
    for optimizer in ("adam", "rmsprop"):  # done, and begun
        watching = witness()
        with pytest.raises(ConfigError, match=rf"optimizer={optimizer} cannot be continued: epochs was 1, is 2"):
            compare(replace(CONFIG, epochs=2), ["sgd", optimizer], watching)
        assert watching.begun == []
    done, report = (tmp_path / "optimizer=adam" / name for name in ("done.json", "report/metrics.json"))
    for file, cure in ((done, "delete it"), (report, f"delete {done}"), (tmp_path / "study.json", "put it back")):
        text = file.read_text()
        for damage in ("", "{}", "[1]"):
            if (file.name, damage) != ("study.json", "{}"):
                file.write_text(damage)
                with pytest.raises(ConfigError, match=f"{file} is missing or damaged .*; {cure}"):
                    compare(CONFIG, ["adam"], witness())
        file.write_text(text)
    report.unlink()
    done.unlink()
    assert len(compare(CONFIG, ["adam"], witness()).runs) == 1
    assert report.is_file()


def test_what_cannot_be_done_leaves_no_folder(cells: CellDataset, make_model: MakeModel, tmp_path: Path) -> None:
    def split(seed: int) -> tuple[CellDataset, ...]:
        return cells.split(FRACTIONS, seed)

    good, out = Trial(make_model, CONFIG), tmp_path / "out"
    with pytest.raises(ConfigError, match="each a name of its own"):
        compare_trials(split, [good, good], out)
    with pytest.raises(ConfigError, match="give at least one"):
        compare_trials(split, [], out)
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet50'"):
        compare_trials(split, [good, Trial(lambda: create_model("resnet5"), CONFIG, varied={"model": "resnet5"})], out)
    with pytest.raises(ConfigError, match="add up to"):
        compare_trials(lambda seed: cells.split((0.5, 0.1, 0.1), seed), [good], out)
    assert not out.exists()


def test_names_become_folders(cells: CellDataset, make_model: MakeModel, tmp_path: Path) -> None:
    trial = Trial(make_model, CONFIG, varied={"model": "timm:a/b", "lr": 0.001})
    compare_trials(lambda seed: cells.split(FRACTIONS, seed), [trial], tmp_path, device="cpu")
    assert (tmp_path / "model=timm_a_b,lr=0.001" / "done.json").is_file()


def test_the_effect_of_a_change_is_measured_seed_by_seed(optimizers: tuple[Comparison, Path]) -> None:
    result, out = optimizers
    (one,) = result.effects
    adam, sgd = (np.mean([right(run) for run in result.runs[i : i + 2]]) for i in (0, 2))
    assert (one.recipe, one.seeds, one.accuracy) == ("optimizer=sgd", 2, pytest.approx(sgd))
    assert one.difference.value == pytest.approx(sgd - adam)
    assert one.lowest <= one.difference.value <= one.highest
    (row,) = rows_of(out / "effects.csv")
    assert float(row["difference"]) == pytest.approx(sgd - adam)
    assert f"optimizer=sgd: {100 * (sgd - adam):+.2f} points" in str(result)
    assert "accuracy beside optimizer=adam" in str(result)


def test_other_splits_of_one_recipe_are_no_effect(shuffled: tuple[Comparison, Path]) -> None:
    assert shuffled[0].effects == []
    assert not (shuffled[1] / "effects.csv").exists()


def test_the_recipe_as_it_is_has_one_name(optimizers: tuple[Comparison, Path], tmp_path: Path) -> None:
    result = optimizers[0]
    trials = [replace(result.trials[0], varied={}), replace(result.trials[2], varied={"ema": 0.9})]
    ablation = Comparison(trials, [result.runs[0], result.runs[0]])
    ablation.save(tmp_path)
    assert {row["recipe"] for row in rows_of(tmp_path / "spread.csv")} == {"the recipe as it is", "ema=0.9"}
    assert [row["first"] for row in rows_of(tmp_path / "pairs.csv")] == ["the recipe as it is"]
    text = str(ablation)
    assert text.count("the recipe as it is") == 3
    assert "+0.00 points [+0.00" not in text
    json.loads((tmp_path / "compare.json").read_text())

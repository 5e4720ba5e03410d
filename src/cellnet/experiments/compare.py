"""Comparing trainings: optimizers, seeds, models, and the shuffling study of repeated splits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from os import PathLike

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError
from cellnet.experiments.comparison import Comparison
from cellnet.experiments.study import Announce, MakeModel, StudyFolder, identify
from cellnet.experiments.trials import Trial, vary
from cellnet.models import CellClassifier
from cellnet.training import Callback, TrainConfig
from cellnet.training.processes import on_main_process


def compare_trials(
    split: Callable[[int], Sequence[CellDataset]],
    trials: Sequence[Trial],
    out: str | PathLike[str],
    *,
    how: Callable[[int], str] = "split seed {}".format,
    resume: bool = False,
    device: str | None = None,
    callbacks: Sequence[Callback] = (),
    announce: Announce | None = None,
    command: str = "",
    distill: CellClassifier | None = None,
) -> Comparison:
    """Train each trial and judge it on the test part of its split.

    Each is a run folder in ``out``, named after what is varied, as `train_and_report` writes it; on resume a
    run that was done is read, an interrupted one goes on, and trials may have been added.

    Args:
        split: Gives the parts train, val and test for a split seed, e.g.
            ``lambda seed: pbc.split((0.7, 0.1, 0.2), seed)``.
        trials: What to train, see `vary`.
        out: Folder of the comparison.
        how: Gives the words for a split seed, for the cards.
        resume: Continue what stands in ``out``, start where nothing does.
        device: ``"cpu"``, or None for the best device there is.
        callbacks: Things that watch the trainings.
        announce: Told in words which training begins, or was done before.
        command: The command that started this, for the cards.
        distill: A trained model that all learn from as well, see `train_and_report`.

    Raises:
        ConfigError: Two trials of one name, or ``out`` holds something else, or was made with other images,
            models or options.
        DataError: The images cannot be divided.
    """
    names = [re.sub(r"[^\w.=,+-]", "_", trial.name) or "run" for trial in trials]
    if not trials or len(set(names)) < len(names):
        raise ConfigError(f"The trials are called {names}; give at least one, and each a name of its own.")
    # Now, not after the first training, is found what is wrong: a name, and below what was done before.
    models = {make_model: identify(make_model()) for make_model in dict.fromkeys(trial.make_model for trial in trials)}
    parts = {seed: split(seed) for seed in dict.fromkeys(trial.split_seed for trial in trials)}
    folder = StudyFolder(out, {"study": "comparison"}, resume, announce, device)
    on_main_process(
        lambda: [
            folder.is_done(
                name,
                parts[trial.split_seed],
                models[trial.make_model],
                trial.config,
                starting_weights=trial.starting_weights,
                distill=distill,
            )
            for name, trial in zip(names, trials, strict=True)
        ]
    )
    runs = [
        folder.run(
            name,
            parts[trial.split_seed],
            trial.make_model,
            trial.config,
            split=how(trial.split_seed),
            callbacks=callbacks,
            command=command,
            starting_weights=trial.starting_weights,
            distill=distill,
        )
        for name, trial in zip(names, trials, strict=True)
    ]
    result = Comparison(list(trials), runs)
    on_main_process(lambda: result.save(out))
    return result


def repeat_splits(
    dataset: CellDataset,
    make_model: MakeModel,
    config: TrainConfig,
    out: str | PathLike[str],
    *,
    seeds: Iterable[int] = range(5),
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    resume: bool = False,
    device: str | None = None,
    callbacks: Sequence[Callback] = (),
    announce: Announce | None = None,
) -> Comparison:
    """The shuffling study: the same recipe on several splits of the same shares, and how far its figures spread.

    Args:
        dataset: All images.
        make_model: Makes a new model.
        config: How to train it; its seed is the same on every split.
        out: Folder of the study.
        seeds: Seeds of the splits.
        fractions: Shares of train, val and test.
        resume: See `compare_trials`, as for the other arguments.
        device: See `compare_trials`.
        callbacks: See `compare_trials`.
        announce: See `compare_trials`.

    Raises:
        CellnetError: As `compare_trials`.
    """
    return compare_trials(
        lambda seed: dataset.split(fractions, seed),
        vary(Trial(make_model, config), {"split_seed": seeds}),
        out,
        resume=resume,
        device=device,
        callbacks=callbacks,
        announce=announce,
    )

r"""Train every row of the study's table, and write it with its intervals beside the published figure.

    python -m benchmarks.accuracy run --protocol study --rows all --data packed/pbc96 --image-size 96 \
        --starts weights --budget 600
    python -m benchmarks.accuracy run --protocol honest --rows cnn,xception --data data --epochs 12
    python -m benchmarks.accuracy judge --weights all --data data --only benchmarks/pool.txt
    python -m benchmarks.accuracy rehearse

Give the same words again to continue: rows that are done are read, one that was cut off goes on where it was.
Rows that were trained on a GPU go to gpu.csv, others to cpu.csv. `judge` writes rows of the weights that ship.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from benchmarks.accuracy.rehearsal import IMAGE_SIZE, PER_CLASS, small_rows, write_start
from benchmarks.accuracy.rows import ROWS, choose
from benchmarks.accuracy.run import Table
from benchmarks.accuracy.shipped import judge, shipped_names
from benchmarks.accuracy.table import RESULTS
from benchmarks.accuracy.tasks import Setting, Task, tasks_of

from cellnet.cli.console import log
from cellnet.cli.inputs import open_dataset
from cellnet.datasets import CellDataset, PackedCells, load_dataset
from cellnet.errors import CellnetError, ConfigError
from cellnet.experiments import list_protocols, load_protocol
from cellnet.registry import check_name
from cellnet.training import ProgressBar

PROGRAM = "python -m benchmarks.accuracy"


def create_parser() -> argparse.ArgumentParser:
    """The words of the command."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="what", required=True)
    run = commands.add_parser("run", help="train rows on a data set")
    run.add_argument("--data", type=Path, default=Path("data"), help="a packed set, or the folder that holds PBC")
    run.add_argument("--out", type=Path, default=Path("runs/table"), help="folder of the trainings")
    shipped = commands.add_parser("judge", help="judge the weights that ship, by the honest protocol")
    shipped.add_argument("--weights", default="all", help="all, or names by comma")
    shipped.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds PBC")
    shipped.add_argument("--only", type=Path, metavar="FILE", help="judge on these images, e.g. benchmarks/pool.txt")
    for command in (run, shipped):
        command.add_argument("--results", type=Path, default=RESULTS, help="folder of cpu.csv and gpu.csv")
    run.add_argument("--hub", action="store_true", help="start from the Hub's ImageNet weights, as the study did")
    rehearse = commands.add_parser("rehearse", help="train small networks on drawn cells, to see that it works")
    rehearse.add_argument("--out", type=Path, default=Path("runs/rehearsal"), help="folder of trainings and results")
    for command in (run, rehearse):
        command.add_argument("--protocol", default="study", help="study or honest")
        command.add_argument("--rows", default="all", help="all, or names by comma")
        command.add_argument("--shuffling", default="both", help="both, without or with; of the study's protocol")
        command.add_argument("--image-size", type=int, help="side of the images in pixels; the protocol's if not given")
        command.add_argument("--epochs", type=int, help="the protocol's if not given; longer rows follow in proportion")
        command.add_argument(
            "--norm-batches",
            type=int,
            default=0,
            help="measure the statistics of batch normalisation over so many batches before judging: for few epochs",
        )
        command.add_argument("--budget", type=float, metavar="MINUTES", help="time of all rows, in place of --epochs")
        command.add_argument("--starts", type=Path, metavar="DIR", help="folder with start files")
        command.add_argument("--device", default="auto", help="auto, cpu or cuda")
        command.add_argument("--compile", action="store_true", help="compile the networks on a GPU")
    return parser


def train_rows(given: argparse.Namespace) -> list[str]:
    """Train rows of a data set, or small ones of drawn cells.

    Returns:
        What went wrong, a line for each row that failed.

    Raises:
        CellnetError: Words that cannot be used.
    """
    rehearsal = given.what == "rehearse"
    check_name("protocol", given.protocol, list_protocols())
    chosen = choose(given.rows, small_rows() if rehearsal else ROWS)
    check_time(given.epochs, given.budget)
    if given.norm_batches < 0:
        raise ConfigError(f"--norm-batches {given.norm_batches} is out of range; give 0 or more, e.g. 20.")
    device = find_device(given.device)
    if rehearsal:
        given.image_size = given.image_size or IMAGE_SIZE
        given.epochs = given.epochs or (None if given.budget else 1)
    starts = given.starts or (write_start(given.out / "starts") if rehearsal else None)
    setting = Setting(
        given.protocol,
        load_protocol(given.protocol),
        device,
        given.image_size,
        starts,
        hub=not rehearsal and given.hub,
        compile=given.compile,
        norm_batches=given.norm_batches,
        rehearsal=rehearsal,
    )
    tasks = tasks_of(chosen, setting, given.shuffling)
    if rehearsal:
        images: CellDataset = load_dataset("synthetic", per_class=PER_CLASS, image_size=setting.image_size)
        out, results = given.out / "table", given.out / "results"
    else:
        images, out, results = open_data(given.data, tasks), given.out, given.results

    def command(task: Task, epochs: int) -> str:
        return command_of(given, task, epochs)

    table = Table(out, images, tasks, results, say=say, callbacks=[ProgressBar(log)], command=command)
    failures = table.run(given.epochs, given.budget)
    say(f"Table: {table.file}")
    return failures


def judge_weights(given: argparse.Namespace) -> list[str]:
    """Judge weights that ship.

    Returns:
        What went wrong, a line for each row that failed.

    Raises:
        CellnetError: Words that cannot be used.
    """
    names = shipped_names()
    wanted = {check_name("weights", word.strip(), [*names, "all"]) for word in given.weights.split(",")}

    def command(name: str) -> str:
        words = [*shlex.split(PROGRAM), "judge", "--weights", name, "--data", typed(given.data)]
        return shlex.join(words + ([] if given.only is None else ["--only", typed(given.only)]))

    images = open_dataset("pbc", given.data, None, given.only)
    return judge(names if "all" in wanted else sorted(wanted), images, given.results, say=say, command=command)


def say(line: str) -> None:
    """Tell how far the command is."""
    log.print(line)


def check_time(epochs: int | None, budget: float | None) -> None:
    """Refuse epochs or a budget that cannot be.

    Raises:
        ConfigError: They are none, or both are given.
    """
    if epochs is not None and budget is not None:
        raise ConfigError("--epochs and --budget exclude each other: the budget chooses the epochs; give one.")
    if epochs is not None and epochs < 1:
        raise ConfigError(f"--epochs {epochs} is out of range; give 1 or more.")
    if budget is not None and not 0 < budget < math.inf:
        raise ConfigError(f"--budget {budget:g} is out of range; give the minutes of all rows together, e.g. 600.")


def find_device(word: str) -> str:
    """``cuda`` or ``cpu``.

    Raises:
        ConfigError: There is no GPU.
        UnknownNameError: Another word.
    """
    check_name("device", word, ["auto", "cpu", "cuda"])
    there = torch.cuda.is_available()
    if word == "cuda" and not there:
        raise ConfigError("There is no GPU that torch can use here; give --device cpu, or auto.")
    return "cuda" if there and word != "cpu" else "cpu"


def open_data(path: Path, tasks: Sequence[Task]) -> CellDataset:
    """A packed set, or PBC in a folder.

    Raises:
        ConfigError: Images that were packed smaller than they are wanted.
        DataError: Nothing of the kind is there.
    """
    if not (path / "index.json").is_file():
        return load_dataset("pbc", path)
    images = PackedCells(path)
    wanted = max(task.image_size for task in tasks)
    if images.preprocess is not None and images.preprocess.image_size < wanted:
        raise ConfigError(
            f"The images in {path} were packed at {images.preprocess.image_size} px, {wanted} px are wanted; pack them "
            "again (cellnet pack --image-size), or give a smaller --image-size."
        )
    return images


def command_of(given: argparse.Namespace, task: Task, epochs: int) -> str:
    """What to type for one row alone."""
    words = [*shlex.split(PROGRAM), given.what, "--protocol", given.protocol, "--rows", task.row.name]
    if task.shuffled:
        words += ["--shuffling", task.shuffled]
    words += ["--image-size", str(task.image_size), "--epochs", str(epochs)]
    paths = {"data": getattr(given, "data", None), "starts": given.starts if task.row.start == "file" else None}
    for name, path in paths.items():
        if path is not None:
            words += [f"--{name}", typed(path)]
    if given.norm_batches:
        words += ["--norm-batches", str(given.norm_batches)]
    words += [f"--{name}" for name in ("hub", "compile") if getattr(given, name, False)]
    return shlex.join([*words, "--device", task.setting.device])


def typed(path: Path) -> str:
    """A path for a command that others type; an absolute one is given by its last name: no other machine has it."""
    return path.name if path.is_absolute() else str(path)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; 0 where all rows are in the table, 1 where one is not, 130 or 143 where it was ended."""
    try:
        given = create_parser().parse_args(words)
        failures = judge_weights(given) if given.what == "judge" else train_rows(given)
    except CellnetError as error:
        log.print(f"Error: {error}", style="red")
        return int(getattr(error, "exit_code", 1))
    for failure in failures:
        log.print(f"Failed: {failure}", style="red")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

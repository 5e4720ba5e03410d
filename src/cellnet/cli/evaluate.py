"""``cellnet evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellnet.cli import options
from cellnet.cli.console import log, print_json
from cellnet.cli.inputs import choose_part, open_dataset, open_model
from cellnet.errors import ConfigError


def evaluate(
    context: typer.Context,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Predictions files to compare, with --compare.")
    ] = None,
    model: options.Pretrained = "mobilenet_v2",
    dataset: options.Dataset = "pbc",
    root: options.Root = None,
    exclude: options.Exclude = None,
    only: options.Only = None,
    part: Annotated[
        str, typer.Option("--part", help="train, val, test, or `all` for a set that no part was trained on.")
    ] = "test",
    split: options.Split = "0.7,0.1,0.2",
    split_seed: options.SplitSeed = 0,
    harmonise: Annotated[bool, typer.Option("--harmonise", help="Map the data's labels to the model's.")] = False,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="Score this CSV instead of running a model.")
    ] = None,
    comparing: Annotated[
        bool, typer.Option("--compare", help="Compare the models of two or more predictions files: A.csv B.csv …")
    ] = False,
    classes: options.Classes = None,
    adapt: options.Adapt = False,
    tta: options.Tta = False,
    risk: options.Risk = None,
    coverage: options.Coverage = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="Folder for the model as calibrated by --risk and --coverage.")
    ] = None,
    prevalence: Annotated[
        str | None,
        typer.Option(
            "--prevalence",
            help="How frequent classes are where you work: `ig=0.01,other=0.99`, or a CSV file with the columns class "
            "and share. Adds their predictive values there.",
        ),
    ] = None,
    batch_size: options.BatchSize = 32,
    device: options.Device = None,
    out: Annotated[Path | None, typer.Option("--out", file_okay=False, help="Folder for the report.")] = None,
    stress: Annotated[
        bool,
        typer.Option("--stress", help="Perturb 400 of the images in eight ways as well, and judge the model on these."),
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Write the figures into the card of --model, a folder of yours.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Judge a model on a part of a data set, score a predictions file, or compare several, with 95 % intervals.

    Example: `cellnet evaluate --dataset folder --root cells --part all --harmonise --out runs/cells`

    Example: `cellnet evaluate --compare old.csv new.csv`

    With --risk or --coverage, the validation part fits calibration and guarantee, and the part to judge shows what came
    of them: `cellnet evaluate --dataset pbc --root data --risk 0.01 --save sure`

    Example: `cellnet evaluate --predictions new.csv --prevalence neutrophil=0.6,lymphocyte=0.3,other=0.1`
    """
    promised = risk is not None or coverage is not None
    if comparing:
        _check_alone(context, "--compare")
        _compare(files or [], out, json)
        return
    if files:
        raise ConfigError(
            f"cellnet evaluate was given {files[0]}; type --predictions {files[0]} to score it, or --compare and at "
            "least two files."
        )
    if predictions is not None:
        _check_alone(context, "--predictions", "--prevalence")
    if save is not None and not promised:
        raise ConfigError("--save writes the model as calibrated; give --risk or --coverage too, e.g. --risk 0.01.")
    if save is not None and tta:
        raise ConfigError(
            "A saved model keeps no test-time augmentation, so the promise would not hold; leave out --tta."
        )
    if record and (promised or classes is not None):
        raise ConfigError(
            "--record is about the model as it is in --model; leave out --risk, --coverage and --classes."
        )
    from cellnet.evaluation import PredictiveTable, Report, plot_stress, read_prevalence
    from cellnet.evaluation import evaluate as judge
    from cellnet.evaluation import stress as judge_perturbed
    from cellnet.experiments.lineage import check_unseen
    from cellnet.files import atomic_path
    from cellnet.hub import record as record_report
    from cellnet.hub.checkpoint import check_free
    from cellnet.hub.find import find
    from cellnet.inference import Predictions, guarantees

    # A name of weights that ship stands for these, whatever folder of that name is here.
    if record and not (Path(model).is_dir() and find(model)[0].resolve() == Path(model).resolve()):
        raise ConfigError(
            f"--record writes into a checkpoint folder of yours, which --model {model} does not name; give its path, "
            "such as ./my_model."
        )
    if save is not None:
        check_free(save)
    if predictions is not None:
        report = Report.from_predictions(Predictions.read_csv(predictions), title=predictions.name)
    else:
        net = open_model(model, classes, tta, device)
        images = open_dataset(dataset, root, exclude, only)
        if harmonise:
            images = images.harmonise(net.labels)
        if prevalence is not None:
            read_prevalence(prevalence, net.labels)  # before the images are looked at
        chosen, parts, how = choose_part(images, part, split, split_seed)
        val = parts.get("val")
        if part != "train" and (warning := check_unseen(net, chosen, parts.get("train"))):
            log.print(warning, style="yellow")
        if promised and val is None:
            raise ConfigError(
                "--risk and --coverage are fitted on a validation part, and there is none here; split the data by "
                "three shares, e.g. --part test --split 0.4,0.3,0.3."
            )
        if adapt:
            net = net.adapt(chosen)
        report = judge(
            net,
            chosen,
            calibrate_on=val if promised else None,
            risk=risk,
            coverage=coverage,
            batch_size=batch_size,
            progress=not json,
            settings=how,
        )
        if save is not None:
            log.print(f"Model: {net.save(save)}")
    table = None
    if prevalence is not None:
        table = PredictiveTable.of(report, read_prevalence(prevalence, report.schema))
        if out is not None:
            table.to_csv(out / "prevalence.csv")
    stressed = None
    if stress:
        stressed = judge_perturbed(net, chosen, batch_size=batch_size)
        if out is not None:
            stressed.to_csv(out / "stress.csv")
            with atomic_path(out / "stress.png") as temporary:
                plot_stress(stressed).savefig(temporary, dpi=150, facecolor="white")
    if record:
        notes = {"adapted to these images": adapt, "test-time augmentation": tta}
        record_report(model, report, note=", ".join(note for note, given in notes.items() if given))
    if out is not None:
        report.save(out)
        log.print(f"Report: {out / 'report.html'}")
    if json:
        result = report.to_dict()
        if stressed is not None:
            result["stress"] = stressed.to_dict()
        if table is not None:
            result["prevalence"] = table.to_dict()
        print_json(result)
    else:
        print(report)
        if table is not None:
            print(f"\nWhere the classes are as frequent as stated:\n{table}")
        for promise in guarantees(net) if promised else ():
            print(f"\n{promise}")
        if stressed is not None:
            print(f"\nUnder stress, at strengths 1 to 5:\n{stressed}")


def _check_alone(context: typer.Context, option: str, *others: str) -> None:
    """Refuse what was typed beside an option that takes predictions files, and would be left without effect."""
    known = {option, *others, "--out", "--json", "files"}
    typed = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name and getattr(context.get_parameter_source(parameter.name), "name", "") == "COMMANDLINE"
    ]
    if unused := [name for name in typed if name not in known]:
        raise ConfigError(f"{option} takes predictions files, neither model nor images; leave out {', '.join(unused)}.")


def _compare(files: list[Path], out: Path | None, json: bool) -> None:
    from cellnet.evaluation import compare
    from cellnet.inference import Predictions

    if len(files) < 2:
        raise ConfigError(f"--compare was given {len(files)} file(s); give at least two: --compare A.csv B.csv")
    short = [file.stem for file in files]
    names = short if len(set(short)) == len(files) else [str(file) for file in files]
    result = compare(*map(Predictions.read_csv, files), names=names)
    if out is not None:
        log.print(f"Comparison: {result.save(out)}")
    if json:
        print_json(result.to_dict())
    else:
        print(result)

"""The options that say which model is trained and how: the same for every command that trains."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property, partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from cellnet.cli.inputs import divide, parse_settings
from cellnet.errors import ConfigError
from cellnet.registry import check_name

if TYPE_CHECKING:
    from cellnet.datasets import CellDataset
    from cellnet.experiments import Protocol
    from cellnet.labels import LabelSchema
    from cellnet.models import CellClassifier
    from cellnet.training import TrainConfig

Split = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="Shares of train, validation and test; or `official`, or a split's CSV file. "
        "0.7,0.1,0.2 where no protocol says otherwise.",
    ),
]
SplitSeed = Annotated[
    int | None, typer.Option("--split-seed", help="Seed of the split; the same for all your models. 0 if not given.")
]


def _take_options(context: typer.Context, file: Path | None) -> Path | None:
    """Let the options of a run file stand where the command line does not give them itself."""
    if file is not None:
        from cellnet.experiments import load_run_file

        options = {key.replace("-", "_"): value for key, value in load_run_file(file)[1].items()}
        known = [str(p.name) for p in context.command.params if p.name not in ("config", "protocol", "preset", "out")]
        for key in options:
            check_name(f"option in {file}", key, known)
        context.default_map = options
    return file


@dataclass(frozen=True)
class Recipe:
    """What the words of the command line say about model and training."""

    model: Annotated[
        str | None, typer.Option("--model", help="Architecture; `cellnet list --models`. mobilenet_v2 if not given.")
    ] = None
    start: Annotated[
        str | None,
        typer.Option(
            "--start", help="Train this trained model on: a name, or a checkpoint folder; classes may differ."
        ),
    ] = None
    pretrained: Annotated[
        bool | None, typer.Option("--pretrained/--no-pretrained", help="Start from ImageNet weights of the Hub.")
    ] = None
    weights: Annotated[Path | None, typer.Option("--weights", help="Start from this safetensors file.")] = None
    mean: Annotated[float | None, typer.Option("--mean", help="Mean that the weights expect, all channels.")] = None
    std: Annotated[float | None, typer.Option("--std", help="Standard deviation that they expect.")] = None
    head: Annotated[str | None, typer.Option("--head", help="linear, or the study's: study.")] = None
    image_size: Annotated[int | None, typer.Option("--image-size", help="Side of the input, pixels.")] = None
    crop: Annotated[
        float | None,
        typer.Option("--crop", help="Share of the shorter side that is seen, about the centre; above 1, a margin."),
    ] = None
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", help="study (as published), honest (ours), or a TOML file like theirs."),
    ] = None
    preset: Annotated[
        str | None, typer.Option("--preset", help="Training options found by experiment: fast, or best.")
    ] = None
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="TOML file: a run's config.toml, or the train.toml of shipped weights.",
            is_eager=True,
            callback=_take_options,
        ),
    ] = None
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the training part.")] = None
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Images a step.")] = None
    lr: Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")] = None
    optimizer: Annotated[str | None, typer.Option("--optimizer", help="adam, adamw, rmsprop or sgd.")] = None
    balance: Annotated[
        str | None,
        typer.Option("--balance", help="Balance the training part: SMOTE, EmbeddingSMOTE, RandomOverSampler …"),
    ] = None
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the training.")] = None
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other training option, e.g. ema=0.999; repeatable."),
    ] = None

    def train_config(self, name: str | None = None) -> TrainConfig:
        """How the model ``name`` (default: ``--model``) is trained: as one file says, then the words.

        Raises:
            UnknownNameError: An unknown option or preset, with the nearest right one.
            ConfigError: A value out of range, or more than one of protocol, preset and config.
        """
        from cellnet.training import TrainConfig

        if sum(given is not None for given in (self.protocol, self.preset, self.config)) > 1:
            raise ConfigError(
                "--protocol, --preset and --config exclude each other; give one, and single options beside it."
            )
        if self.preset is not None:
            base = TrainConfig.preset(self.preset)
        else:
            base = self._protocol.for_model(name or self.name)[0]
        return TrainConfig.from_dict(base.to_dict() | self.training_options)

    @property
    def training_options(self) -> dict[str, Any]:
        """The training options that were given one by one."""
        named = {key: getattr(self, key) for key in ("epochs", "batch_size", "lr", "optimizer", "balance", "seed")}
        return {key: value for key, value in named.items() if value is not None} | parse_settings(self.settings or [])

    def create(self, labels: LabelSchema, name: str | None = None, **options: Any) -> CellClassifier:
        """A new model.

        Args:
            labels: Its classes.
            name: Default: ``--model``.
            **options: Options of `create_network` that go before all others.

        Raises:
            ConfigError: Options for a new network beside ``--start``.
        """
        from cellnet.experiments import create_network
        from cellnet.models import SegmentingClassifier

        if self._trained is not None:
            return self._train_on(self._trained, labels, name, options)
        name = name or self.name
        model = create_network(name, labels, **(self.model_options(name) | options))
        return SegmentingClassifier(model) if self.train_config(name).mask_weight else model

    @property
    def name(self) -> str:
        """The architecture."""
        return self.model or ("mobilenet_v2" if self._trained is None else self._trained.backbone.name)

    def gives(self, name: str, option: str) -> bool:
        """Whether this training option was chosen for this model: in words, in their file, or in the protocol."""
        written = self.config is not None and option in self._protocol.train
        return written or option in self.training_options or self._protocol.trains_apart(name, option)

    def model_options(self, name: str) -> dict[str, Any]:
        """The options of `create_network` for a model: as the protocol says, then the words."""
        given = {
            "pretrained": self.pretrained,
            "weights": self.weights,
            "mean": None if self.mean is None else (self.mean,) * 3,
            "std": None if self.std is None else (self.std,) * 3,
            "head": self.head,
            "image_size": self.image_size,
            "crop": self.crop,
        }
        chosen = self._protocol.for_model(name)[1]
        if self.weights is not None:
            chosen.pop("pretrained", None)  # the file takes its place
        return chosen | {key: value for key, value in given.items() if value is not None}

    def maker(self, labels: LabelSchema, name: str | None = None, **options: Any) -> Callable[[], CellClassifier]:
        """What makes the model of `create`, as often as it is called."""
        return partial(self.create, labels, name, **options)

    def starting_weights(self, name: str | None = None) -> str:
        """Where the weights start from, for the card."""
        if self._trained is not None:
            card = self._trained.weights_card
            return f"{card.name}, version {card.version}" if card else str(self.start)
        if self.weights is not None:
            return self.weights.name
        pretrained = self._protocol.for_model(name or self.name)[1].get("pretrained", False)
        hub = pretrained if self.pretrained is None else self.pretrained
        return "the Hub's ImageNet weights" if hub else ""

    def seed_of_split(self, given: int | None) -> int:
        """The seed that ``--split-seed`` gives, or the protocol."""
        return self._protocol.split_seed if given is None else given

    def divide(
        self, images: CellDataset, split: str | None, split_seed: int | None
    ) -> tuple[tuple[CellDataset, ...], str]:
        """The parts that ``--split`` and ``--split-seed`` name, or the protocol, and how they were made, in words."""
        shares = ",".join(map(str, self._protocol.split))
        return divide(images, split or shares, self.seed_of_split(split_seed))

    def _train_on(
        self, trained: CellClassifier, labels: LabelSchema, name: str | None, options: dict[str, Any]
    ) -> CellClassifier:
        given = {
            "--model": self.model if name in (None, self.name) else name,
            "--pretrained": self.pretrained,
            **{f"--{key}": getattr(self, key) for key in ("weights", "mean", "std", "head")},
            **options,
        }
        for option, value in given.items():
            if value is not None:
                raise ConfigError(
                    f"--start {self.start} is a whole network; leave out {option}, which is for a new one."
                )
        return trained.transfer(labels, image_size=self.image_size, crop=self.crop)

    @cached_property
    def _trained(self) -> CellClassifier | None:
        from cellnet.hub import load_pretrained

        return None if self.start is None else load_pretrained(self.start)

    @cached_property
    def _protocol(self) -> Protocol:
        from cellnet.experiments import Protocol, load_protocol, load_run_file

        if self.config is not None:
            return load_run_file(self.config)[0]
        return Protocol() if self.protocol is None else load_protocol(self.protocol)


def with_recipe(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose argument ``recipe`` is made of one option for each field of `Recipe`."""
    hints = get_type_hints(Recipe, include_extras=True)
    options = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name])
        for f in fields(Recipe)
    ]
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        parameters += options if parameter.name == "recipe" else [parameter.replace(kind=parameter.KEYWORD_ONLY)]

    @wraps(command)
    def run(**words: Any) -> None:
        recipe = Recipe(**{option.name: words.pop(option.name) for option in options})
        command(recipe=recipe, **words)

    # typer reads the options from these two.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def this_command() -> str:
    """The command line, for the cards; without ``--resume``, which changes no result."""
    return shlex.join(["cellnet", *(word for word in sys.argv[1:] if word != "--resume")])

"""The README of a checkpoint folder: its `WeightsCard` in words, figures never without their interval."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cellnet.cards import Scoring, WeightsCard
from cellnet.errors import WeightsError
from cellnet.inference import guarantees
from cellnet.labels import LabelSchema

if TYPE_CHECKING:
    from cellnet.hub.config import CheckpointConfig
    from cellnet.models import CellClassifier

_STORAGE = {"float32": "32-bit floats", "float16": "16-bit floats", "int8": "one byte a weight with scales"}

_LOCAL = """
The argument is the path of this folder, or the folder's name where it ships with cellnet or stands in the
folder that the variable `CELLNET_WEIGHTS` names.
"""

_HUB_METRICS = {"accuracy": "accuracy", "macro_f1": "f1", "macro_precision": "precision", "macro_recall": "recall"}
"""cellnet's names of figures and the Hub's."""


def render_card(card: WeightsCard, model: CellClassifier, *, source: str, storage: str) -> str:
    """Markdown for people who find the folder, headed by what the Hub reads.

    Args:
        card: Facts about the weights.
        model: The model that they belong to.
        source: What `cellnet.load_pretrained` is given: the path of the folder, or its address on the Hub.
        storage: How the weights are stored.

    Raises:
        WeightsError: The card lacks something, or holds a figure that is no number.
    """
    with _checked(card):
        return _page(card, model, source, storage)


def _page(card: WeightsCard, model: CellClassifier, source: str, storage: str) -> str:
    size = model.preprocess.image_size
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return f"""---
{_front_matter(card)}
---

# {card.name}

**For research use only.** Not a medical device; not for diagnosis.

A classifier of single blood-cell images, made with cellnet.

```python
import cellnet

model = cellnet.load_pretrained("{source}")
model.predict("smears/").to_csv("predictions.csv")
```
{"" if source.startswith("hf://") else _LOCAL}
## Use

Meant for research on single cells that were already found and cut out, on images like those it was trained on; look at
some of your own cells of each class before you trust it. Not meant for diagnosis, for triage of patients, for blasts or
other classes than those below, or for whole smears. A person who knows blood cells should see what the model abstains
from, and a sample of the rest.

{_figures(card)}

## Limits

{_limits(card, guarantees(model))}

## Facts

{_facts(card, size, f"{parameters:,}, stored as {_STORAGE[storage]}")}

## Reporting items

After TRIPOD+AI (Collins et al. 2024) and CLAIM (Mongan et al. 2020), as far as they concern a classifier of images.

{_items(card, size)}

## Classes

{_classes(model.labels)}
"""


def summarise(config: CheckpointConfig) -> str:
    """What a card says of figures, limits and facts, in Markdown; for this, no weights are needed.

    Args:
        config: ``config.json`` of a checkpoint folder.

    Raises:
        WeightsError: It lacks something that every card tells.
    """
    with _checked(config.card):
        return _summary(config)


@contextmanager
def _checked(card: WeightsCard) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise WeightsError(f"The card of {card.name!r} is incomplete ({error}); fetch the weights anew.") from error


def _summary(config: CheckpointConfig) -> str:
    card, size = config.card, config.architecture["preprocess"]["image_size"]
    return f"""# {card.name}

**For research use only.** Not a medical device; not for diagnosis.

{_figures(card)}

## Limits

{_limits(card, guarantees(config))}

## Facts

{_facts(card, size, f"stored as {_STORAGE[config.storage]}")}

## Classes

{_classes(config.labels)}
"""


def _figures(card: WeightsCard) -> str:
    return f"""## Figures

{_metrics(card)}

{_per_class(card)}

### Other data

{_elsewhere(card)}

### Every scoring

{_scorings(card)}"""


def _front_matter(card: WeightsCard) -> str:
    """YAML by which the Hub files the model."""
    from huggingface_hub import ModelCardData

    # The Hub knows licences by their SPDX identifiers in small letters, and calls any other thing "other".
    known = re.fullmatch(r"[\w.+-]+", card.licence) is not None
    facts: dict[str, Any] = {} if known else {"license_name": "see-below"}
    data = ModelCardData(
        license=card.licence.lower() if known else "other",
        library_name="cellnet",
        pipeline_tag="image-classification",
        tags=["haematology", "blood-cells", "microscopy", "research-use-only"],
        metrics=[theirs for ours, theirs in _HUB_METRICS.items() if ours in card.metrics] or None,
        **facts,
    )
    return data.to_yaml().strip()


def _metrics(card: WeightsCard) -> str:
    if not card.metrics:
        return "None were measured: treat these weights as untested."
    rows = (
        (name, f"{figure['value']:.4f}", f"{figure['low']:.4f} – {figure['high']:.4f}")
        for name, figure in card.metrics.items()
    )
    images = f"{card.num_test_images:,}" if card.num_test_images else "an unknown number of"
    return f"Measured on {images} test images.\n\n{_table(('figure', 'value', '95 % interval'), *rows)}"


def _per_class(card: WeightsCard) -> str:
    judged = card.headline
    if judged is None:
        return "Figures of single classes were not kept."
    rows = (
        (name, figures["n"], _interval(figures.get("recall")), _interval(figures.get("precision")))
        for name, figures in judged.per_class.items()
    )
    return _table(("class", "images", "recall", "precision"), *rows)


def _others(card: WeightsCard) -> list[Scoring]:
    """Scorings of these weights on data sets that they were not trained on; of those done alike, the last."""
    home = (card.training_set.get("title", card.training_data), card.training_data)
    scorings = (s for s in card.scorings if s.data not in home and s.version == card.version)
    return list({(s.data, s.part, s.note): s for s in scorings}.values())


def _elsewhere(card: WeightsCard) -> str:
    others = _others(card)
    if not others:
        return "Not judged on images of another laboratory: nobody knows how they do there."
    names = ("accuracy", "balanced_accuracy", "macro_f1", "coverage", "accepted_accuracy", "ece")
    titles = (f"{s.data}, {s.images} images{f', {s.note}' if s.note else ''}" for s in others)
    rows = ((name, *(_interval(s.metrics.get(name)) for s in others)) for name in names)
    return _table(("figure", *titles), *rows)


def _scorings(card: WeightsCard) -> str:
    """Who has chosen by a test part has used it up; so it is told how often each was looked at."""
    if not card.scorings:
        return "How often the test images were looked at before is not recorded."
    rows = (
        (
            s.date or "not stated",
            s.version,
            f"{s.data}{f', part {s.part}' if s.part else ''}{f' ({s.note})' if s.note else ''}",
            s.images,
            _interval(s.metrics.get("accuracy")),
        )
        for s in card.scorings
    )
    return _table(("day", "version", "data", "images", "accuracy"), *rows)


def _table(head: Sequence[object], *rows: Sequence[object]) -> str:
    lines = (f"| {' | '.join(map(_cell, row))} |" for row in rows)
    return "\n".join((f"| {' | '.join(map(_cell, head))} |", f"|{'---|' * len(head)}", *lines))


def _cell(value: object) -> str:
    """A value that stays within its cell, and is no tag."""
    return " ".join(str(value).splitlines()).replace("|", r"\|").replace("<", "&lt;")


def _interval(figure: Mapping[str, float] | None) -> str:
    if not figure:
        return "–"
    value, low, high = (100 * figure[key] for key in ("value", "low", "high"))
    return f"{value:.2f} % [{low:.2f}–{high:.2f}]"


def _limits(card: WeightsCard, promises: Sequence[str]) -> str:
    always = (
        "Figures hold for images like the training images: other stains, microscopes, laboratories or image "
        "crops can be much worse.",
        "Probabilities were calibrated, if at all, on images of the same source: elsewhere they are too confident.",
        "The model knows no other classes than those below, and gives every image one of them.",
    )
    return "\n".join(f"- {limit}" for limit in (*card.limits, *promises, *always))


def _facts(card: WeightsCard, size: int, parameters: str) -> str:
    training, speed = card.training, card.speed
    facts = {
        "Version": card.version,
        "Licence": card.licence,
        "Training data": _training_data(card),
        "Hash of the training data": card.training_data_hash,
        "Split": card.split,
        "Starting weights": card.starting_weights,
        "Command": f"`{card.command}`" if card.command else "",
        "Seed": training.get("seed"),
        "Epochs": _words("{epochs}, of which epoch {best_epoch} was chosen", training),
        "Compute spent": f"{training['hours']} hours on {_machine(training)}" if "hours" in training else "",
        "Versions": ", ".join(f"{k} {v}" for k, v in training.get("versions", {}).items()),
        "Parameters": parameters,
        "Image size": f"{size} × {size} pixels",
        "Speed": _words("{images_per_second} images a second in batches of {batch_size} on {machine}", speed),
    }
    return "\n".join(f"- {name}: {'not stated' if value in ('', None) else value}" for name, value in facts.items())


def _words(words: str, facts: Mapping[str, Any]) -> str:
    """The words with the facts in them; nothing where one is not known."""
    try:
        return words.format_map(facts)
    except KeyError:
        return ""


def _machine(training: Mapping[str, Any]) -> str:
    hardware = training.get("hardware", {})
    words = [hardware.get("processor"), f"{hardware.get('threads')} threads", hardware.get("device")]
    return f"{', '.join(str(word) for word in words if word)} ({training.get('precision')})"


def _training_data(card: WeightsCard) -> str:
    facts = card.training_set
    more = [facts[key] for key in ("title", "licence", "source") if key in facts]
    return f"{card.training_data} ({'; '.join(more)})" if more else card.training_data


def _items(card: WeightsCard, size: int) -> str:
    facts, images = card.training_set, card.num_test_images
    others = len({s.data for s in _others(card)})
    items = {
        "Purpose": "Name the class of one blood cell in an image; research only",
        "Source of data": f"{_training_data(card) or 'not stated'}; citation: {facts.get('citation', 'not stated')}",
        "Staining and microscope": "; ".join(facts[key] for key in ("stain", "scanner") if key in facts),
        "Participants": "Not described beyond what the data set's authors state; no age, sex, ethnicity or diagnosis "
        "of a donor is known to the model or its judges, so no subgroup of patients can be compared",
        "Reference standard": "The labels of the data set, as its authors gave them; not reviewed again",
        "Sample size": f"All images of the split; {images:,} test images give the intervals stated"
        if images
        else "No test",
        "Missing data": "An unreadable image is an error or is reported, never replaced",
        "Partitions": card.split,
        "Preprocessing": f"RGB, resized to {size} × {size} pixels; written in config.json",
        "Model": "Architecture in config.json, starting weights and command above",
        "Choice of model": "The epoch, the temperature and the thresholds were chosen on the validation part",
        "Measures": "Above, each with a 95 % interval; images are taken as independent",
        "Calibration": f"ECE {_interval(card.metrics.get('ece'))} on the test part" if card.metrics else "",
        "External validation": f"{others} other data set{'' if others == 1 else 's'}, above" if others else "None",
        "Failure analysis": "The training's report shows each mistake; the classes above show where they lie",
        "Availability": "Weights, code and command are open; the data stand under their own licence",
        "Registration, protocol, funding": "None",
    }
    return _table(("item", "answer"), *((name, value or "not stated") for name, value in items.items()))


def _classes(labels: LabelSchema) -> str:
    return _table(("class", "lineage", "looks"), *((cell.name, cell.lineage, cell.description) for cell in labels))

"""What weights have learned from, so that no image that they learned counts as a test image."""

from __future__ import annotations

from collections.abc import Sequence

from cellnet.cards import WeightsCard
from cellnet.datasets import CellDataset
from cellnet.errors import DataError
from cellnet.models import CellClassifier


def seen_before(train: CellDataset, ancestors: Sequence[WeightsCard | None]) -> dict[str, str]:
    """The other data sets that a model learned from before, or through a teacher."""
    known = {name: digest for card in ancestors if card for name, digest in card.learned_from.items()}
    return {name: digest for name, digest in known.items() if name != name_of(train)}


def name_of(part: CellDataset) -> str:
    """The name by which cards know the data set."""
    return part.card.name if part.card else part.labels.name


def check_lineage(model: CellClassifier, train: CellDataset) -> None:
    """Refuse a model to train that may have seen test images, see `check_origin`."""
    for card in model.lineage:
        check_origin(card, train, f"{card.name if card else 'A model'}, which this training starts from,")


def check_origin(card: WeightsCard | None, train: CellDataset, who: str) -> None:
    """Refuse a trained model to go on from that may have seen test images: it would tell what it saw there.

    Safe are a model of the same training part, and one of other data sets.

    Args:
        card: The card of the model.
        train: The images to train on.
        who: What the model is here, for the message.

    Raises:
        DataError: It learned on other images of the same data set, or nobody knows on which.
    """
    name = name_of(train)
    if card is None or card.learned_from.get(name, train.fingerprint()) != train.fingerprint():
        on = "unknown images: it has no card" if card is None else f"other images of {name!r} than this training part"
        raise DataError(
            f"{who} was trained on {on}. Test images may be among them, and what it learned from them would count "
            "as success; train it on the same split (the same --split and --split-seed) and give its checkpoint folder."
        )


def check_unseen(model: CellClassifier, judged: CellDataset, train: CellDataset | None) -> str:
    """Refuse to judge a model on images that it may have learned from.

    Args:
        model: The model.
        judged: The images to judge it on.
        train: The training part of the split that they are a part of; None where there is no split.

    Returns:
        A warning where nobody can tell, since there is no split; empty where all is well.

    Raises:
        DataError: The model learned from the same data set, and from another training part.
    """
    name = name_of(judged)
    for card in model.lineage:
        if card is None or name not in card.learned_from:
            continue
        who = f"{card.name} learned from images of {name!r}"
        if train is None:
            return f"{who}: where some of these are among them, the figures are too good."
        if card.learned_from[name] != train.fingerprint():
            raise DataError(
                f"{who} that are not the train part of this split, so it may have learned some of those to judge. "
                f"Give the split that it was trained on ({card.split or 'its card names none'}) by --split, "
                "--split-seed, --only and --exclude; or images that it has not seen, by --part all."
            )
    return ""

"""What a user says to a model but a higher layer does: predict, calibrate, save, push_to_hub, self-test.

`CellClassifier` stands low in the house so that everything can build on it, yet a user expects
``model.predict(...)``. These methods look the doing function up by name when they are called. This table is
the only way up in the package; `tests/test_architecture.py` holds it to that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike
    from pathlib import Path

    from cellnet.datasets import CellDataset
    from cellnet.hub import SelfTest
    from cellnet.inference import Explanation, Neighbour, NeighbourIndex, Predictions
    from cellnet.labels import LabelSchema
    from cellnet.models.classifier import CellClassifier


class ModelVerbs:
    """Methods of `CellClassifier` whose work is done in `cellnet.inference`, `cellnet.evaluation` and `cellnet.hub`.

    Attributes:
        source: Where `cellnet.load_pretrained` found the weights: a folder, or an address on the Hub with its commit.
            Empty for a model that was not loaded.
    """

    source: str = ""

    def predict(self, inputs: Any, **options: Any) -> Predictions:
        """Classify images: `cellnet.inference.predict` with this model.

        Args:
            inputs: A folder, paths, PIL images, arrays, uint8 tensors or a `CellDataset`.
            **options: Options of `cellnet.inference.predict`, e.g. ``batch_size``, ``device``, ``progress``.

        Returns:
            One row an input, in input order; an unreadable image is a row with an error.
        """
        return import_module("cellnet.inference.predictor").predict(self, inputs, **options)  # type: ignore[no-any-return]

    def calibrate(self, dataset: CellDataset, method: str | None = "temperature", **options: Any) -> None:
        """Fit probabilities, abstention and prediction sets on a validation part: `cellnet.evaluation.calibrate`.

        Args:
            dataset: Labelled images that the model did not learn from, never the test part.
            method: ``"temperature"``, ``"vector"`` or ``"isotonic"``; None keeps the present calibration.
            **options: Options of `cellnet.evaluation.calibrate`, e.g. ``risk`` and ``coverage``.
        """
        import_module("cellnet.evaluation").calibrate(self, dataset, method, **options)

    def adapt(self, inputs: Any, **options: Any) -> CellClassifier:
        """A copy that is used to another laboratory's images, without labels: `cellnet.inference.adapt`.

        Args:
            inputs: Images as `predict` takes them.
            **options: Options of `cellnet.inference.adapt`, e.g. ``prior``.
        """
        return import_module("cellnet.inference").adapt(self, inputs, **options)  # type: ignore[no-any-return]

    def restrict(self, names: Iterable[str]) -> CellClassifier:
        """A copy that answers with some of the classes only: `cellnet.models.restrict`.

        Args:
            names: The classes to keep.
        """
        return import_module("cellnet.models").restrict(self, names)  # type: ignore[no-any-return]

    def fuse(self) -> CellClassifier:
        """A copy that predicts the same sooner, and does nothing else: `cellnet.models.fuse`."""
        return import_module("cellnet.models").fuse(self)  # type: ignore[no-any-return]

    def transfer(self, labels: LabelSchema | None = None, **options: Any) -> CellClassifier:
        """A copy to train on, on other images or for other classes: `cellnet.models.transfer`.

        Args:
            labels: The classes of the copy, the model's own where None.
            **options: Options of `cellnet.models.transfer`: ``image_size``, ``crop``.
        """
        return import_module("cellnet.models").transfer(self, labels, **options)  # type: ignore[no-any-return]

    def explain(self, inputs: Any, **options: Any) -> list[Explanation]:
        """Which pixels spoke for a class: `cellnet.inference.explain` with this model.

        Args:
            inputs: Images as `predict` takes them.
            **options: Options of `cellnet.inference.explain`: ``label``, ``method``.
        """
        return import_module("cellnet.inference").explain(self, inputs, **options)  # type: ignore[no-any-return]

    def neighbours(self, inputs: Any, among: CellDataset | NeighbourIndex, k: int = 5) -> list[list[Neighbour]]:
        """Which known cells look like these: `cellnet.inference.NeighbourIndex` with this model.

        Args:
            inputs: As `predict` takes them.
            among: Known cells; an index of them answers at once, a data set is looked through each time.
            k: How many for each input.

        Returns:
            For each input its neighbours, the most similar first.
        """
        index = import_module("cellnet.inference").NeighbourIndex
        known = among if isinstance(among, index) else index.build(self, among)
        return known.nearest(self, inputs, k)  # type: ignore[no-any-return]

    def save(self, folder: str | PathLike[str], **options: Any) -> Path:
        """Write a checkpoint folder that `cellnet.load_pretrained` reads: `cellnet.hub.save`."""
        return import_module("cellnet.hub").save(self, folder, **options)  # type: ignore[no-any-return]

    def push_to_hub(self, repo: str, **options: Any) -> str:
        """Publish on the Hub, the card written from ``report=``: `cellnet.hub.push_to_hub`.

        Returns:
            The web address of the commit.
        """
        return import_module("cellnet.hub").push_to_hub(self, repo, **options)  # type: ignore[no-any-return]

    def self_test(self) -> SelfTest:
        """Compare with the golden logits stored beside the weights: `cellnet.hub.self_test`."""
        return import_module("cellnet.hub").self_test(self)  # type: ignore[no-any-return]

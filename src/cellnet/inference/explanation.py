"""Where a model looked: a map over the original pixels of an image, by gradients or without them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cellnet.errors import ConfigError, DataError, LabelError
from cellnet.files import atomic_path, check_picture
from cellnet.images import background_colour
from cellnet.inference.inputs import open_sources
from cellnet.inference.predictor import evaluation_mode
from cellnet.registry import check_name

if TYPE_CHECKING:
    from cellnet.images import Preprocess
    from cellnet.models import CellClassifier

MOVES = 2
"""Steps a side by which Grad-CAM moves the image through a place of its maps."""

GRID = 14
"""Places a side at which occlusion covers the image."""

COVERED = 0.25
"""Side of what occlusion covers, as a share of the image's."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Which pixels spoke for a class.

    Args:
        image: The original image, uint8 3×H×W.
        heatmap: float32 H×W, 0 to 1, over its pixels; 0 where the model's crop does not reach.
        label: The class that is explained.
        probability: Its probability, 0 to 1.
        method: How the map was made.
    """

    image: Tensor = field(repr=False)
    heatmap: NDArray[np.float32] = field(repr=False)
    label: str
    probability: float
    method: str

    def overlay(self, strength: float = 0.5) -> NDArray[np.uint8]:
        """The image with the map in colour over it, uint8 H×W×3; where the map is 0 the image shows as it is."""
        from matplotlib import colormaps

        pixels = self.image.permute(1, 2, 0).numpy()
        colours = colormaps["inferno"](self.heatmap)[..., :3] * 255
        share = strength * self.heatmap[..., None]
        return np.asarray(np.rint((1 - share) * pixels + share * colours), np.uint8)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write image and overlay side by side; the suffix chooses the format (png, pdf, svg).

        Raises:
            ConfigError: The file cannot be written, or its suffix names no format.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 3.8), layout="constrained")
        for axis, pixels, title in zip(
            figure.subplots(1, 2),
            (self.image.permute(1, 2, 0).numpy(), self.overlay()),
            (f"{self.label}, {100 * self.probability:.1f} %", self.method),
            strict=True,
        ):
            axis.imshow(pixels)
            axis.set_title(title, fontsize=10)
            axis.axis("off")
        check_picture(path)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=150, facecolor="white")
        return Path(path)


def explain(
    model: CellClassifier, inputs: Any, *, label: str | None = None, method: str = "grad-cam"
) -> list[Explanation]:
    """Show which pixels spoke for a class.

    - ``"grad-cam"`` weighs the last feature maps by the gradient of the class's logit with respect to each of them
      (Selvaraju et al. 2017, arXiv 1610.02391). These have 4×4 places in most networks at 128 pixels; so the maps of 32
      copies, turned and mirrored in eight ways and moved by half a place, are laid over each other. A composite's maps
      are taken together.
    - ``"occlusion"`` covers a part of the image by its background colour, here and there, and shows where that takes
      log-probability from the class (Zeiler & Fergus 2014, arXiv 1311.2901). It needs no gradient and works with every
      network; it takes about two hundred passes.

    A map shows where the evidence lies, not why it speaks for the class, and a map that looks right is no proof that
    the answer is. `similarity_to_untrained` tells whether maps depend on what was learned at all.

    Args:
        model: The model; it is left as it was found.
        inputs: Images as `cellnet.inference.predict` takes them.
        label: The class to explain; default: the most probable one of each image.
        method: ``"grad-cam"`` or ``"occlusion"``.

    Raises:
        UnknownNameError: Another method.
        LabelError: The model does not know the class.
        DataError: An image that cannot be read, or none.
        ConfigError: For ``"grad-cam"``, features that form no map, or that come of a class token beside it.

    Example:
        >>> from cellnet import create_model, load_dataset
        >>> cells = load_dataset("synthetic", per_class=1, image_size=48)
        >>> [why] = explain(create_model("cnn", cells.labels, image_size=32), cells.image(0))
        >>> why.heatmap.shape, why.method
        ((48, 48), 'grad-cam')
    """
    heat = METHODS[check_name("method", method, METHODS)]
    if label is not None and label not in model.labels.names:
        raise LabelError(f"The model does not know {label!r}; it knows {', '.join(model.labels.names)}.")
    chosen = None if label is None else model.labels.names.index(label)
    results = []
    for source in open_sources(inputs)[0]:
        image = source.read()
        with evaluation_mode(model):
            seen = _seen(model, image)
            with torch.no_grad():
                probabilities = model.calibrator.apply(model(seen).float().cpu().numpy())[0]
            target = int(probabilities.argmax()) if chosen is None else chosen
            heatmap = _over_pixels(heat(model, seen, target), image, model.preprocess)
        results.append(Explanation(image, heatmap, model.labels.names[target], float(probabilities[target]), method))
    if not results:
        raise DataError("There is no image to explain; give at least one.")
    return results


@torch.inference_mode(False)  # wherever it is called
@torch.enable_grad()
def class_activation(model: CellClassifier, images: Tensor, target: int) -> Tensor:
    """Grad-CAM of one class: uint8 B×3×S×S on the model's device to B×h×w, 0 and more, in units of the logit.

    Raises:
        ConfigError: Features that form no map, or that do not come of the maps.
    """
    with torch.no_grad():
        maps, pool = model.backbone.maps_and_pooling(model.normalise(images))
    # The gradient with respect to what is added to a map everywhere is the sum over its places.
    shift = torch.zeros(maps.shape[:2], device=maps.device, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.head(pool(shift))[:, target].sum(), shift)
    if not gradient.any():
        raise ConfigError(
            f"The features of {model.backbone.name} do not come of its maps, but of a class token or alike, so that "
            "Grad-CAM shows nothing; take method='occlusion'."
        )
    return torch.relu((gradient[:, :, None, None] * maps).sum(1)).detach()


def grad_cam(model: CellClassifier, images: Tensor, target: int) -> Tensor:
    """`class_activation` of moved, turned and mirrored copies of an image, laid over each other again.

    One image alone shows as few places as the last maps have, and shows them displaced: layers that halve an image look
    to one side of the middle of each place.

    Args:
        model: The model.
        images: uint8 1×3×S×S on its device.
        target: The class.

    Returns:
        S×S; that of a turned or mirrored image is turned or mirrored likewise.
    """
    place = images.shape[-1] // class_activation(model, images, target).shape[-1]
    total = torch.zeros(images.shape[-2:], device=images.device)
    for turns in range(4):
        for mirrored in (False, True):
            copy = torch.rot90(images.flip(-1) if mirrored else images, turns, (-2, -1))
            heat = torch.rot90(_moved_cam(model, copy, target, place), -turns, (-2, -1))
            total += heat.flip(-1) if mirrored else heat
    return total / 8


def _moved_cam(model: CellClassifier, images: Tensor, target: int, place: int) -> Tensor:
    """`class_activation` of copies moved by parts of a place of so many pixels, laid over each other again."""
    size = images.shape[-1]
    margin, steps = place // 2, sorted({i * place // MOVES for i in range(MOVES)})
    corners = [(top, left) for top in steps for left in steps]
    padded = F.pad(images.float(), [margin, place - margin] * 2, mode="reflect").to(torch.uint8)
    moved = torch.cat([padded[..., top : top + size, left : left + size] for top, left in corners])
    heats = F.interpolate(class_activation(model, moved, target)[:, None].float(), (size, size), mode="bilinear")
    total, count = torch.zeros(2, size + place, size + place, device=heats.device)
    for (top, left), heat in zip(corners, heats[:, 0], strict=True):
        total[top : top + size, left : left + size] += heat
        count[top : top + size, left : left + size] += 1
    mean: Tensor = total / count.clamp(min=1)
    return mean[margin : margin + size, margin : margin + size]


@torch.no_grad()
def occlusion(model: CellClassifier, images: Tensor, target: int) -> Tensor:
    """Loss of log-probability under a square of background: uint8 1×3×S×S to `GRID`×`GRID`, 0 and more."""
    size = images.shape[-1]
    side, colour = max(1, round(COVERED * size)), background_colour(images[0])[:, None, None]
    before = _probabilities(model, images)[0, target].log()
    corners = [round(i * (size - side) / (GRID - 1)) for i in range(GRID)]
    drops = []
    for top in corners:
        row = images.repeat(GRID, 1, 1, 1)
        for i, left in enumerate(corners):
            row[i, :, top : top + side, left : left + side] = colour
        drops.append(before - _probabilities(model, row)[:, target].log())
    return torch.relu(torch.stack(drops))


METHODS: dict[str, Callable[[CellClassifier, Tensor, int], Tensor]] = {"grad-cam": grad_cam, "occlusion": occlusion}
"""Ways to explain, by name."""


def similarity_to_untrained(model: CellClassifier, inputs: Any, *, method: str = "grad-cam", seed: int = 0) -> float:
    """How much the maps of a model are like those of the same network with random weights.

    A method whose maps stay the same when all that was learned is taken away shows edges, not reasons (Adebayo et al.
    2018, arXiv 1810.03292).

    Args:
        model: The model.
        inputs: Images as `explain` takes them.
        method: See `explain`.
        seed: Of the random weights.

    Returns:
        Mean Spearman correlation of the maps over the images, -1 to 1. A cell in the middle of each image alone makes
        maps alike, by Grad-CAM more than by occlusion.

    Raises:
        CellnetError: As `explain`.
    """
    from scipy.stats import spearmanr

    heat = METHODS[check_name("method", method, METHODS)]
    untrained = copy.deepcopy(model).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in untrained.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
    correlations = []
    for why in explain(model, inputs, method=method):
        target = model.labels.names.index(why.label)
        other = _over_pixels(heat(untrained, _seen(model, why.image), target), why.image, model.preprocess)
        # A map that is flat has no ranks, and is like no other.
        flat = np.ptp(other) == 0 or np.ptp(why.heatmap) == 0
        correlations.append(0.0 if flat else spearmanr(why.heatmap, other, axis=None).statistic)
    return float(np.mean(correlations))


def _seen(model: CellClassifier, image: Tensor) -> Tensor:
    """The image as the model takes it, 1×3×S×S where the model is."""
    return model.preprocess(image)[None].to(next(model.parameters()).device)


def _probabilities(model: CellClassifier, images: Tensor) -> Tensor:
    return torch.softmax(model(images).float() / model.temperature, 1).clamp(min=torch.finfo(torch.float32).tiny)


def _over_pixels(heat: Tensor, image: Tensor, preprocess: Preprocess) -> NDArray[np.float32]:
    """A map of the square that the model saw, over the pixels of the image that it was cut from, 0 to 1."""
    height, width = image.shape[-2:]
    side = max(1, round(preprocess.crop * min(height, width)))
    # Where each pixel lies in the square, whose edges are -1 and 1.
    y, x = ((2 * torch.arange(length) + 1 - length) / side for length in (height, width))
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]
    heat = heat.float().cpu()
    heat = heat / heat.max() if heat.max() > 0 else heat
    values = F.grid_sample(heat[None, None], grid, padding_mode="border", align_corners=False)[0, 0]
    values[(y.abs() > 1)[:, None] | (x.abs() > 1)[None]] = 0
    return values.numpy()

"""How exact the supervised contrastive loss is: beside a loop over pairs in float64, over many random shapes.

    python benchmarks/robustness/supcon.py

Value and gradient of `SupConLoss` on 2 to 24 samples of 1 to 3 views, 1 to 128 numbers long, of 2 to 6 classes, at
temperatures from 0.05 to 1. Errors are relative: of the value |a - b| / |b|, of the gradient ‖a - b‖ / ‖b‖. Both sides
see the same numbers, rounded to the type before. The largest are written to results/supcon_exact.csv.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from cellnet.losses import SupConLoss

sys.path.append(str(Path(__file__).parents[1] / "accuracy"))
from collect import machine_facts, replace_rows

RESULTS = Path(__file__).parents[1] / "results" / "supcon_exact.csv"
SHAPES = 200
TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

Loss = Callable[[Tensor, Tensor], Tensor]


def loop(features: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Equation 2 of Khosla et al. 2020, pair by pair, as the mean over anchors that have a positive."""
    z = F.normalize(features.flatten(0, 1), dim=1)
    y = labels.repeat_interleave(features.shape[1]).tolist()
    terms = []
    for i in range(len(z)):
        near = {j: z[i] @ z[j] / temperature for j in range(len(z)) if j != i}
        positives = [value for j, value in near.items() if y[j] == y[i]]
        if positives:
            terms.append(torch.logsumexp(torch.stack(list(near.values())), 0) - torch.stack(positives).mean())
    return torch.stack(terms).mean()


def derived(loss: Loss, features: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """Value and gradient."""
    leaf = features.clone().requires_grad_()
    value = loss(leaf, labels)
    return float(value.detach()), torch.autograd.grad(value, leaf)[0].double()


def problems() -> list[tuple[Tensor, Tensor, float]]:
    """Features, labels and temperature, two classes at least and one positive pair."""
    generator = torch.Generator().manual_seed(0)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    found = []
    while len(found) < SHAPES:
        samples, views, dim, classes = draw(2, 24), draw(1, 3), draw(1, 128), draw(2, 6)
        labels = torch.randint(classes, (samples,), generator=generator)
        features = torch.randn(samples, views, dim, generator=generator, dtype=torch.float64)
        counts = labels.bincount() * views
        if (counts > 0).sum() > 1 and (counts > 1).any():
            found.append((features, labels, 0.05 * 20 ** float(torch.rand((), generator=generator))))
    return found


def main() -> None:
    """Measure and write."""
    warnings.simplefilter("ignore")  # anchors without a positive, which both sides leave out
    rows = []
    for dtype in TYPES:
        values, gradients = [], []
        for features, labels, temperature in problems():
            given = features.to(dtype)
            loss: Loss = SupConLoss(temperature)
            value, gradient = derived(loss, given, labels)
            wanted, slope = derived(lambda f, y, t=temperature: loop(f, y, t), given.double(), labels)  # type: ignore[misc]
            values.append(abs(value - wanted) / max(abs(wanted), 1e-12))
            if float(slope.norm()) > 1e-6:  # with one number a row there is none: all rows have the same length
                gradients.append(float((gradient - slope).norm() / slope.norm()))
        rows.append(
            {
                "type": str(dtype).removeprefix("torch."),
                "shapes": str(len(values)),
                "worst_value": f"{max(values):.1e}",
                "gradients": str(len(gradients)),
                "worst_gradient": f"{max(gradients):.1e}",
                **machine_facts(),
            }
        )
        print(rows[-1])
    replace_rows(RESULTS, ("type",), rows)


if __name__ == "__main__":
    main()

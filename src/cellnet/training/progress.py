"""Where a run stands, in numbers that a checkpoint can hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from cellnet.training.callbacks import Row


@dataclass
class Progress:
    """A run after ``step`` steps of ``epoch``, both counted from 0.

    Args:
        epoch: The epoch that goes on, or is the next.
        step: Its steps so far.
        loss_sum: Sum of the losses of its batches so far.
        seconds: Time that these took.
        history: The rows of the epochs before.
        best_epoch: The best of them, counted from 1; 0 where there is none yet.
        best_score: Its score; higher is better.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    history: list[Row] = field(default_factory=list)
    best_epoch: int = 0
    best_score: float = -math.inf

    def end_epoch(self, row: Row, score: float) -> bool:
        """Go to the next epoch; True if the one that ends is the best so far."""
        self.history.append(row)
        self.epoch, self.step, self.loss_sum, self.seconds = self.epoch + 1, 0, 0.0, 0.0
        if score <= self.best_score:
            return False
        self.best_epoch, self.best_score = self.epoch, score
        return True

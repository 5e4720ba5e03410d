"""Training: what to minimise, how, and a loop that a reader can follow from top to bottom."""

from cellnet.training.callbacks import Callback, HistoryCSV
from cellnet.training.config import TrainConfig
from cellnet.training.interrupts import Interrupted
from cellnet.training.objectives import Classification, Objective
from cellnet.training.progress_bar import ProgressBar
from cellnet.training.tensorboard import TensorBoard
from cellnet.training.trainer import Fit, Trainer

__all__ = [
    "Callback",
    "Classification",
    "Fit",
    "HistoryCSV",
    "Interrupted",
    "Objective",
    "ProgressBar",
    "TensorBoard",
    "TrainConfig",
    "Trainer",
]

"""tapegrad, eager, written as for PyTorch."""

from __future__ import annotations

import numpy as np

from cases import Epoch, TrainStep
from data import TrainData

from . import _eager


def start(threads: int) -> None:
    global tg
    import tapegrad as tg

    tg.set_num_threads(threads)


def versions() -> dict[str, str]:
    return {"tapegrad": tg.__version__, "isa": tg.active_isa()}


def train_step(case: TrainStep, data: TrainData) -> _eager.Step:
    return _eager.Step(tg, case, data, {})


def epoch(case: Epoch, data: TrainData, x: np.ndarray, y: np.ndarray) -> _eager.EpochOfSteps:
    return _eager.EpochOfSteps(case, train_step(case.step, data), x, y, case.ways["tapegrad"])


def namespace(arrays: dict[str, np.ndarray]) -> dict:
    return _eager.namespace(tg, arrays, {})

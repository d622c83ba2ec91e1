"""PyTorch, eager, as its tutorials have it, with the fused optimizers."""

from __future__ import annotations

import numpy as np

from cases import Epoch, TrainStep
from data import TrainData

from . import _eager

FUSED = {"fused": True}


def start(threads: int) -> None:
    global torch
    import torch

    torch.set_num_threads(threads)


def versions() -> dict[str, str]:
    return {"torch": torch.__version__}


def train_step(case: TrainStep, data: TrainData) -> _eager.Step:
    return _eager.Step(torch, case, data, FUSED)


def epoch(case: Epoch, data: TrainData, x: np.ndarray, y: np.ndarray) -> _eager.EpochOfSteps:
    return _eager.EpochOfSteps(case, train_step(case.step, data), x, y, case.ways["torch"])


def namespace(arrays: dict[str, np.ndarray]) -> dict:
    return _eager.namespace(torch, arrays, FUSED)

"""One module per library. Each has `start(threads)`, `versions()` and `train_step(case, data)`, which returns an object
with `reset()` (initial weights, fresh Adam state), `step()` (one training step), `loss()` (of the last step, before its
update; waits for it) and `wait()` (returns when every step asked for is done). A library is imported by `start`."""

from __future__ import annotations

import importlib
from types import ModuleType

MODULES = {"numpy": "numpy_peer", "torch": "torch_peer", "jax": "jax_peer", "tapegrad": "tapegrad_peer"}
LABELS = {"numpy": "NumPy by hand", "torch": "PyTorch", "jax": "JAX (jit)", "tapegrad": "tapegrad"}


def load(name: str) -> ModuleType:
    return importlib.import_module(f"peers.{MODULES[name]}")

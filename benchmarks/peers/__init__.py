"""One module per library, which it imports in `start`.

Each has `start(threads)`, `versions()` and, for the kinds of benchmark it takes part in:
`train_step(case, data)`: an object with `reset()` (initial weights, fresh optimizer), `step()` (one training step),
    `loss()` (of the last step, before its update; waits for it) and `wait()` (for all steps asked for);
`epoch(case, data, x, y)`: an object with `reset()` and `run()`, one epoch, which returns its mean loss;
`namespace(arrays)`: the names a statement of expressions.py may use.
"""

from __future__ import annotations

import importlib
from types import ModuleType

MODULES = {
    "numpy": "numpy_peer",
    "sklearn": "sklearn_peer",
    "torch": "torch_peer",
    "jax": "jax_peer",
    "tapegrad": "tapegrad_peer",
}
LABELS = {
    "numpy": "NumPy by hand",
    "sklearn": "scikit-learn",
    "torch": "PyTorch",
    "jax": "JAX (jit)",
    "tapegrad": "tapegrad",
}


def load(name: str) -> ModuleType:
    return importlib.import_module(f"peers.{MODULES[name]}")

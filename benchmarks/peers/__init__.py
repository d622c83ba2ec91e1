"""One module per library, which it imports in `start`.

Each has `start(threads)`, `versions()` and, for the kinds of benchmark it takes part in:
`train_step(case, data)`: an object with `reset()` (initial weights, fresh optimizer), `step()` (one training step),
    `loss()` (of the last step, before its update; waits for it) and `wait()` (for all steps asked for);
`capture(case, data, rounds)`: what capturing a step takes (see worker.py);
`epoch(case, data, x, y)`: an object with `reset()` and `run()`, one epoch, which returns its mean loss;
`namespace(arrays)`: the names a statement of expressions.py may use.

What it cannot do on this machine it says by raising Unable.
"""

from __future__ import annotations

import importlib
from types import ModuleType

MODULES = {
    "numpy": "numpy_peer",
    "sklearn": "sklearn_peer",
    "torch": "torch_peer",
    "torch_compile": "torch_compile_peer",
    "jax": "jax_peer",
    "tapegrad": "tapegrad_peer",
    "replay": "replay_peer",
}
PACKAGES = {name: name for name in MODULES} | {"torch_compile": "torch", "replay": "tapegrad"}
LABELS = {
    "numpy": "NumPy by hand",
    "sklearn": "scikit-learn",
    "torch": "PyTorch",
    "torch_compile": "torch.compile",
    "jax": "JAX (jit)",
    "tapegrad": "tapegrad",
    "replay": "tapegrad, replayed",
}


class Unable(Exception):
    """Why a peer cannot take part in a line."""


def load(name: str) -> ModuleType:
    return importlib.import_module(f"peers.{MODULES[name]}")

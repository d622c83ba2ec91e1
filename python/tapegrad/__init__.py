"""tapegrad: trains MLPs on a CPU. A C++ reverse-mode autodiff engine under PyTorch's names."""

from math import e as e
from math import inf as inf
from math import nan as nan
from math import pi as pi

from . import _repr as _repr  # gives the tensor type its printed form, format() and copy
from . import _ufuncs as _ufuncs  # and NumPy's functions their meaning for tensors
from . import autograd as autograd
from . import nn as nn
from . import optim as optim
from . import utils as utils
from ._compile import compile as compile
from ._core import *  # noqa: F403  (the tensor type, its dtypes, the generator and every op of ops.def)
from ._core import __version__ as __version__
from ._device import device as device
from ._grad_mode import enable_grad as enable_grad
from ._grad_mode import inference_mode as inference_mode
from ._grad_mode import no_grad as no_grad
from ._grad_mode import set_grad_enabled as set_grad_enabled
from ._lazy import lazy as _lazy
from ._queries import as_tensor as as_tensor
from ._queries import finfo as finfo
from ._queries import iinfo as iinfo
from ._queries import is_complex as is_complex
from ._queries import is_floating_point as is_floating_point
from ._queries import is_tensor as is_tensor
from ._queries import numel as numel
from ._repr import set_printoptions as set_printoptions
from ._threads import threads as threads
from .fit import History as History
from .fit import evaluate as evaluate
from .fit import fit as fit  # at once: a later import of tapegrad.fit would put the module in the function's place
from .fit import predict as predict

newaxis = None
contiguous_format, preserve_format = "contiguous_format", "preserve_format"  # what memory_format may be

# What training a first net does not need.
__getattr__, __dir__ = _lazy(
    globals(),
    (
        "accelerator",
        "backends",
        "callbacks",
        "cuda",
        "datasets",
        "expr",
        "func",
        "linalg",
        "metrics",
        "profiler",
        "random",
        "sklearn",
        "tables",
    ),
    {
        "_summary": ("summary",),
        "_typed_tensors": ("BoolTensor", "ByteTensor", "DoubleTensor", "FloatTensor", "IntTensor", "LongTensor"),
        "backends": ("set_float32_matmul_precision", "use_deterministic_algorithms"),
        "checkpoint": ("Checkpoint", "load", "save"),
        "func": ("vmap",),
        "random": ("get_rng_state", "initial_seed", "seed", "set_rng_state"),
    },
)

"""DLPack, under PyTorch's names: tensors exchanged with other libraries without a copy."""

from .._core import from_dlpack as from_dlpack
from .._core import to_dlpack as to_dlpack

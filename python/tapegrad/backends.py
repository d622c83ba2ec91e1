"""What programs written for PyTorch set about devices, speed and determinism: accepted, without effect.

Results do not depend on the number of threads, and products are those of float32 and float64.
"""

from types import SimpleNamespace


def _no():
    return False


cuda = SimpleNamespace(is_built=_no, matmul=SimpleNamespace(allow_tf32=False))
cudnn = SimpleNamespace(is_available=_no, enabled=False, deterministic=True, benchmark=False, allow_tf32=False)
mps = SimpleNamespace(is_available=_no, is_built=_no)


def use_deterministic_algorithms(mode, *, warn_only=False):
    """Does nothing: there are no others."""


def set_float32_matmul_precision(precision):
    """Does nothing but check the name: the products of float32 are always of the "highest" precision."""
    if precision not in ("highest", "high", "medium"):
        raise ValueError(f"precision must be 'highest', 'high' or 'medium', got {precision!r}")

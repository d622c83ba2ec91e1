"""What programs written for PyTorch ask of torch.accelerator before they take the CPU: there is none."""

from .cuda import device_count as device_count
from .cuda import is_available as is_available


def current_accelerator(check_available=False):
    """None: there is no accelerator."""

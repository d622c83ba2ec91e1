"""What programs written for PyTorch ask of torch.cuda before they fall back to the CPU: there is no GPU."""


def is_available():
    """False."""
    return False


def device_count():
    """0."""
    return 0


def empty_cache():
    """Does nothing, as PyTorch without a GPU."""


def manual_seed(seed):
    """Does nothing, as PyTorch without a GPU."""


def manual_seed_all(seed):
    """Does nothing, as PyTorch without a GPU."""

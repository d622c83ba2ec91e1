"""DataLoader and default_collate, where programs written for PyTorch also import them from."""

from ._collate import default_collate as default_collate
from ._loader import DataLoader as DataLoader

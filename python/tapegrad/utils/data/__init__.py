"""Data sets and batches, under the names of torch.utils.data."""

from ._dataset import Dataset, Subset, TensorDataset, random_split
from ._loader import DataLoader, RandomSampler, SequentialSampler, default_collate

__all__ = [
    "DataLoader",
    "Dataset",
    "RandomSampler",
    "SequentialSampler",
    "Subset",
    "TensorDataset",
    "default_collate",
    "random_split",
]

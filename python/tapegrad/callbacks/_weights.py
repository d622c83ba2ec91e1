"""Copies of a model's parameters and buffers, and the way back into the same tensors."""

from __future__ import annotations

from itertools import chain

from .._grad_mode import no_grad


def copied(model) -> dict:
    """Its parameters and buffers (also those that a state_dict leaves out), by name."""
    return {name: tensor.detach().clone() for name, tensor in _tensors(model)}


def put_back(model, saved: dict) -> None:
    """Writes what copied() gave into the tensors of the model."""
    with no_grad():
        for name, tensor in _tensors(model):
            tensor.copy_(saved[name])


def _tensors(model):
    return chain(model.named_parameters(), model.named_buffers())

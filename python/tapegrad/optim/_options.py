"""The options of the optimizers: which values are valid, and what is accepted for the sake of PyTorch's programs."""

from .. import _core

# Option -> what its error calls it. All are numbers >= 0.
_NOT_NEGATIVE = {
    "lr": "learning rate",
    "momentum": "momentum value",
    "weight_decay": "weight_decay value",
    "eps": "epsilon value",
    "lr_decay": "lr_decay value",
    "initial_accumulator_value": "initial_accumulator_value value",
    "momentum_decay": "momentum_decay value",
    "alpha": "alpha value",
    "rho": "rho value",
}


def options_of(arguments):
    """The defaults of an optimizer: the arguments of its constructor, `locals()`, checked.

    ValueError for a value out of range. `foreach`, `fused` and `capturable` choose between implementations of PyTorch
    and change nothing: here a step is always one call for all parameters, and can be captured.
    """
    options = {name: value for name, value in arguments.items() if name not in ("self", "params", "__class__")}
    if options.get("differentiable"):
        raise ValueError("differentiable=True is not supported: an optimizer's step is outside of the graph")
    lr = options["lr"]
    if isinstance(lr, _core.Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    for name, what in _NOT_NEGATIVE.items():
        if name in options and not options[name] >= 0.0:  # nan fails too
            raise ValueError(f"Invalid {what}: {options[name]}")
    if "rho" in options and not options["rho"] <= 1.0:
        raise ValueError(f"Invalid rho value: {options['rho']}")
    if "betas" in options:
        options["betas"] = _betas(options["betas"])
    return options


def _betas(betas):
    if len(betas) != 2:
        raise ValueError(f"betas should be two numbers, got {betas}")
    for i, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
    return tuple(beta.item() if isinstance(beta, _core.Tensor) else beta for beta in betas)

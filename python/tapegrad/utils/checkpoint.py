"""Gradients for less memory: stretches of the forward pass that are computed again when the gradient needs them."""

from .. import _core

__all__ = ["checkpoint", "checkpoint_sequential"]


def checkpoint(function, *args, use_reentrant=None, preserve_rng_state=True, **kwargs):
    """function(*args, **kwargs), whose inner results are not kept: backward() runs it again for them.

    Gradients are those of the plain call, bit for bit. function: depends on its arguments and on what does not change
    until backward(), and does the same each time; RuntimeError where it does not, or where an argument was modified in
    place in between. preserve_rng_state: draws of the default generator are repeated. use_reentrant: accepted and not
    needed: what PyTorch calls reentrant is done here without its limits. Inside of `compile` a plain call.
    """
    if not _core.is_grad_enabled():
        return function(*args, **kwargs)
    state = _core.default_generator.get_state() if preserve_rng_state else None
    tensors = [t for t in (*args, *kwargs.values()) if isinstance(t, _core.Tensor)]
    versions = [t._version for t in tensors]

    def again():
        for t, version in zip(tensors, versions, strict=True):
            if t._version != version:
                raise RuntimeError(
                    f"checkpoint: an argument of shape {tuple(t.shape)} was modified in place after the call "
                    f"(version {t._version}, expected {version}), so that the function cannot run again"
                )
        now = _core.default_generator.get_state()
        try:
            if state is not None:
                _core.default_generator.set_state(state)
            function(*args, **kwargs)
        finally:
            if state is not None:
                _core.default_generator.set_state(now)

    return _core._run_checkpointed(lambda: function(*args, **kwargs), again)


def checkpoint_sequential(functions, segments, input, use_reentrant=None, preserve_rng_state=True):
    """Runs functions (a Sequential or a list) one after another, all but the last of `segments` parts checkpointed."""
    functions = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if not 1 <= segments <= max(len(functions), 1):
        raise ValueError(f"checkpoint_sequential: {segments} segments for {len(functions)} functions")

    def run(first, last):
        def part(x):
            for f in functions[first:last]:
                x = f(x)
            return x

        return part

    size = len(functions) // segments
    for k in range(segments - 1):
        input = checkpoint(run(k * size, (k + 1) * size), input, preserve_rng_state=preserve_rng_state)
    return run((segments - 1) * size, len(functions))(input)

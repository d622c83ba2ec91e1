"""LBFGS: quasi-Newton steps from the last gradients."""

from .. import _core
from .._grad_mode import enable_grad, no_grad
from ._line_search import Point, strong_wolfe
from ._optimizer import Optimizer
from ._options import options_of


class LBFGS(Optimizer):
    """Limited-memory BFGS, for small problems and full batches.

    A step makes up to max_iter iterations, with up to max_eval (default 1.25 max_iter) calls of the closure: the
    direction is the gradient times an approximate inverse Hessian of the last history_size changes of gradient and
    parameters; its length lr, or what line_search_fn="strong_wolfe" finds from there.
    It ends where no component of the gradient exceeds tolerance_grad, or where neither a parameter nor the loss changes
    by more than tolerance_change.
    One parameter group only. Cannot be part of a compiled function: how often it calls the closure depends on values.
    Source: Nocedal and Wright, "Numerical optimization", algorithms 7.4 and 7.5.
    """

    def __init__(
        self,
        params,
        lr=1,
        max_iter=20,
        max_eval=None,
        tolerance_grad=1e-7,
        tolerance_change=1e-9,
        history_size=100,
        line_search_fn=None,
    ):
        if max_eval is None:
            max_eval = max_iter * 5 // 4
        super().__init__(params, options_of(locals()))
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    def step(self, closure):
        """Improve the parameters.

        closure: clears the gradients, computes the loss, calls backward and returns the loss. step returns the loss
        that it began with.
        """
        _core._refuse_capture("LBFGS.step() is called, whose course depends on values,")
        with no_grad():
            return self._step(closure, self.param_groups[0])

    def _step(self, closure, group):
        params = group["params"]
        state = self.state[params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        evaluations = 0

        def evaluate():
            nonlocal evaluations
            evaluations += 1
            with enable_grad():
                loss = closure()
            return loss, _flat_gradient(params)

        first_loss, gradient = evaluate()
        loss = float(first_loss)
        if float(gradient.abs().max()) <= group["tolerance_grad"]:
            state["func_evals"] += evaluations
            return first_loss
        lr = float(group["lr"])
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = _direction(state, gradient, group["history_size"])
            t = min(1.0, 1.0 / float(gradient.abs().sum())) * lr if state["n_iter"] == 1 else lr
            state.update(d=direction, t=t, prev_flat_grad=gradient, prev_loss=loss)
            slope = float(gradient @ direction)
            if slope > -group["tolerance_change"]:
                break
            before = loss
            if group["line_search_fn"]:
                searched = _Line(params, direction, evaluate)
                longest = float(direction.abs().max())
                left = group["max_eval"] - evaluations
                point = strong_wolfe(searched.at, Point(0.0, loss, gradient, slope), t, longest, left)
                state["t"], loss, gradient = point.t, point.value, point.gradient
                searched.move(point.t)
            else:
                _Line(params, direction, evaluate).move(t)
                if iteration < group["max_iter"]:  # the last one's loss would serve nobody
                    value, gradient = evaluate()
                    loss = float(value)
            if (
                evaluations >= group["max_eval"]
                or float(gradient.abs().max()) <= group["tolerance_grad"]
                or float((direction * state["t"]).abs().max()) <= group["tolerance_change"]
                or abs(loss - before) < group["tolerance_change"]
            ):
                break
        state["func_evals"] += evaluations
        return first_loss


class _Line:
    """The parameters along a direction from where they are."""

    def __init__(self, params, direction, evaluate):
        self._params, self._direction, self._evaluate = params, direction, evaluate
        self._start = [param.detach().clone() for param in params]

    def move(self, t):
        at = 0
        for param, start in zip(self._params, self._start, strict=True):
            part = self._direction[at : at + param.numel()].reshape(param.shape)
            param.copy_(start + part * t)
            at += param.numel()

    def at(self, t):
        self.move(t)
        loss, gradient = self._evaluate()
        return Point(t, float(loss), gradient, float(gradient @ self._direction))


def _flat_gradient(params):
    zeros = _core.zeros_like
    grads = [zeros(param.detach()) if param.grad is None else param.grad.detach() for param in params]
    return _core.cat([grad.reshape(-1) for grad in grads])


def _direction(state, gradient, history_size):
    """Minus the approximate inverse Hessian times the gradient, once the last step is part of the history."""
    if state["n_iter"] == 1:
        state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
        return -gradient
    changes, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
    change, step = gradient - state["prev_flat_grad"], state["d"] * float(state["t"])
    curvature = float(change @ step)
    if curvature > 1e-10:
        if len(changes) == history_size:
            for history in (changes, steps, ro):
                history.pop(0)
        changes.append(change)
        steps.append(step)
        ro.append(1.0 / curvature)
        state["H_diag"] = curvature / float(change @ change)
    direction, factors = -gradient, []
    for y, s, r in zip(reversed(changes), reversed(steps), reversed(ro), strict=True):
        factors.append(float(s @ direction) * float(r))
        direction = direction - y * factors[-1]
    direction = direction * float(state["H_diag"])
    for y, s, r, factor in zip(changes, steps, ro, reversed(factors), strict=True):
        direction = direction + s * (factor - float(y @ direction) * float(r))
    return direction

"""MLPRegressor: a multi-layer perceptron for numbers."""

from __future__ import annotations

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from ._base import BaseMLP
from ._parameters import ATTRIBUTES, DOC

# Loss: (its name for fit(), what turns the net's outputs into predictions, least and greatest target).
_LOSSES = {
    "squared_error": ("mse", "identity", -np.inf, np.inf),
    "mse": ("mse", "identity", -np.inf, np.inf),
    "absolute_error": ("l1", "identity", -np.inf, np.inf),
    "l1": ("l1", "identity", -np.inf, np.inf),
    "huber": ("huber", "identity", -np.inf, np.inf),
    "smooth_l1": ("smooth_l1", "identity", -np.inf, np.inf),
    "poisson": ("poisson_nll", "exp", 0.0, np.inf),
    "poisson_nll": ("poisson_nll", "exp", 0.0, np.inf),
    "bce_with_logits": ("bce_with_logits", "logistic", 0.0, 1.0),
}
_OUT_ACTIVATIONS = {"identity": lambda z: z, "exp": np.exp, "logistic": lambda z: np.exp(-np.logaddexp(0, -z))}


class MLPRegressor(RegressorMixin, BaseMLP):
    __doc__ = f"""Multi-layer perceptron regressor with scikit-learn's interface, trained by tapegrad.

    Targets are (n_samples,) or (n_samples, n_outputs). They are not scaled: where they are far from mean 0 and
    variance 1, sklearn.compose.TransformedTargetRegressor with a StandardScaler speeds learning up.
{DOC}
    loss : str or callable, default=None
        None, "squared_error" or "mse": mean of the squares (scikit-learn halves it, so alpha weighs half as much here);
        "absolute_error" or "l1"; "huber"; "smooth_l1"; "poisson" or "poisson_nll", for counts, whose prediction is
        exp(output); "bce_with_logits", for shares between 0 and 1, whose prediction is sigmoid(output). A callable
        loss(output, target) gets two tensors (b, n_outputs) and returns a scalar, with sample_weight one loss per
        sample; the prediction is the output.

    Attributes
    ----------{ATTRIBUTES}
    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from tapegrad.sklearn import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> MLPRegressor((50,), learning_rate_init=0.01, max_iter=500, random_state=0).fit(X, y).score(X, y) > 0.5
    True
    """

    def partial_fit(self, X, y, sample_weight=None):
        """One epoch over the given samples, which goes on with weights, optimizer and random numbers; returns self.

        k calls with the same samples are the same as fit with max_iter=k.
        """
        return self._partial_fit(X, y, sample_weight, not self.__sklearn_is_fitted__())

    def predict(self, X):
        """Predictions (n_samples,), or (n_samples, n_outputs) where y had two dimensions."""
        output = self._forward(X)
        predicted = _OUT_ACTIVATIONS[self.out_activation_](output)
        return predicted[:, 0] if self.n_outputs_ == 1 else predicted

    def _target(self, y, learn: bool):
        target = y.reshape(len(y), -1).astype(np.float64)
        *_, least, most = self._row()
        if target.min() < least or target.max() > most:
            raise ValueError(
                f"loss={self.loss!r} needs y between {least:g} and {most:g}, got {target.min():g} to {target.max():g}"
            )
        return target

    def _row(self) -> tuple:
        """The loss's row of _LOSSES."""
        if callable(self.loss):
            return self.loss, "identity", -np.inf, np.inf
        name = "squared_error" if self.loss is None else self.loss
        if not isinstance(name, str) or name not in _LOSSES:
            raise ValueError(f"loss must be one of {', '.join(_LOSSES)}, or a callable; got {name!r}")
        return _LOSSES[name]

    def _outputs(self, target) -> int:
        return target.shape[1]

    def _weights(self, weight, target):
        return weight

    def _loss_and_activation(self):
        return self._row()[:2]

    def _score_outputs(self, output, target, weight):
        _, activation = self._loss_and_activation()
        return r2_score(target, _OUT_ACTIVATIONS[activation](output), sample_weight=weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

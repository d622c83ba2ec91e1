"""scikit-learn: MLPClassifier.partial_fit, which makes one pass over what it is given in batches of `batch_size`."""

from __future__ import annotations

import numpy as np

from cases import BETA1, BETA2, EPSILON, LEARNING_RATES, MOMENTUM, Epoch, TrainStep
from data import TrainData


def start(threads: int) -> None:
    """Its products are NumPy's, whose thread count is in the environment already."""
    global sklearn, MLPClassifier
    import sklearn
    from sklearn.neural_network import MLPClassifier


def versions() -> dict[str, str]:
    return {"sklearn": sklearn.__version__}


class Step:
    def __init__(self, case: TrainStep, data: TrainData, shuffle: bool = False) -> None:
        self.case, self.data = case, data
        self.model = MLPClassifier(
            case.sizes[1:-1],
            solver=case.optimizer,
            learning_rate_init=LEARNING_RATES[case.optimizer],
            batch_size=case.batch,
            alpha=0,
            shuffle=shuffle,
            momentum=MOMENTUM,
            nesterovs_momentum=False,
            beta_1=BETA1,
            beta_2=BETA2,
            epsilon=EPSILON,
            n_iter_no_change=np.inf,
            random_state=0,
        )
        self.model.partial_fit(data.x, data.y, classes=np.arange(case.sizes[-1]))
        self.reset()

    def reset(self) -> None:
        for mine, given in zip(self.model.coefs_, self.data.weights, strict=True):
            mine[...] = given.T
        for mine, given in zip(self.model.intercepts_, self.data.biases, strict=True):
            mine[...] = given
        self.model.__dict__.pop("_optimizer", None)  # partial_fit makes a fresh one
        self.model.loss_curve_.clear()
        self.loss_now = self._loss_now()

    def step(self) -> None:
        self.model.partial_fit(self.data.x, self.data.y)

    def loss(self) -> float:
        before, self.loss_now = self.loss_now, self._loss_now()
        return before

    def _loss_now(self) -> float:
        """Cross-entropy with the present weights; loss_ of the model clips probabilities at 1e-7."""
        a, last = self.data.x, len(self.model.coefs_) - 1
        for i, (w, b) in enumerate(zip(self.model.coefs_, self.model.intercepts_, strict=True)):
            a = a @ w + b
            a = a if i == last else np.maximum(a, 0)
        a -= a.max(axis=1, keepdims=True)
        return float((np.log(np.exp(a).sum(axis=1)) - a[np.arange(len(a)), self.data.y]).mean())

    def wait(self) -> None:
        """Nothing runs behind the caller's back."""


class EpochOfSteps:
    def __init__(self, step: Step, x: np.ndarray, y: np.ndarray) -> None:
        self.step, self.x, self.y = step, x, y

    def reset(self) -> None:
        self.step.reset()

    def run(self) -> float:
        return self.step.model.partial_fit(self.x, self.y).loss_


def train_step(case: TrainStep, data: TrainData) -> Step:
    return Step(case, data)


def epoch(case: Epoch, data: TrainData, x: np.ndarray, y: np.ndarray) -> EpochOfSteps:
    return EpochOfSteps(Step(case.step, data, shuffle=True), x, y)

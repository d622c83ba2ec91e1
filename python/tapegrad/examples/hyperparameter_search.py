"""Search for hyperparameters: an MLP in scikit-learn's pipeline and grid search, on its handwritten digits.

    python -m tapegrad.examples.hyperparameter_search
    python -m tapegrad.examples.hyperparameter_search --random 10 --jobs 2

Every combination (or with --random so many drawn ones) is cross-validated on three quarters of the 1797 images of
8 x 8 pixels; the best one is trained on all of these and measured on the last quarter. Needs scikit-learn:
pip install 'tapegrad[sklearn]'
"""

import argparse
import warnings

from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from tapegrad.sklearn import MLPClassifier

GRID = {
    "net__hidden_layer_sizes": [(50,), (100,), (100, 50)],
    "net__learning_rate_init": [0.001, 0.01],
    "net__dropout": [0.0, 0.2],
}


def make_search(epochs: int = 30, draws: int | None = None, jobs: int = 1, seed: int = 0, grid: dict = GRID):
    """The search, not fitted yet; over the whole grid, or over `draws` random points of it."""
    net = MLPClassifier(max_iter=epochs, early_stopping=True, random_state=seed, dtype="float32")
    pipeline = Pipeline([("scale", StandardScaler()), ("net", net)])
    if draws is None:
        return GridSearchCV(pipeline, grid, cv=3, n_jobs=jobs)
    return RandomizedSearchCV(pipeline, grid, n_iter=draws, cv=3, n_jobs=jobs, random_state=seed)


def run(search, seed: int = 0) -> tuple[float, float]:
    """Fits the search; returns the best mean accuracy of the cross-validation, and that on images kept apart."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a search may end its runs early
        search.fit(X_train, y_train)
    return search.best_score_, search.score(X_test, y_test)


def report(search) -> None:
    """Prints every combination that was tried, the best first."""
    results = search.cv_results_
    order = results["rank_test_score"].argsort(kind="stable")
    for i in order:
        mean, spread, seconds = (results[name][i] for name in ("mean_test_score", "std_test_score", "mean_fit_time"))
        print(f"{mean:.4f} +- {spread:.4f}  {seconds:.2f} s  {_text(results['params'][i])}")


def _text(parameters: dict) -> str:
    return ", ".join(f"{name.removeprefix('net__')}={value}" for name, value in parameters.items())


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random", type=int, metavar="N", help="try N random combinations (default: all 12)")
    parser.add_argument("--epochs", type=int, default=30, help="at most so many per training (default: 30)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    for name in ("random", "epochs"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, got {value}")
    search = make_search(options.epochs, options.random, options.jobs, options.seed)
    best, tested = run(search, options.seed)
    report(search)
    print(f"best: {_text(search.best_params_)}")
    print(f"accuracy: {best:.4f} in cross-validation, {tested:.4f} on images it has not seen")


if __name__ == "__main__":
    main()

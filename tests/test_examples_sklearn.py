"""The example that searches for hyperparameters finds some, and says so."""

from __future__ import annotations

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed", minversion="1.6")

from tapegrad.examples import hyperparameter_search


def test_grid_search_takes_the_better_rate():
    grid = {"net__hidden_layer_sizes": [(20,)], "net__learning_rate_init": [1e-6, 0.02]}
    search = hyperparameter_search.make_search(epochs=8, grid=grid)
    best, tested = hyperparameter_search.run(search)
    assert search.best_params_["net__learning_rate_init"] == 0.02
    assert best > 0.85
    assert tested > 0.85


def test_program(capsys):
    hyperparameter_search.main(["--random", "2", "--epochs", "4"])
    *tried, best, accuracy = capsys.readouterr().out.splitlines()
    assert len(tried) == 2
    assert tried[0].split("s  ", 1)[1] == best.removeprefix("best: ")
    assert tried[0] >= tried[1]
    assert accuracy.startswith(f"accuracy: {tried[0][:6]} in cross-validation, 0.")


@pytest.mark.parametrize("arguments", [["--random", "0"], ["--epochs", "-1"]])
def test_wrong_arguments_are_named(capsys, arguments):
    with pytest.raises(SystemExit):
        hyperparameter_search.main(arguments)
    assert f"{arguments[0]} must be at least 1, got {arguments[1]}" in capsys.readouterr().err

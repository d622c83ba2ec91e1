"""MLPClassifier and MLPRegressor: estimators of scikit-learn that train with tapegrad."""

try:
    from sklearn.utils.validation import validate_data  # noqa: F401  (since scikit-learn 1.6)
except ImportError as error:
    raise ImportError("tapegrad.sklearn needs scikit-learn 1.6 or newer: pip install 'tapegrad[sklearn]'") from error

from ._classifier import MLPClassifier
from ._regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]

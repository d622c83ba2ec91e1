"""Parameter, where programs written for PyTorch also import it from."""

from ._parameter import Parameter as Parameter
from ._parameter import UninitializedParameter as UninitializedParameter

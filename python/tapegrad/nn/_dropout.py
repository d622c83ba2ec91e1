"""Dropout and AlphaDropout."""

from ._functional_layers import alpha_dropout, check_probability, dropout
from ._module import Module


class Dropout(Module):
    """While training, zero each element with probability p and scale the others by 1 / (1 - p); identity in eval().

    p: in [0, 1], else ValueError. `inplace` is accepted and shown; the input is never overwritten.
    Source: Srivastava et al., "Dropout", JMLR 15 (2014), in the inverted form.
    """

    _function = staticmethod(dropout)

    def __init__(self, p=0.5, inplace=False):
        super().__init__()
        check_probability(p)
        self.p = p
        self.inplace = inplace

    def forward(self, input):
        return self._function(input, self.p, True) if self.training else input

    def extra_repr(self):
        return f"p={self.p}, inplace={self.inplace}"


class AlphaDropout(Dropout):
    """Dropout that keeps mean 0 and variance 1, for nets of SELU (see functional.alpha_dropout)."""

    _function = staticmethod(alpha_dropout)

"""Activation functions beyond the ops."""

from .. import _core


def gelu(input, approximate="none"):
    """x Phi(x), Phi the normal distribution function (Hendrycks and Gimpel, 2016, https://arxiv.org/abs/1606.08415).

    approximate: "none", or "tanh" for the approximation by tanh; ValueError otherwise.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return _core.gelu(input) if approximate == "none" else _core.gelu_tanh(input)


def softplus(input, beta=1.0, threshold=20.0):
    """log(1 + exp(beta x)) / beta; the input itself where beta x > threshold.

    The function does not overflow, so that the default threshold, past which the two differ by less than 3e-9, is not
    applied when beta is 1.
    """
    if beta == 1 and threshold == 20:
        return _core.softplus(input)
    scaled = input * beta
    return _core.where(scaled > threshold, input, _core.softplus(scaled) / beta)


def prelu(input, weight):
    """x where x > 0, weight x elsewhere; weight: one number, or one per channel (dimension 1 of the input).

    ValueError for another number of weights. Source: He et al., 2015, https://arxiv.org/abs/1502.01852.
    """
    channels = input.size(1) if input.dim() > 1 else 1
    if weight.dim() > 1 or weight.numel() not in (1, channels):
        raise ValueError(
            f"prelu: weight {tuple(weight.shape)} must have one value, or one for each of the {channels} channels of "
            f"an input {tuple(input.shape)}"
        )
    if input.dim() > 1:
        weight = weight.reshape(1, -1, *(1,) * (input.dim() - 2))
    elif weight.dim() > input.dim():
        weight = weight.reshape(())
    return _core.where(input > 0, input, weight * input)


def softsign(input):
    """x / (1 + |x|)."""
    return input / (_core.abs(input) + 1)


def tanhshrink(input):
    """x - tanh(x)."""
    return input - _core.tanh(input)


def hardshrink(input, lambd=0.5):
    """x where |x| > lambd, 0 elsewhere."""
    return _core.where((input >= -lambd) & (input <= lambd), 0.0, input)


def softshrink(input, lambd=0.5):
    """x moved towards 0 by lambd, 0 where |x| <= lambd. ValueError for lambd < 0."""
    if lambd < 0:
        raise ValueError(f"softshrink: lambd must be at least 0, got {lambd}")
    return _core.where(input > lambd, input - lambd, _core.where(input < -lambd, input + lambd, input * 0))


def softmin(input, dim=None, dtype=None):
    """softmax(-input) along dim."""
    return _core.softmax(-input, dim, dtype)


def glu(input, dim=-1):
    """a sigmoid(b), a and b the halves of the input along dim (Dauphin et al., 2017). ValueError for an odd size."""
    rank = input.dim()
    if not -rank <= dim < rank:
        raise IndexError(f"glu: dim {dim} is out of range for an input of shape {tuple(input.shape)}")
    half, odd = divmod(input.size(dim), 2)
    if odd:
        raise ValueError(f"glu: dimension {dim} of an input of shape {tuple(input.shape)} has an odd size")
    before = (slice(None),) * (dim % rank)
    return input[(*before, slice(0, half))] * _core.sigmoid(input[(*before, slice(half, None))])


def rrelu(input, lower=1 / 8, upper=1 / 3, training=False, inplace=False):
    """x where x > 0, elsewhere a x with a drawn from U(lower, upper) for each element, or their mean if not training.

    ValueError where lower > upper. inplace is accepted; the input is never overwritten. Source: Xu et al., 2015,
    https://arxiv.org/abs/1505.00853.
    """
    if lower > upper:
        raise ValueError(f"rrelu: lower {lower} must not be greater than upper {upper}")
    if not training:
        return _core.leaky_relu(input, (lower + upper) / 2)
    return _core.where(input > 0, input, input * _core.empty_like(input).uniform_(lower, upper))


def gumbel_softmax(logits, tau=1.0, hard=False, *, dim=-1):
    """A draw from the Gumbel-softmax distribution (Jang, Gu and Poole, 2017, https://arxiv.org/abs/1611.01144).

    tau: temperature. hard: one-hot values, with the gradient of the soft ones.
    """
    soft = _core.softmax((logits - _core.empty_like(logits).exponential_().log()) / tau, dim)
    if not hard:
        return soft
    largest = _core.argmax(soft, dim, keepdim=True)
    sizes = [1] * soft.dim()
    sizes[dim] = soft.size(dim)
    hot = (_core.arange(soft.size(dim)).reshape(sizes) == largest).to(soft.dtype)
    return hot - soft.detach() + soft

"""PyTorch's own samples of its ops (the OpInfos of torch.testing), run against ours by name: results, gradients in
float64, methods, in-place forms and refusals. What differs by intention is in DIFFERENCES, with the reason."""

from __future__ import annotations

import functools
import itertools
import re
from fractions import Fraction

import numpy as np
import pytest

import tapegrad as tg

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
pytest.importorskip("expecttest", reason="PyTorch's samples import expecttest, which is not installed")
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # PyTorch's, about its own samples
MOST = 24  # samples of an op and dtype
LARGEST = 4096  # elements in a sample
DTYPES = (torch.float64, torch.float32, torch.int64, torch.bool)
ROUNDING = {"float32": 3e-5, "float64": 1e-10}  # of the largest element
REFUSALS = (ValueError, TypeError, IndexError, RuntimeError, NotImplementedError, OverflowError)

# Samples that call the function otherwise than by f(input, *args).
SPELLED = {
    "where": lambda f, x, condition, other: f(condition, x, other),
    "einsum": lambda f, x, equation: f(equation, *x),
    "nn.functional.embedding": lambda f, weight, index, **options: f(index, weight, **options),
    "nn.functional.embedding_bag": lambda f, weight, index, **options: f(index, weight, **options),
    "normal.number_mean": lambda f, std, mean, *args, **options: f(mean, std, *args, **options),
    "zero_": lambda f, x: f(x.clone()),
}
METHODS = {"normal.in_place": "normal_"}  # variants that are other functions


def find(info):
    """Our function of that name, else the method, else None; to be called as the samples are."""
    name = METHODS.get(full_name(info), info.name)
    place = None if full_name(info) in METHODS else tg
    for part in name.split("."):
        place = getattr(place, part, None)
    f = place if callable(place) and not isinstance(place, type) else getattr(tg.Tensor, name, None)
    if f is not None and not callable(f):
        return f.__get__  # an attribute such as T
    spelled = SPELLED.get(full_name(info)) or SPELLED.get(info.name)
    return functools.partial(spelled, f) if f and spelled else f


def full_name(info) -> str:
    return f"{info.name}.{info.variant_test_name}".rstrip(".")


INFOS = [info for info in op_db if find(info)]


# What differs


def any_sample(s):
    return True


def a_number(s):
    """Whether an operand is a number."""
    return not (tensors_in(s.args) and tensors_in(s.input))


def fraction_beside_integers(s):
    whole = not tensors_in((s.input, s.args))[0].dtype.is_floating_point
    return whole and any(isinstance(v, float) and Fraction(v).denominator > 1 for v in s.kwargs.values())


def bools(s):
    return all(t.dtype == torch.bool for t in tensors_in((s.input, s.args)))


def singular_values(s):
    order, dim, *_ = (*s.args, None, None)
    order, dim = s.kwargs.get("ord", order), s.kwargs.get("dim", dim)
    of_vectors = isinstance(dim, int) or (dim is not None and len(dim) == 1) or s.input.ndim == 1
    return order in ("nuc", 2, -2) and not of_vectors


def shapes_differ(s):
    return s.input.shape != s.args[0].shape


RESULTS, METHOD, IN_PLACE, REFUSED = "results", "method", "in place", "refusals"
ANY = (RESULTS, METHOD, IN_PLACE)
# (tests, names, which samples, why)
DIFFERENCES = [
    (ANY, "addmv|addbmm|baddbmm", fraction_beside_integers, "a factor of 0.2 for integers is refused, not made 0"),
    (ANY, "addr", bools, "beta and alpha are numbers: times a bool they give an int64"),
    (ANY, "clamp_min|clamp_max|square", bools, "arithmetic of bools is refused"),
    (ANY, "add", lambda s: bools(s) and s.kwargs, "a factor of bools is refused"),
    (ANY, "tensordot", shapes_differ, "a size of 1 is not broadcast in a sum of products"),
    (ANY, "gather", lambda s: s.args[1].dtype == torch.uint8, "an index is int64 or int32, an empty one too"),
    (ANY, "gather", lambda s: s.input.ndim != s.args[1].ndim, "a 0-d tensor is not indexed as if it had a dimension"),
    (ANY, "norm.nuc", any_sample, "needs singular values"),
    (ANY, "linalg.(matrix_)?norm.*", singular_values, "needs singular values"),
    (ANY, "nn.functional.gaussian_nll_loss", shapes_differ, "a loss broadcasts no target"),
    (ANY, "nn.functional.multi_margin_loss", lambda s: s.input.ndim < 2, "one row of scores has labels of shape ()"),
    (ANY, "nn.functional.embedding", lambda s: s.kwargs.keys() - {"padding_idx"}, "options for large vocabularies"),
    (ANY, "nn.functional.batch_norm", lambda s: s.input.ndim < 2, "an input has channels"),
    (REFUSED, "clamp_m..|atan2|fm..|fmod|remainder|m..imum|logical_.*|bitwise_.*|isclose|pow|xlogy", a_number,
     "a number is taken wherever a tensor is"),
    (REFUSED, "narrow", lambda s: isinstance(s.args[1], torch.Tensor), "a start of bool is 0 or 1"),
    (IN_PLACE, "(un)?squeeze.*|transpose|t", any_sample, "no op changes the shape of a tensor in place"),
    (IN_PLACE, "nn.functional.(leaky_relu|elu|celu|rrelu|threshold|(alpha_)?dropout)", any_sample,
     "what accepts `inplace` overwrites nothing"),
]  # fmt: skip
# (names, why): results compared by structure, shapes and dtypes only
VALUES_DIFFER = [
    ("(new_)?empty(_like)?", "uninitialised"),
    ("nn.functional.(alpha_)?dropout", "masks come from a counter-based generator"),
    ("nn.functional.rrelu", "a slope is drawn for every element, not for the negative ones alone"),
    ("rand_like", "PyTorch's sample calls randn_like"),
]
# The same, for the second result
INDICES_DIFFER = [
    ("topk|kthvalue", "of equal elements the first ones are taken; PyTorch leaves it open"),
]
# (names, why): gradients that are not compared
GRADIENTS_DIFFER = [
    ("normal.*|bernoulli", "a draw has no gradient; PyTorch's is 0"),
    ("index_fill", "PyTorch counts a row twice that the index names twice"),
    ("nn.functional.hardsigmoid", "PyTorch's factor 1 / 6 has float32's digits"),
]


def listed(info, table) -> bool:
    return any(re.fullmatch(names, full_name(info)) or re.fullmatch(names, info.name) for names, _ in table)


def differs(info, s, test) -> bool:
    named = ((re.fullmatch(names, full_name(info)) or re.fullmatch(names, info.name)) and which(s)
             for tests, names, which, _ in DIFFERENCES if test in tests)  # fmt: skip
    return any(named)


# Conversion and comparison


class Unsupported(Exception):
    """The sample has a dtype, a layout or a rank that we do not have."""


class Differs(Exception):
    """What is not as PyTorch has it."""


def leaves(tree, kind) -> list:
    if isinstance(tree, kind):
        return [tree]
    items = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (tuple, list)) else ()
    return [leaf for item in items for leaf in leaves(item, kind)]


def tensors_in(tree) -> list:
    return leaves(tree, torch.Tensor)


def name_of(dtype) -> str:
    return str(dtype).split(".")[-1]


def convert(tree):
    """PyTorch's arguments as ours: tensors with their strides, dtypes by name."""
    if isinstance(tree, torch.Tensor):
        if tree.layout != torch.strided or not hasattr(tg, name_of(tree.dtype)) or tree.ndim > 64:
            raise Unsupported
        return tg.from_numpy(tree.detach().clone().numpy()).requires_grad_(tree.requires_grad)
    if isinstance(tree, torch.dtype) and hasattr(tg, name_of(tree)):
        return getattr(tg, name_of(tree))
    if isinstance(tree, (torch.dtype, torch.layout, torch.memory_format)):
        raise Unsupported
    if isinstance(tree, dict):
        return {k: convert(v) for k, v in tree.items()}
    if isinstance(tree, (tuple, list)):
        return (list if isinstance(tree, list) else tuple)(convert(v) for v in tree)
    return str(tree) if isinstance(tree, torch.device) else tree


def check(ours, theirs, values: bool):
    """One result: structure, dtype, shape, values."""
    if isinstance(theirs, torch.Tensor):
        if not isinstance(ours, tg.Tensor) or name_of(ours.dtype) != name_of(theirs.dtype):
            raise Differs(f"{getattr(ours, 'dtype', type(ours))}, not {theirs.dtype}")
        check_array(ours.detach().numpy(), theirs.detach().numpy(), values)
    elif isinstance(theirs, (tuple, list)):
        if len(ours) != len(theirs):
            raise Differs(f"{len(ours)} results, not {len(theirs)}")
        for a, b in zip(ours, theirs, strict=True):
            check(a, b, values)
    elif ours != theirs:
        raise Differs(f"{ours}, not {theirs}")


def check_array(a, b, values: bool, what=""):
    if a.shape != b.shape:
        raise Differs(f"{what}shape {a.shape}, not {b.shape}")
    if not values:
        return
    eps = ROUNDING.get(str(b.dtype), 0)
    top = float(np.max(np.abs(b), initial=0.01, where=np.isfinite(b))) if eps else 0
    bad = ~np.isclose(a, b, rtol=eps, atol=eps * top, equal_nan=True)
    if bad.any():
        raise Differs(f"{what}{bad.sum()} of {bad.size} differ: {a[bad][:4]}, not {b[bad][:4]}")


def gradients(T, result, arguments) -> list:
    """Of the arguments that require them, for one fixed incoming gradient."""
    inputs = [t for t in leaves(arguments, T.Tensor) if t.requires_grad]
    outputs = [t for t in leaves(result, T.Tensor) if t.requires_grad]
    if not outputs:
        return []
    seeds = [T.tensor(np.cos(np.arange(t.numel())).reshape(tuple(t.shape))).to(t.dtype) for t in outputs]
    found = T.autograd.grad(outputs, inputs, seeds, allow_unused=True)
    return [np.zeros(tuple(x.shape)) if g is None else (g + 0).numpy() for g, x in zip(found, inputs, strict=True)]


def check_gradients(result, arguments, their_result, their_arguments):
    ours, theirs = gradients(tg, result, arguments), gradients(torch, their_result, their_arguments)
    if len(ours) != len(theirs):
        raise Differs("requires_grad")
    for a, b in zip(ours, theirs, strict=True):
        check_array(a, b, True, "gradient: ")


def samples(info, dtype, requires_grad=False):
    torch.manual_seed(0)
    found = info.sample_inputs_func(info, "cpu", dtype, requires_grad)  # sample_inputs() looks up the caller, slowly
    small = (s for s in found if sum(t.numel() for t in tensors_in((s.input, s.args, s.kwargs))) <= LARGEST)
    return itertools.islice(small, MOST)


def both(info, s, ours, theirs, with_gradients=False):
    """Runs one sample in both; what differs, or None."""
    given = (s.input, list(s.args), s.kwargs)
    try:
        x, args, kwargs = mine = convert(given)
    except Unsupported:
        return None
    try:
        torch.manual_seed(42)
        want = theirs(s.input, *s.args, **s.kwargs)
    except REFUSALS:
        return None
    try:
        tg.manual_seed(42)
        got = ours(x, *args, **kwargs)
        if listed(info, INDICES_DIFFER):
            got, want = got[0], want[0]
        check(got, want, not listed(info, VALUES_DIFFER))
        if with_gradients and not listed(info, GRADIENTS_DIFFER) and not listed(info, VALUES_DIFFER):
            check_gradients(got, mine, want, given)
    except Exception as error:  # every kind is a finding
        return f"{describe(given)}: {type(error).__name__} {' '.join(str(error).split())}"[:500]
    return None


def describe(tree) -> str:
    if isinstance(tree, torch.Tensor):
        return name_of(tree.dtype) + str(list(tree.shape))
    if isinstance(tree, (tuple, list)):
        return f"({', '.join(map(describe, tree))})"
    return str({k: describe(v) for k, v in tree.items()}) if isinstance(tree, dict) else repr(tree)


def report(problems):
    found = [p for p in problems if p]
    assert not found, "\n".join(found)


# The tests


def test_most_functions_have_samples():
    assert len(INFOS) > 330


@pytest.mark.parametrize("info", INFOS, ids=lambda i: i.formatted_name)
def test_results_and_gradients(info):
    problems = []
    for dtype in DTYPES:
        if dtype not in info.supported_dtypes("cpu"):
            continue
        grad = dtype == torch.float64 and info.supports_autograd
        chosen = (s for s in samples(info, dtype, grad) if not differs(info, s, RESULTS))
        problems += [both(info, s, find(info), info.op, grad) for s in chosen]
    report(problems)


METHOD_INFOS = [i for i in INFOS if not i.name.startswith("__") and not i.name.endswith("_")]


@pytest.mark.parametrize("in_place", [False, True], ids=["method", "in_place"])
@pytest.mark.parametrize("info", METHOD_INFOS, ids=lambda i: i.formatted_name)
def test_methods_and_in_place_forms(info, in_place):
    theirs = info.inplace_variant if in_place else info.method_variant
    if theirs is None:
        return
    dtypes = [d for d in DTYPES if d in info.supported_dtypes("cpu")][:1]
    chosen = [s for d in dtypes for s in samples(info, d) if not differs(info, s, IN_PLACE if in_place else METHOD)]
    name = info.name.split(".")[-1] + "_" * in_place
    ours = getattr(tg.Tensor, name, None)
    assert ours or not chosen, f"no method {name}"

    def run(x, *args, **kwargs):
        result = ours(x, *args, **kwargs)
        if in_place and result is not x:
            raise Differs("gives another tensor")
        return result

    report(both(info, s, run, theirs) for s in chosen if not (in_place and s.broadcasts_input))


@pytest.mark.parametrize("info", [i for i in INFOS if i.error_inputs_func], ids=lambda i: i.formatted_name)
def test_refusals(info):
    """Where PyTorch raises, we raise."""
    problems = []
    for bad in info.error_inputs_func(info, "cpu"):
        s = bad.sample_input
        if differs(info, s, REFUSED):
            continue
        given = (s.input, list(s.args), s.kwargs)
        try:
            x, args, kwargs = convert(given)
            result = find(info)(x, *args, **kwargs)
        except (Unsupported, *REFUSALS):
            continue
        problems.append(f"{describe(given)}: gives {result}, PyTorch: {bad.error_regex}"[:500])
    report(problems)

"""Activation and loss layers against PyTorch's: arguments, printed form, results; and what the op table leaves out."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import tapegrad as tg
from captured import compiled, exactly
from models import array
from tapegrad import nn

F = nn.functional

ACTIVATIONS = [
    ("ReLU", ()),
    ("ReLU", (True,)),
    ("ReLU6", ()),
    ("LeakyReLU", ()),
    ("LeakyReLU", (0.3, True)),
    ("PReLU", ()),
    ("PReLU", (4, 0.1)),
    ("ELU", (0.5,)),
    ("SELU", ()),
    ("CELU", (0.5, True)),
    ("GELU", ("tanh",)),
    ("SiLU", ()),
    ("Mish", ()),
    ("Softplus", (2.0, 5.0)),
    ("Softsign", ()),
    ("Hardtanh", (-2.0, 0.5)),
    ("Hardsigmoid", ()),
    ("Hardswish", (True,)),
    ("LogSigmoid", ()),
    ("Tanhshrink", ()),
    ("Hardshrink", ()),
    ("Softshrink", (0.3,)),
    ("Threshold", (0.1, 20.0)),
    ("Softmax", (1,)),
    ("LogSoftmax", (1,)),
    ("Softmin", (1,)),
    ("GLU", ()),
    ("Tanh", ()),
    ("Sigmoid", ()),
]
LOSSES = [
    ("L1Loss", {}),
    ("MSELoss", {"reduction": "sum"}),
    ("SmoothL1Loss", {"beta": 0.5}),
    ("HuberLoss", {"delta": 0.5}),
    ("KLDivLoss", {"reduction": "batchmean", "log_target": True}),
    ("PoissonNLLLoss", {"full": True}),
    ("BCEWithLogitsLoss", {"pos_weight": [0.5, 1.0, 1.5, 2.0]}),
    ("MultiLabelSoftMarginLoss", {}),
    ("SoftMarginLoss", {"reduction": "none"}),
    ("HingeEmbeddingLoss", {"margin": 0.5}),
    ("CrossEntropyLoss", {"weight": [0.5, 1.0, 1.5, 2.0], "ignore_index": 1, "label_smoothing": 0.1}),
    ("NLLLoss", {"weight": [0.5, 1.0, 1.5, 2.0]}),
    ("MultiMarginLoss", {"p": 2}),
]


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


@pytest.mark.parametrize(("name", "args"), ACTIVATIONS, ids=[f"{n}{a}" for n, a in ACTIVATIONS])
def test_activation_layers_are_pytorchs(torch, name, args, rng):
    values = rng.randn(3, 4).astype("float32")
    ours, theirs = getattr(nn, name)(*args), getattr(torch.nn, name)(*args)
    assert repr(ours) == repr(theirs)
    got, want = array(ours(tg.tensor(values))), theirs(torch.tensor(values)).detach().numpy()
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize(("name", "kwargs"), LOSSES, ids=[n for n, _ in LOSSES])
def test_loss_layers_are_pytorchs(torch, name, kwargs, rng):
    x, t = rng.randn(5, 4).astype("float32"), rng.randint(0, 2, (5, 4)).astype("float32")
    if name in ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss"):
        t = rng.randint(0, 4, 5)
    if name in ("SoftMarginLoss", "HingeEmbeddingLoss"):
        t = 2 * t - 1
    results = []
    for T in (tg, torch):
        made = {key: T.tensor(value) if isinstance(value, list) else value for key, value in kwargs.items()}
        loss = getattr(T.nn, name)(**made)
        results.append((loss(T.tensor(x), T.tensor(t)).numpy(), repr(loss), list(loss.state_dict())))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5, atol=1e-6)
    assert results[0][1:] == results[1][1:]


def test_loss_layers_take_the_arguments_of_their_functions():
    assert str(inspect.signature(nn.HuberLoss)) == "(reduction='mean', delta=1.0)"
    with pytest.raises(TypeError, match="gamma"):
        nn.SmoothL1Loss(gamma=2)
    with pytest.raises(ValueError, match="average"):
        nn.L1Loss(reduction="average")
    assert nn.TripletMarginLoss(2.0, swap=True).margin == 2.0
    weights = [tg.ones(3), tg.ones(3)]
    loss = nn.BCEWithLogitsLoss(weights[0], pos_weight=weights[1]).double()
    assert [b.dtype for b in loss.buffers()] == [tg.float64, tg.float64]


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "selu", "hardtanh", "relu6", "rrelu", "hardswish"])
def test_inplace_is_accepted(name):
    x = tg.tensor([-2.0, 9.0])
    exactly(getattr(F, name)(x, inplace=True), getattr(F, name)(x))
    assert x.tolist() == [-2.0, 9.0]


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5)])
def test_batch_norm_keeps_running_statistics(torch, shape, rng):
    values = rng.randn(*shape)
    results = []
    for T in (tg, torch):
        mean, var = T.zeros(3, dtype=T.float64), T.ones(3, dtype=T.float64)
        for momentum in (0.1, 0.5):
            T.nn.functional.batch_norm(T.tensor(values), mean, var, training=True, momentum=momentum)
        results.append((mean.numpy(), var.numpy()))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-13)


def test_compiled_batch_norm_keeps_running_statistics(rng):
    def step(x, mean, var):
        return F.batch_norm(x, mean, var, training=True)

    replayed, inner = compiled(step)
    state, expected = ([tg.zeros(3), tg.ones(3)] for _ in range(2))
    for _ in range(3):
        x = tg.tensor(rng.randn(6, 3).astype("float32"))
        exactly(replayed(x, *state), step(x, *expected))
        exactly(state, expected)
    assert inner.runs == 1


def test_embedding_leaves_out_the_padding():
    weight = tg.ones(4, 2).requires_grad_()
    F.embedding(tg.tensor([[0, 3], [3, 1]]), weight, padding_idx=-1).sum().backward()
    assert weight.grad.tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]


def test_norms_have_no_slope_at_zero():
    x = tg.zeros(2, 3).requires_grad_()
    (F.normalize(x).sum() + F.cosine_similarity(x, tg.ones(2, 3)).sum()).backward()
    assert np.isfinite(array(x.grad)).all()


def test_targets_of_binary_cross_entropy_have_gradients(torch):
    values = np.array([0.2, 0.7]), np.array([0.1, 0.6])
    for name in ("binary_cross_entropy", "binary_cross_entropy_with_logits"):
        grads = []
        for T in (tg, torch):
            x, t = (T.tensor(v).requires_grad_() for v in values)
            getattr(T.nn.functional, name)(x, t).backward()
            grads.append((x.grad.numpy(), t.grad.numpy()))
        np.testing.assert_allclose(grads[0], grads[1], rtol=1e-12)


def test_binary_cross_entropy_of_certain_predictions(torch):
    for T in (tg, torch):
        x = T.tensor([0.0, 1.0, 0.0, 1.0]).requires_grad_()
        loss = T.nn.functional.binary_cross_entropy(x, T.tensor([0.0, 1.0, 1.0, 0.0]), reduction="none")
        assert loss.tolist() == [0, 0, 100, 100]
        loss.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), [0, 0, -1e12, 1e12])


def test_a_batch_whose_labels_are_all_ignored():
    for options in ({}, {"weight": tg.ones(3)}, {"label_smoothing": 0.1}):
        x = tg.ones(2, 3).requires_grad_()
        loss = F.cross_entropy(x, tg.tensor([-100, -100]), **options)
        loss.backward()
        assert np.isnan(loss.item())
        assert x.grad.tolist() == [[0, 0, 0]] * 2


def test_labels_are_checked_at_every_replay():
    replayed, _ = compiled(lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1))
    x = tg.ones(2, 3)
    replayed(x, tg.tensor([0, 2]))
    for wrong in (3, -1):
        with pytest.raises(IndexError, match=f"cross_entropy: label {wrong} is out of range"):
            replayed(x, tg.tensor([0, wrong]))


def test_alpha_dropout_keeps_mean_and_variance():
    tg.manual_seed(0)
    y = array(F.alpha_dropout(tg.randn(100_000), 0.3, training=True))
    assert abs(y.mean()) < 0.02
    assert abs(y.std() - 1) < 0.02
    assert 0.29 < np.unique(y, return_counts=True)[1].max() / y.size < 0.31


def test_random_slopes_of_rrelu():
    y = array(F.rrelu(-tg.ones(10_000), 0.2, 0.4, training=True))
    assert -0.4 <= y.min() < -0.39
    assert -0.21 < y.max() <= -0.2
    layer = nn.RReLU(0.2, 0.4).eval()
    np.testing.assert_allclose(array(layer(-tg.ones(2))), [-0.3, -0.3], rtol=1e-6)


def test_gumbel_softmax_draws_classes():
    tg.manual_seed(0)
    logits = tg.tensor([0.5, 0.2, 0.3]).log().expand(20_000, 3)
    hard = array(F.gumbel_softmax(logits, hard=True))
    np.testing.assert_allclose(hard.mean(0), [0.5, 0.2, 0.3], atol=0.02)
    np.testing.assert_allclose(array(F.gumbel_softmax(logits, tau=0.5)).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 4), (40, 5)])
def test_gumbel_softmax_draws_as_pytorch(shape):
    torch = pytest.importorskip("torch")
    soft = []
    for lib in (tg, torch):
        lib.manual_seed(0)
        soft.append(array(lib.nn.functional.gumbel_softmax(lib.zeros(shape), tau=0.5)))
    np.testing.assert_allclose(*soft, rtol=1e-5)

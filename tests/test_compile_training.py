"""Training steps, captured and replayed, against eager: the same losses and weights to the last bit."""

from __future__ import annotations

import pytest

import tapegrad as tg
from captured import compiled, exactly
from optim_cases import CASES, IDS, OPTIONS
from tapegrad import nn, optim
from tapegrad.examples import backprop_by_hand, gradient_descent, regression
from tapegrad.nn import functional as F

STEPS = 20


def features(rows=12, width=6, seed=3):
    generator = tg.Generator().manual_seed(seed)
    return tg.randn(rows, width, generator=generator)


def classes(rows=12, count=4, seed=4):
    return tg.randint(0, count, (rows,), generator=tg.Generator().manual_seed(seed))


def classifier():
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4))


def state_of(model, optimizer=None):
    """Everything that training changes, as copies."""
    values = {name: value.detach().clone() for name, value in model.state_dict().items()}
    if optimizer is not None:
        for number, entries in optimizer.state_dict()["state"].items():
            for name, value in entries.items():
                if value is not None:
                    values[f"{number}.{name}"] = (
                        tg.tensor(value) if isinstance(value, float) else value.detach().clone()
                    )
    return values


def both(make_step, batches, *, threads=2, **options):
    """Runs the step that make_step() builds over the batches, eager and compiled, from one seed; they must agree.

    make_step() -> (step, model, optimizer or None). Returns how often Python ran the compiled step.
    """
    results = []
    with tg.threads(threads):
        for capture in (False, True):
            tg.manual_seed(0)
            step, model, optimizer = make_step()
            runs = None
            if capture:
                step, runs = compiled(step, **options)
            losses = [step(*batch) for batch in batches]
            results.append((losses, state_of(model, optimizer)))
    exactly(results[1], results[0])
    return runs.runs


def standard_step(model, optimizer, loss_of):
    def step(x, y):
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step, model, optimizer


def batches(count=STEPS):
    return [(features(seed=k), classes(seed=k)) for k in range(count)]


def optimizer_of(name, model, **options):
    """Muon takes matrices only: the biases stay."""
    params = [p for p in model.parameters() if name != "Muon" or p.ndim == 2]
    return getattr(optim, name)(params, lr=0.01, **options)


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_optimizers(name, options, threads):
    def make():
        model = classifier()
        return standard_step(model, optimizer_of(name, model, **options), F.cross_entropy)

    assert both(make, batches(), threads=threads) <= 2


def test_every_optimizer_is_here():
    kinds = [getattr(optim, name) for name in optim.__all__]
    known = {kind.__name__ for kind in kinds if isinstance(kind, type)} - {"Optimizer", "LBFGS"}
    assert known == set(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_groups(name):
    def make():
        model = classifier()
        own = {"etas": (0.3, 1.3)} if name == "Rprop" else {"weight_decay": 0.1}
        groups = [{"params": [model[0].weight], "lr": 0.02}, {"params": [model[2].weight], **own}]
        if name != "Muon":
            groups.append({"params": [model[0].bias, model[2].bias, *model[4].parameters()]})
        return standard_step(model, getattr(optim, name)(groups, lr=0.05), F.cross_entropy)

    assert both(make, batches()) <= 2


def test_two_optimizers():
    def make():
        model = classifier()
        first = optim.Adam(model[0].parameters(), lr=0.01)
        second = optim.SGD([*model[2].parameters(), *model[4].parameters()], lr=0.1, momentum=0.9)

        def step(x, y):
            first.zero_grad()
            second.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            first.step()
            second.step()
            return loss

        return step, model, second

    assert both(make, batches()) <= 2


def test_closure():
    def make():
        model = classifier()
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def step(x, y):
            def closure():
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                return loss

            return optimizer.step(closure)

        return step, model, optimizer

    assert both(make, batches()) <= 2


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("loss", ["CrossEntropyLoss", "MSELoss"])
def test_losses(loss, reduction):
    def make():
        model = classifier()
        loss_of = getattr(nn, loss)(reduction=reduction)
        return standard_step(
            model,
            optim.SGD(model.parameters(), lr=0.01),
            lambda y, t: loss_of(y, t).sum() if reduction == "none" else loss_of(y, t),
        )

    data = batches() if loss == "CrossEntropyLoss" else [(features(seed=k), features(12, 4, k)) for k in range(STEPS)]
    assert both(make, data) <= 2


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("name", OPTIONS)
def test_wide_layers(name, threads):
    """Products that are cut into tasks, with the steps behind them; parameters that do not fit a cache line."""

    def make():
        model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
        optimizer = optimizer_of(name, model, **OPTIONS[name][1])
        return standard_step(model, optimizer, F.cross_entropy)

    data = [(features(128, 784, k), classes(128, 10, k)) for k in range(5)]
    assert both(make, data, threads=threads) <= 2


@pytest.mark.parametrize("name", OPTIONS)
def test_steps_go_behind_the_product_that_makes_the_gradient(name):
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    step, _, _ = standard_step(model, optimizer_of(name, model), F.cross_entropy)
    step = tg.compile(step)
    for k in range(2):
        step(features(128, 784, k), classes(128, 10, k))
    assert (f"matmul_{name.lower().replace('adamw', 'adam')}_step_" in str(step.explain())) == (name != "Muon")


def test_float64():
    def make():
        model = classifier().double()
        return standard_step(model, optim.Adam(model.parameters(), lr=1e-2), F.cross_entropy)

    assert both(make, [(x.double(), y) for x, y in batches()]) <= 2


def test_clipping():
    def make():
        model = classifier()
        optimizer = optim.Adam(model.parameters(), lr=0.01)

        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            with tg.no_grad():
                norm = tg.sqrt(sum((p.grad * p.grad).sum() for p in model.parameters()))
                factor = tg.minimum(0.5 / (norm + 1e-6), tg.tensor(1.0))
                for p in model.parameters():
                    p.grad.mul_(factor)
            optimizer.step()
            return loss, norm

        return step, model, optimizer

    assert both(make, batches()) <= 2


class Named(nn.Module):
    """Layers as attributes, one of them used twice, and a running mean in a buffer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.shared = nn.Linear(16, 16)
        self.last = nn.Linear(16, 4)
        self.register_buffer("mean", tg.zeros(16))

    def forward(self, x):
        h = tg.relu(self.first(x))
        if self.training:
            with tg.no_grad():
                self.mean.mul_(0.9).add_(0.1 * h.mean(0))
        h = h - self.mean
        return self.last(tg.tanh(self.shared(tg.tanh(self.shared(h))) + h))


def test_module_with_a_buffer_and_a_shared_layer():
    def make():
        model = Named()
        return standard_step(model, optim.AdamW(model.parameters(), lr=0.01), F.cross_entropy)

    assert both(make, batches()) <= 2


def test_tied_weights():
    def make():
        model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 4))
        model[2].weight = model[0].weight
        return standard_step(model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9), F.cross_entropy)

    assert both(make, batches()) <= 2


@pytest.mark.parametrize("update_of", [gradient_descent.sgd_update, gradient_descent.hand_update])
@pytest.mark.parametrize("batch", [20, 200])
def test_example_gradient_descent(update_of, batch):
    def make():
        model = gradient_descent.Linear()
        return gradient_descent.make_step(model, update_of(model, 0.1)), model, None

    x, y = gradient_descent.make_data()
    starts = [(k * batch) % 200 for k in range(STEPS)]
    assert both(make, [(x[s : s + batch], y[s : s + batch]) for s in starts]) <= 2


@pytest.mark.parametrize("mean", [False, True])
def test_example_regression(mean):
    """The update by hand, the gradient zeroed in place."""

    def make():
        model = nn.Module()
        model.w = nn.Parameter(tg.tensor(0.0))
        return regression.tape_step(model.w, mean=mean), model, None

    x = tg.arange(1, 7).float()
    assert both(make, [(x, 2 * x)] * STEPS) <= 3


def test_example_backpropagation():
    """Weights and biases that are no module's; the gradients stay in .grad."""
    X, T, W, b = backprop_by_hand.make_problem()
    results = []
    for capture in (False, True):
        weights, biases = [[nn.Parameter(tg.Tensor(a)) for a in arrays] for arrays in (W, b)]
        step = backprop_by_hand.tape_step(weights, biases)
        if capture:
            step, inner = compiled(step)
        results.append([])
        for k in range(STEPS):
            error = step(tg.Tensor(X) + k, tg.Tensor(T))
            results[-1].append((error, [p.grad.clone() for p in weights + biases]))
    exactly(results[1], results[0])
    assert inner.runs <= 2


@pytest.mark.parametrize("keep_grads", [True, False])
def test_accumulation_over_two_calls(keep_grads):
    """One compiled function for the gradients, another for the update."""
    results = []
    for capture in (False, True):
        tg.manual_seed(0)
        model = classifier()
        optimizer = optim.Adam(model.parameters(), lr=0.01)

        def gradients(x, y, model=model):
            loss = F.cross_entropy(model(x), y) / 2
            loss.backward()
            return loss

        def update(optimizer=optimizer):
            optimizer.step()
            optimizer.zero_grad()

        if capture:
            gradients, update = tg.compile(gradients, keep_grads=keep_grads), tg.compile(update, keep_grads=keep_grads)
        losses, kept = [], []
        for k in range(12):
            losses.append(gradients(features(seed=k), classes(seed=k)))
            if k % 2:
                kept += [p.grad.clone() for p in model.parameters()]
                update()
                assert all(p.grad is None for p in model.parameters())
        results.append((losses, kept, state_of(model, optimizer)))
    exactly(results[1], results[0])

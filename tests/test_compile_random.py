"""Random programs: layers, views, shared parameters, updates by hand, dropout, several passes; compiled is eager."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tapegrad as tg
from captured import compiled, exactly
from tapegrad import nn, optim
from tapegrad.nn import functional as F

PROGRAMS = int(os.environ.get("TAPEGRAD_PROGRAMS", "250"))  # random programs per run
CALLS = 4
N = 6  # every value of a program is (N, N)
common = settings(
    deadline=None, max_examples=PROGRAMS, suppress_health_check=list(HealthCheck), derandomize=True
)  # fmt: skip


class Net(nn.Module):
    """Parameters and buffers that programs pick from."""

    def __init__(self):
        super().__init__()
        self.linears = nn.Sequential(*(nn.Linear(N, N, bias=k != 1) for k in range(3)))
        self.norm = nn.LayerNorm(N)
        self.stack = nn.Sequential(nn.Linear(N, N), nn.ReLU(), nn.Dropout(0.2), nn.Linear(N, N), nn.Sigmoid())
        self.scale = nn.Parameter(tg.ones(N))
        self.table = nn.Parameter(tg.randn(2 * N, N))
        self.register_buffer("mean", tg.zeros(N))
        self.register_buffer("count", tg.zeros(1))


def running_mean(net, a, b):
    with tg.no_grad():
        net.mean.mul_(0.9).add_(0.1 * a.mean(0))
        net.count += 1
    return a - net.mean


def own_value(net, a, b):
    out = a.detach() * 1.5
    out[1:3] = b.detach()[:2]
    out += b.detach()
    return a + out


OPS = [
    lambda net, a, b: net.linears[0](a),
    lambda net, a, b: net.linears[1](a),
    lambda net, a, b: net.linears[2](a).relu(),
    lambda net, a, b: F.linear(a, net.linears[0].weight),
    lambda net, a, b: net.stack(a),
    lambda net, a, b: net.norm(a),
    lambda net, a, b: a * net.scale,
    lambda net, a, b: a @ net.table[::2].t() * 0.3,
    lambda net, a, b: a + net.table[N:],
    lambda net, a, b: net.table[[0, 3, 3, 5, 11, 1]] - a,
    running_mean,
    own_value,
    lambda net, a, b: F.dropout(a, 0.3, net.training),
    lambda net, a, b: tg.tanh(a),
    lambda net, a, b: tg.sigmoid(a) * b,
    lambda net, a, b: F.gelu(a),
    lambda net, a, b: F.silu(a) + F.softplus(b),
    lambda net, a, b: F.relu(a) - 0.1,
    lambda net, a, b: (a * 0.2).exp() / (b.square() + 1),
    lambda net, a, b: (a.square() + 1).log() * 2,
    lambda net, a, b: tg.softmax(a, 1),
    lambda net, a, b: tg.log_softmax(b, 0) * 0.1,
    lambda net, a, b: a - a.mean(1, keepdim=True),
    lambda net, a, b: a / (a.var() + 1),
    lambda net, a, b: a.sum(0).expand(N, N) * 0.1,
    lambda net, a, b: a.max(1).values.unsqueeze(1) + b * 0.5,
    lambda net, a, b: a.t(),
    lambda net, a, b: tg.cat([a[3:], b[:3]]),
    lambda net, a, b: tg.stack([a[:, 0], *(b[:, k] for k in range(1, N))], 1),
    lambda net, a, b: a[:, ::2] @ b[::2] * 0.3,
    lambda net, a, b: tg.where(a > b, a, b * 0.5),
    lambda net, a, b: tg.maximum(a, b),
    lambda net, a, b: a + b,
    lambda net, a, b: a - b,
    lambda net, a, b: a * b,
    lambda net, a, b: a @ b * 0.2,
    lambda net, a, b: (a + b).detach() * a,
    lambda net, a, b: a + tg.randn(N),
    lambda net, a, b: a * tg.tensor([1.0, -1.0, 0.5, 2.0, 0.0, 1.0]),
]
LOSSES = [
    lambda h, y: F.cross_entropy(h, y),
    lambda h, y: F.mse_loss(h, h.detach().t().contiguous()),
    lambda h, y: F.cross_entropy(h, y, reduction="none").sum() * 0.1,
    lambda h, y: h.square().mean(),
    lambda h, y: tg.log_softmax(h, 1).gather(1, y.unsqueeze(1)).mean() * -1,
]


def by_hand(net):
    """Gradient descent written out."""
    with tg.no_grad():
        for p in net.parameters():
            if p.grad is not None:
                p -= 0.05 * p.grad
                p.grad = None


def make_update(kind, net):
    """(what clears the gradients, what updates)."""
    if kind == "hand":
        return (lambda: None), (lambda: by_hand(net))
    optimizer = {
        "sgd": lambda: optim.SGD(net.parameters(), lr=0.05),
        "momentum": lambda: optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
        "adam": lambda: optim.Adam(net.parameters(), lr=0.02),
        "adamw": lambda: optim.AdamW(net.parameters(), lr=0.02),
    }[kind]()
    return optimizer.zero_grad, optimizer.step


node = st.tuples(st.integers(0, len(OPS) - 1), st.integers(0, 99), st.integers(0, 99))


@common
@given(
    st.lists(node, min_size=1, max_size=14),
    st.lists(st.integers(0, len(LOSSES) - 1), min_size=1, max_size=3),
    st.sampled_from(["hand", "sgd", "momentum", "adam", "adamw"]),
    st.sampled_from(["together", "apart", "grad", "twice"]),
    st.lists(st.integers(0, 99), max_size=2),
    st.booleans(),
    st.integers(1, 3),
    st.integers(0, 2**31 - 1),
)
def test_random_programs(plan, losses, update, passes, returned, keep, threads, seed):
    def start():
        tg.manual_seed(seed)
        net = Net()
        clear, change = make_update(update, net)

        def step(x, y):
            nodes = [x, x + 0.5]
            for op, left, right in plan:
                nodes.append(OPS[op](net, nodes[left % len(nodes)], nodes[right % len(nodes)]))
            clear()
            values = [LOSSES[k](nodes[-1 - i % len(nodes)], y) for i, k in enumerate(losses)]
            values = [v + (net.scale * 0.01).sum() for v in values]  # each has a parameter
            extra = []
            if passes == "together":
                sum(values).backward()
            elif passes == "grad":
                wanted = [net.scale, net.table]
                extra = list(tg.autograd.grad(sum(values), wanted, retain_graph=True, allow_unused=True))
                sum(values).backward()
            else:
                for v in values:
                    v.backward(retain_graph=True)
                if passes == "twice":
                    values[0].backward(retain_graph=True)
            change()
            return values, extra, [nodes[k % len(nodes)].detach() for k in returned]

        return net, step

    results = []
    with tg.threads(threads):
        for capture in (False, True):
            net, step = start()
            if capture:
                step, inner = compiled(step, keep_grads=keep)
            seen = []
            generator = tg.Generator().manual_seed(seed)
            for _ in range(CALLS):
                x = tg.randn(N, N, generator=generator)
                seen.append(step(x, tg.randint(0, N, (N,), generator=generator)))
            grads = [p.grad for p in net.parameters()] if keep or not capture else []
            results.append((seen, [v.detach() for v in net.state_dict().values()], grads, tg.rand(2)))
    if not keep:
        results = [r[:2] + r[3:] for r in results]
    exactly(results[1], results[0])
    assert inner.runs <= 2

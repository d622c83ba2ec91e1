"""The profiler: what it counts, how ranges nest, the trace, threads, and that it is off afterwards. Never timings."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter

import pytest

import tapegrad as tg
from tapegrad.profiler import ProfilerActivity, profile, record_function


def counts(prof):
    return {(row.key, row.is_backward): row.count for row in prof.key_averages() if not row.is_range}


def training_step(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = tg.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()


@pytest.fixture
def net():
    tg.manual_seed(0)
    model = tg.nn.Sequential(tg.nn.Linear(6, 5), tg.nn.Softplus(), tg.nn.Linear(5, 3))
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    return model, optimizer, tg.randn(4, 6), tg.tensor([0, 1, 2, 0])


def test_counts_every_op_of_a_training_step(net):
    with profile() as prof:
        for _ in range(3):
            training_step(*net)
    assert counts(prof) == {
        ("linear", False): 6,
        ("softplus", False): 3,
        ("cross_entropy", False): 3,
        ("copy_", False): 3,  # the gradient of the loss, 1
        ("div", True): 3,
        ("cross_entropy_backward", True): 3,
        ("matmul", True): 3,  # the input needs no gradient
        ("weight_gradient", True): 6,
        ("softplus_backward", True): 3,
        ("sgd_step_", False): 3,
    }
    assert [(r.key, r.count) for r in prof.key_averages() if r.is_range] == [("backward", 3)]


def test_a_layer_without_bias_has_no_bias_gradient_computed():
    x, w, v = tg.randn(4, 6), tg.randn(5, 6, requires_grad=True), tg.randn(3, 5, requires_grad=True)
    bias = tg.randn(3, requires_grad=True)
    y = tg.nn.functional.linear(tg.nn.functional.linear(x, w), v, bias)
    with profile() as prof:
        tg.autograd.grad(y, [w, v, bias], tg.ones_like(y))
    assert counts(prof)["weight_gradient", True] == 1  # of the outer layer, with its bias; w has a product


def only_op(prof):
    [event] = [e for e in prof.events() if not e.is_range]
    return event


@pytest.mark.parametrize(
    ("a", "b", "flops"),
    [((3, 4), (4, 5), 120), ((2, 3, 4), (4, 5), 240), ((7, 1, 3, 4), (2, 4, 5), 2 * 7 * 2 * 60), ((4,), (4,), 8)],
)
def test_flops_and_bytes_of_a_product(a, b, flops):
    a, b = tg.ones(*a), tg.ones(*b)
    with profile() as prof:
        c = a @ b
    event = only_op(prof)
    assert (event.name, event.flops) == ("matmul", flops)
    assert event.bytes == 4 * (a.numel() + b.numel() + c.numel())
    assert event.dtype is tg.float32


def test_flops_of_linear():
    x, w, b = tg.ones(2, 3, 4), tg.ones(5, 4), tg.ones(5)
    with profile() as prof:
        tg.nn.functional.linear(x, w, b)
    event = only_op(prof)
    assert (event.name, event.flops, tuple(event.shape)) == ("linear", 2 * 6 * 4 * 5, (6, 5))


@pytest.mark.parametrize(
    ("run", "flops", "moved"),
    [
        (lambda x: x + x, 1000, 12000),
        (lambda x: x.double(), 0, 12000),
        (lambda x: x.sum(), 1000, 4004),
        (lambda x: x[0].expand(10, 100) + x, 1000, 8400),  # the repeated row is there once
        (lambda x: x[:, ::2].clone(), 0, 4000),
        (lambda x: x[tg.tensor([3, 4])], 0, 2 * 800 + 16),
        (lambda x: x.add_(x[0]), 1000, 8400),
        (lambda x: x.copy_(x[0].clone()), 0, 4400),
        (lambda x: x.uniform_(), 0, 4000),
    ],
)
def test_flops_and_bytes(run, flops, moved):
    x = tg.ones(10, 100)
    with profile() as prof:
        run(x)
    event = prof.events()[-1]
    assert (event.flops, event.bytes) == (flops, moved)


def test_views_are_not_ops():
    x = tg.ones(4, 6)
    with profile() as prof:
        x.reshape(24)
        x.t()[1:3].unsqueeze(0)
    assert prof.events() == []
    assert "0.000 ms in ops" in prof.key_averages().table()


def test_optimizer_moves_state_twice_and_gradients_once():
    p = tg.nn.Parameter(tg.ones(8, 8))
    p.grad = tg.ones(8, 8)
    optimizer = tg.optim.Adam([p])
    optimizer.step()
    with profile() as prof:
        optimizer.step()
    [event] = [e for e in prof.events() if e.name == "adam_step_"]
    assert event.bytes == 64 * 4 * 7 + 2 * 4  # and the number of steps
    assert event.flops == 64 * 13


def test_rows_by_shape():
    with profile(record_shapes=True) as prof:
        for n in (2, 2, 3):
            tg.ones(n) + 1
    adds = {tuple(r.shape): r.count for r in prof.key_averages() if r.key == "add"}
    assert adds == {(2,): 2, (3,): 1}
    assert [r.count for r in prof.key_averages(group_by_input_shape=False) if r.key == "add"] == [3]
    assert "add (2,)" in prof.key_averages().table()


def test_ranges_hold_what_is_inside(net):
    @record_function("step")
    def step():
        with record_function("outer"):
            with record_function("inner"):
                tg.ones(3, 4) @ tg.ones(4, 5)
            tg.ones(3, 4) @ tg.ones(4, 5)
        return 7

    with profile() as prof:
        assert step() == 7
    rows = {r.key: r for r in prof.key_averages()}
    product = 120
    fills = {"inner": 0, "outer": 0, "step": 0}
    assert {k: rows[k].flops for k in fills} == {"inner": product, "outer": 2 * product, "step": 2 * product}
    assert rows["inner"].is_range and not rows["matmul"].is_range
    assert step.__name__ == "step"


def test_times_nest(net):
    with profile() as prof, record_function("all"):
        training_step(*net)
    events = prof.events()
    whole = next(e for e in events if e.name == "all")
    sweep = next(e for e in events if e.name == "backward")
    for e in events:
        assert e.duration >= 0 and e.start >= 0 and 0 <= e.self_duration <= e.duration
        assert whole.start <= e.start and e.start + e.duration <= whole.start + whole.duration
        inside = sweep.start <= e.start and e.start + e.duration <= sweep.start + sweep.duration
        assert e.is_backward == inside
        assert e.thread == threading.get_native_id()
    ops = sum(e.duration for e in events if not e.is_range)
    assert whole.self_duration + sweep.self_duration + ops == whole.duration


def test_double_backward_is_backward():
    x = tg.tensor([2.0], requires_grad=True)
    with profile() as prof:
        (g,) = tg.autograd.grad(x.exp(), x, create_graph=True)
        g.backward()
    assert [e.name for e in prof.events() if e.is_range] == ["backward", "backward"]
    assert Counter(e.is_backward for e in prof.events() if e.name == "exp")[False] == 1
    assert all(e.is_backward for e in prof.events() if e.name == "mul")


def test_a_range_that_began_before_is_left_out():
    with record_function("early"), profile() as prof:
        tg.ones(2) + 1
    early = record_function("half")
    early.__enter__()
    with profile() as second:
        early.__exit__(None, None, None)
    assert not any(e.is_range for e in prof.events())
    assert second.events() == []


def test_threads_are_told_apart():
    ready = threading.Barrier(3)

    def work(n):
        x = tg.ones(n, n)
        ready.wait()
        with record_function(f"of {n}"):
            for _ in range(200):
                x @ x

    workers = [threading.Thread(target=work, args=(n,)) for n in (3, 150, 151)]
    with profile() as prof:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    products = [e for e in prof.events() if e.name == "matmul"]
    assert Counter((e.thread, e.shape[0]) for e in products) == {
        (worker.native_id, n): 200 for worker, n in zip(workers, (3, 150, 151), strict=True)
    }
    rows = {r.key: r for r in prof.key_averages()}
    assert rows["of 150"].flops == 200 * 2 * 150**3


def test_trace(net, tmp_path):
    with profile() as prof, record_function('a "quoted" näme'):
        training_step(*net)
    path = tmp_path / "trace.json"
    prof.export_chrome_trace(path)
    trace = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    assert len(trace) == len(prof.events())
    for row in trace:
        assert row["ph"] == "X" and row["pid"] == os.getpid() and row["tid"] == threading.get_native_id()
        assert row["ts"] >= 0 and row["dur"] >= 0
        assert row["args"]["flops"] >= 0 and row["args"]["bytes"] >= 0
        assert ("shape" in row["args"]) == (row["cat"] == "op")
    linear = next(row for row in trace if row["name"] == "linear")
    assert linear["args"] == {
        "flops": 240.0,
        "bytes": 4.0 * (24 + 30 + 5 + 20),
        "backward": False,
        "shape": [4, 5],
        "dtype": "tapegrad.float32",
    }
    assert {row["name"] for row in trace if row["cat"] == "range"} == {"backward", 'a "quoted" näme'}


def test_table(net):
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as prof, record_function("step"):
        training_step(*net)
    rows = prof.key_averages()
    for sort_by in ("cpu_time_total", "self_cpu_time_total", "cpu_time", "count", "flops", "bytes", "key"):
        assert "linear" in rows.table(sort_by=sort_by)
    text = rows.table("flops", row_limit=2)
    assert text.index("weight_gradient in backward") < text.index("linear") and "softplus" not in text
    heading = "calls total ms mean µs share % GFLOP/s GB/s floor %"
    assert " ".join(text.splitlines()[0].split()) == heading
    assert "step" in text and str(rows) == rows.table()
    assert len(rows.table(row_limit=-1).splitlines()) == len(rows) + 5
    with pytest.raises(ValueError, match="sort_by must be one of"):
        rows.table(sort_by="cuda_time_total")


def test_floor_of_an_op_is_the_larger_of_its_two():
    from tapegrad.profiler import _floor

    peak = (2e9, 1e9, [(1000.0, 4e9), (2000.0, 1e9)])
    x = tg.ones(10, 10)
    with profile() as prof:
        x @ x
        x.double() @ x.double()
        x + x
    float32, _, _, float64, add = (_floor(e, peak) for e in prof.events())
    assert float32 == pytest.approx(max(2000 / 2, 1200 / 4))
    assert float64 == pytest.approx(max(2000 / 1, 2400 / 1))
    assert add == pytest.approx(1200 / 4)
    rows = {r.key: r for r in prof.key_averages()}
    assert all(r.floor_time_total > 0 for r in rows.values())


def test_off_after_an_exception():
    with pytest.raises(ZeroDivisionError), profile() as prof:
        tg.ones(2) + 1
        1 / 0  # noqa: B018
    assert any(e.name == "add" for e in prof.events())
    with profile() as again:
        pass
    tg.ones(2) + 1
    assert again.events() == []


def test_misuse():
    with profile() as outer:
        with pytest.raises(RuntimeError, match="cannot be nested"):
            profile().start()
        with pytest.raises(RuntimeError, match="before the profile has ended"):
            outer.events()
        tg.ones(2)
    assert len(outer.events()) == 1
    with pytest.raises(RuntimeError, match="stop\\(\\) without start"):
        outer.stop()
    with pytest.raises(RuntimeError, match="before the profile has ended"):
        profile().key_averages()


def test_an_object_can_profile_again():
    prof = profile()
    for n in (1, 2):
        prof.start()
        for _ in range(n):
            tg.zeros(3).exp()
        prof.stop()
        assert sum(e.name == "exp" for e in prof.events()) == n


def test_an_op_that_fails_leaves_no_event():
    x = tg.ones(3)
    with profile() as prof, pytest.raises(IndexError):
        x[tg.tensor([5])]
    assert not any(e.name == "index" for e in prof.events())

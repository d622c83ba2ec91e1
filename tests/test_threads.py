"""Threads change nothing but the time: same bits for any number of them, fork, validation."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import tapegrad as tg

COUNTS = [1, 2, 3, 4]


def training_step():
    """Two steps of an MLP, big enough for threads: every parameter and gradient afterwards."""
    tg.manual_seed(3)
    x, y = tg.randn(256, 300), tg.randint(0, 10, (256,))
    model = tg.nn.Sequential(tg.nn.Linear(300, 400), tg.nn.ReLU(), tg.nn.Dropout(0.3), tg.nn.Linear(400, 10))
    optimizer = tg.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        tg.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return [p.detach() for p in model.parameters()] + [p.grad for p in model.parameters()]


def of(f, *shapes):
    tg.manual_seed(1)
    return f(*(tg.randn(s) for s in shapes))


def layer_norm(rows, n):
    """The result and the three gradients."""
    tg.manual_seed(4)
    args = [tg.randn(rows, n).requires_grad_(), *(tg.randn(n).requires_grad_() for _ in range(2))]
    y = tg.nn.functional.layer_norm(args[0], (n,), *args[1:])
    y.backward(tg.randn(rows, n))
    return [y.detach(), *(t.grad for t in args)]


WORK = {
    "matmul": lambda: [of(tg.matmul, (301, 517), (517, 403))],
    "matmul transposed": lambda: [of(lambda a, b: a.t() @ b.t(), (517, 301), (403, 517))],
    "matmul thin": lambda: [of(tg.matmul, (3, 70000), (70000, 5))],
    "batched matmul": lambda: [of(tg.matmul, (9, 64, 65), (9, 65, 66))],
    "linear": lambda: [of(tg.nn.functional.linear, (500, 300), (200, 300), (200,))],
    "sum": lambda: [
        of(lambda x: x.sum(), (1_000_003,)),
        of(lambda x: x.sum(0), (5000, 301)),
        of(lambda x: x.sum(1), (301, 5000)),
    ],
    "mean and var": lambda: [
        of(lambda x: x.mean(), (1_000_003,)),
        of(lambda x: x.var(0), (5000, 301)),
        of(lambda x: x.std(), (700_001,)),
    ],
    "max": lambda: [
        of(lambda x: x.max(), (1_000_003,)),
        of(lambda x: x.argmax(1), (301, 5000)),
        of(lambda x: x.amax(0), (5000, 301)),
    ],
    "softmax": lambda: [of(lambda x: tg.softmax(x, 1), (2000, 301)), of(lambda x: tg.log_softmax(x, 0), (2000, 301))],
    "layer_norm": lambda: [t for shape in [(3001, 70), (300, 5000)] for t in layer_norm(*shape)],
    "elementwise": lambda: [
        of(lambda x: (x.exp() * 2 + x).tanh(), (1_000_003,)),
        of(lambda a, b: a * b, (1000, 1001), (1001,)),
    ],
    "gather and index": lambda: [
        of(lambda x: x[tg.arange(999, -1, -1)], (1000, 300)),
        of(lambda x: x[x > 0], (1000, 300)),
    ],
    "random": lambda: [of(lambda: tg.randn(500_000)), of(lambda: tg.rand(500_000)), of(lambda: tg.randperm(100_000))],
    "dropout": lambda: [of(lambda x: tg.nn.functional.dropout(x, 0.4), (1_000_003,))],
    "training step": training_step,
}


@pytest.mark.parametrize("work", WORK)
def test_same_bits_for_every_number_of_threads(work):
    results = []
    for n in COUNTS:
        tg.set_num_threads(n)
        assert tg.get_num_threads() == n
        results.append([t.numpy().tobytes() for t in WORK[work]()])
    assert all(r == results[0] for r in results)


def test_same_bits_from_run_to_run():
    first = [t.numpy().tobytes() for t in training_step()]
    for _ in range(3):
        assert [t.numpy().tobytes() for t in training_step()] == first


@pytest.mark.parametrize("n", [0, -1, 10**9, 2.5, "2", None, 2**70])
def test_set_num_threads_checks_its_argument(n):
    before = tg.get_num_threads()
    with pytest.raises((ValueError, TypeError, OverflowError)):
        tg.set_num_threads(n)
    assert tg.get_num_threads() == before


def python(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_environment_sets_the_number():
    assert python("import tapegrad as tg; print(tg.get_num_threads())", TAPEGRAD_NUM_THREADS="3") == "3"
    assert int(python("import tapegrad as tg; print(tg.get_num_threads())", TAPEGRAD_NUM_THREADS="")) >= 1


@pytest.mark.parametrize("value", ["zero", "0", "-2", "1e9"])
def test_environment_nonsense_does_not_crash(value):
    """Ignored with the default number, or a clear error."""
    done = subprocess.run(
        [sys.executable, "-c", "import tapegrad as tg; print(tg.get_num_threads())"],
        capture_output=True, text=True, timeout=120, env={**os.environ, "TAPEGRAD_NUM_THREADS": value},
    )  # fmt: skip
    assert (done.returncode == 0 and int(done.stdout) >= 1) or "TAPEGRAD_NUM_THREADS" in done.stderr
    assert done.returncode in (0, 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")
def test_affinity_bounds_the_default():
    program = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import tapegrad as tg
print(tg.get_num_threads())
"""
    environment = {k: v for k, v in os.environ.items() if k != "TAPEGRAD_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment)
    assert done.stdout.strip() == "1", done.stderr


FORK = """
import os, sys, tapegrad as tg
tg.set_num_threads(2)
tg.manual_seed(1)
a, b = tg.randn(400, 400), tg.randn(400, 400)
want = (a @ b).sum().item()
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        x = a.clone().requires_grad_()
        got = (x @ b).sum()
        got.backward()
        os._exit(0 if got.item() == want and x.grad is not None else 7)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status
    assert (a @ b).sum().item() == want
print("ok")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_after_use():
    """The child of a process that used threads computes with threads of its own, and the parent goes on."""
    assert python(FORK) == "ok"


def test_many_python_threads_at_once():
    tg.set_num_threads(2)
    tg.manual_seed(2)
    a, b = tg.randn(200, 200), tg.randn(200, 200)
    want = (a @ b).tanh().numpy().tobytes()
    bad = []

    def work():
        for _ in range(20):
            if (a @ b).tanh().numpy().tobytes() != want:
                bad.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not bad


def test_changing_the_number_while_others_compute():
    tg.manual_seed(2)
    a = tg.randn(300, 300)
    want = (a @ a).numpy().tobytes()
    stop = threading.Event()
    bad = []

    def work():
        while not stop.is_set():
            if (a @ a).numpy().tobytes() != want:
                bad.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    for k in range(60):
        tg.set_num_threads(1 + k % 4)
        a.exp()
    stop.set()
    thread.join()
    assert not bad


def test_the_python_lock_is_released_by_large_ops():
    """Another Python thread gets to run during a long product."""
    a = tg.randn(1500, 1500)
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(1)
            stop.wait(0.001)

    thread = threading.Thread(target=tick)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)  # the other thread runs only if the lock is given up
    try:
        thread.start()
        before = len(ticks)
        for _ in range(3):
            a @ a
        during = len(ticks) - before
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        thread.join()
    assert during >= 3
    assert np.isfinite(a[0, 0].item())


def test_threads_as_context_and_decorator():
    tg.set_num_threads(3)
    with tg.threads(1):
        assert tg.get_num_threads() == 1
        with tg.threads(2):
            assert tg.get_num_threads() == 2
        assert tg.get_num_threads() == 1
    assert tg.get_num_threads() == 3

    @tg.threads(2)
    def number():
        return tg.get_num_threads()

    assert [number(), tg.get_num_threads(), number()] == [2, 3, 2]
    with pytest.raises(ZeroDivisionError), tg.threads(1):
        1 / 0  # noqa: B018
    assert tg.get_num_threads() == 3
    with pytest.raises(ValueError, match="1 to 1024"), tg.threads(0):
        pass
    assert tg.get_num_threads() == 3


def cgroup(root, lines, files):
    """A root folder with /proc/self/cgroup of these lines and these files under /sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("".join(f"{line}\n" for line in lines))
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return tg._core._cgroup_cpus(64, str(root))


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, 64),
        ({"a/b/cpu.max": "max 100000"}, 64),
        ({"a/b/cpu.max": "200000 100000"}, 2),
        ({"a/b/cpu.max": "150000 100000"}, 2),
        ({"a/b/cpu.max": "10000 100000"}, 1),
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3),
        ({"a/b/cpu.max": "400000 100000", "a/cpu.max": "300000 100000"}, 3),
        ({"cpu.max": "500000 100000"}, 5),
        ({"a/b/cpu.max": "99900000 100000"}, 64),
        ({"a/b/cpu.max": "nonsense"}, 64),
        ({"a/b/cpu.max": ""}, 64),
        ({"a/b/cpu.max": "100000 0"}, 64),
    ],
)
def test_quota_of_cgroup_v2(tmp_path, files, cpus):
    assert cgroup(tmp_path, ["0::/a/b"], files) == cpus


@pytest.mark.parametrize(
    ("quota", "period", "cpus"), [("-1", "100000", 64), ("250000", "100000", 3), ("50000", "100000", 1)]
)
def test_quota_of_cgroup_v1(tmp_path, quota, period, cpus):
    lines = ["5:memory:/m", "4:cpu,cpuacct:/job", "1:name=systemd:/"]
    files = {"cpu,cpuacct/job/cpu.cfs_quota_us": quota, "cpu,cpuacct/job/cpu.cfs_period_us": period}
    assert cgroup(tmp_path, lines, files) == cpus


def test_no_cgroups(tmp_path):
    assert tg._core._cgroup_cpus(7, str(tmp_path)) == 7


@pytest.mark.parametrize("first", ["tapegrad", "threadpoolctl"])
def test_threadpoolctl_lists_and_limits(first):
    pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    program = f"""
import {first}
import tapegrad as tg
import threadpoolctl
tg.set_num_threads(3)
own = [l for l in threadpoolctl.threadpool_info() if l["user_api"] == "tapegrad"]
assert [l["num_threads"] for l in own] == [3], threadpoolctl.threadpool_info()
assert own[0]["version"] == tg.__version__
with threadpoolctl.threadpool_limits(1):
    assert tg.get_num_threads() == 1
assert tg.get_num_threads() == 3
with threadpoolctl.threadpool_limits(2, user_api="tapegrad"):
    assert tg.get_num_threads() == 2
with threadpoolctl.threadpool_limits(1, user_api="blas"):
    assert tg.get_num_threads() == 3
print("ok")
"""
    assert python(program) == "ok"


def test_threadpoolctl_is_not_imported():
    program = "import sys, tapegrad; print('threadpoolctl' in sys.modules)"
    assert python(program) == "False"


@pytest.mark.skipif(sys.platform == "win32", reason="no getrusage")
def test_idle_workers_take_no_cpu():
    program = """
import resource, time, tapegrad as tg
tg.set_num_threads(4)
a = tg.randn(600, 600)
for _ in range(20):
    a @ a
    a.exp()
def cpu():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime
time.sleep(0.05)
before = cpu()
time.sleep(0.5)
print(cpu() - before)
"""
    assert float(python(program)) < 0.1  # one worker spinning: 0.5


FORK_IN_THREAD = """
import os, threading, tapegrad as tg
tg.set_num_threads(3)
a = tg.randn(300, 300)
want = (a @ a).exp().sum().item()
stop = threading.Event()
def work():
    while not stop.is_set():
        a @ a
background = threading.Thread(target=work)
background.start()
codes = []
for _ in range(10):
    pid = os.fork()
    if pid == 0:
        ok = (a @ a).exp().sum().item() == want and tg.get_num_threads() == 3
        os._exit(0 if ok else 7)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
stop.set()
background.join()
print(codes)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_while_another_thread_computes():
    assert python(FORK_IN_THREAD) == str([0] * 10)

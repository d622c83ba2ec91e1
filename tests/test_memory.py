"""The caching pool: its counters, its bound, and giving memory back."""

from __future__ import annotations

import sys
import threading

import pytest

import tapegrad as tg
from graphs import run_apart

KEYS = {"allocated_bytes", "peak_bytes", "cached_bytes", "allocations", "pool_hits"}


def stats(key: str) -> int:
    return tg.memory_stats()[key]


def test_stats_have_the_documented_keys():
    assert set(tg.memory_stats()) == KEYS
    assert all(type(v) is int and v >= 0 for v in tg.memory_stats().values())
    for key in KEYS:
        assert key in tg.memory_stats.__doc__


@pytest.mark.parametrize("n", [10, 10_000, 1_000_000, 3_000_000])
def test_allocated_follows_the_tensors(n):
    before = stats("allocated_bytes")
    x = tg.empty(n)
    assert before + 4 * n <= stats("allocated_bytes") <= before + 4 * n + 1024
    del x
    assert stats("allocated_bytes") == before


@pytest.mark.parametrize("n", [1000, 3_000_000])
def test_a_block_freed_is_used_again(n):
    tg.empty(n)
    hits, asked = stats("pool_hits"), stats("allocations")
    for _ in range(100):
        tg.empty(n)
    assert stats("allocations") - asked >= 100
    assert stats("allocations") - asked == stats("pool_hits") - hits


def test_peak_and_its_reset():
    tg.reset_peak_memory_stats()
    start = stats("peak_bytes")
    assert abs(start - stats("allocated_bytes")) <= 1 << 16
    x = tg.empty(5_000_000)
    del x
    assert stats("peak_bytes") >= start + 20_000_000
    tg.reset_peak_memory_stats()
    assert stats("peak_bytes") <= stats("allocated_bytes") + (1 << 16)


def test_empty_cache_gives_back_what_is_cached():
    tg.empty_cache()
    others = stats("cached_bytes")  # other threads' small blocks wait for those threads
    xs = [tg.empty(n) for n in (100, 10_000, 1_000_000, 3_000_000)]
    del xs
    assert stats("cached_bytes") >= 16_000_000
    tg.empty_cache()
    assert stats("cached_bytes") < others + (1 << 20)
    x = tg.ones(3_000_000)
    assert x.sum().item() == 3_000_000


def test_the_cache_is_bounded():
    """An eighth of the memory or 2 GiB: blocks are never written here, so none of it is real."""
    blocks = [tg.empty(16 << 20) for _ in range(40)]  # 64 MiB each
    del blocks
    assert stats("cached_bytes") <= (2 << 30) + (64 << 20)  # and the small blocks
    tg.empty_cache()


def test_a_thread_that_ends_leaves_nothing():
    before = stats("allocated_bytes")

    def work():
        for n in (10, 1000, 100_000):
            tg.ones(n) + 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert stats("allocated_bytes") == before


def test_a_training_step_takes_no_new_memory_after_the_first():
    model = tg.nn.Sequential(tg.nn.Linear(64, 128), tg.nn.ReLU(), tg.nn.Linear(128, 10))
    optimizer = tg.optim.Adam(model.parameters())
    x, y = tg.randn(256, 64), tg.randint(0, 10, (256,))

    def step():
        optimizer.zero_grad()
        tg.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    step(), step()
    allocated = stats("allocated_bytes")
    misses = stats("allocations") - stats("pool_hits")
    for _ in range(5):
        step()
    assert stats("allocated_bytes") == allocated
    assert stats("allocations") - stats("pool_hits") == misses


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_empty_cache_lowers_what_the_process_holds():
    program = """
import tapegrad as tg
def resident():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmRSS"))
x = tg.ones(25_000_000)
del x
full = resident()
tg.empty_cache()
assert full - resident() > 80_000, (full, resident())
"""
    run_apart(program)

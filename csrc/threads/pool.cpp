// Fork-join pool: one job at a time, tasks handed out by an atomic counter, workers that spin briefly and then sleep.
#include "threads/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "threads/cpus.h"

namespace tg {
namespace {

using Clock = std::chrono::steady_clock;
using Ns = std::chrono::nanoseconds;

// Measured on a virtual machine: handing a job to a spinning worker costs 0.7 us. A sleeping one costs the caller 13 us
// for the wake-up call, and arrives 20 us later.
constexpr int64_t kHelperNs = 4000;  // least work worth a helper
constexpr Ns kWake{50'000};          // work lost to sleeping workers, or to be gained, that is worth a wake-up
constexpr Ns kForget{200'000};       // a pause after which lost work no longer announces more
constexpr Clock::duration kMaxSpin = Ns{200'000}, kMinSpin = Ns{2'000};

// Sleep while *word == expected (may return early); wake up to `count` sleepers.
void futex_wait(std::atomic<uint32_t>& word, uint32_t expected) {
#ifdef __linux__
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
#else
  word.wait(expected);
#endif
}

void futex_wake(std::atomic<uint32_t>& word, int count) {
#ifdef __linux__
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
#else
  for (int i = 0; i < count; ++i) word.notify_one();
#endif
}

// One spin of a waiting loop. With more threads than cores the one waited for may need this very core.
inline void relax(bool oversubscribed) {
  if (oversubscribed) {
    sched_yield();
    return;
  }
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Constant-initialised and never destroyed: workers may sleep in it while the process exits.
//
// `state` holds [epoch:32][slots:16][active:16]. A job is open while slots > 0; a worker enters by moving one slot to
// active, and leaves by taking 1 from active. The caller closes the job (slots = 0) when no task is left to hand out
// and waits for active == 0: it never waits for workers that have not entered.
struct Pool {
  static constexpr uint64_t kActive = 1, kSlot = uint64_t{1} << 16, kEpoch = uint64_t{1} << 32;
  static uint32_t epoch(uint64_t s) { return static_cast<uint32_t>(s >> 32); }
  static uint32_t slots(uint64_t s) { return static_cast<uint32_t>(s >> 16) & 0xffff; }
  static uint32_t active(uint64_t s) { return static_cast<uint32_t>(s) & 0xffff; }

  alignas(64) std::atomic<uint64_t> state{0};
  // Thread i (the caller is 0) begins with share i, the same part of the range in every job, so that what one job
  // left in a core's cache is there for the next; when its own share is done it helps with the others.
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};  // first task not yet handed out
    int64_t end = 0;
  };
  Share shares[kMaxThreads];
  // The kernel's numbers of the first workers. A virtual machine's kernel takes its idle CPUs for busy ones and wakes a
  // worker on the caller's CPU, where the two stay together for milliseconds: wake() and wait_for_job() see to that.
  static constexpr int kMoved = 8;
  std::atomic<int> thread[kMoved + 1] = {};
  std::atomic<int> caller_cpu{-1};
  alignas(64) std::atomic<bool> busy{false};
  void (*fn)(void*, int64_t) = nullptr;  // the job; written under `busy` while closed, read by those who entered
  void* ctx = nullptr;
  int parts = 0;    // shares of this job
  int workers = 0;  // started; written under `busy`
  bool handlers_installed = false;
  Ns lost{0};  // run alone while workers slept; this and last_lost written under `busy`
  Clock::time_point last_lost{};
  std::atomic<bool> oversubscribed{false};
  alignas(64) std::atomic<uint32_t> sleepers{0};
  std::atomic<uint32_t> signal{0};  // futex of sleeping workers, bumped at every wake-up
  std::atomic<uint32_t> parked{0};  // futex of the caller: 1 while it sleeps

  bool open_to(uint64_t s, uint32_t last) const { return slots(s) > 0 && epoch(s) != last; }
  bool enter(uint32_t& last);
  void leave();
  void work(int id) noexcept;
  int choose_helpers(int64_t most, Ns work);
  void run(int64_t job_tasks, void (*job_fn)(void*, int64_t), void* job_ctx, int helpers);
  void wake(int wanted);
  void finish();
  void start_workers(int wanted);
  void worker_main(int id);
  void wait_for_job(uint32_t last, Clock::duration& budget);
  void sleep(uint32_t last);
};

constinit Pool g_pool;
constinit std::atomic<int> g_num_threads{0};  // 0: not set yet

bool Pool::enter(uint32_t& last) {
  uint64_t s = state.load(std::memory_order_acquire);
  while (open_to(s, last)) {
    if (state.compare_exchange_weak(s, s - kSlot + kActive, std::memory_order_acq_rel, std::memory_order_acquire)) {
      last = epoch(s);
      return true;
    }
  }
  return false;
}

void Pool::leave() {
  const uint64_t s = state.fetch_sub(kActive);
  if (active(s) == 1 && slots(s) == 0 && parked.load() == 1) {
    parked.store(0);
    futex_wake(parked, 1);
  }
}

void Pool::work(int id) noexcept {
  for (int k = 0; k < parts; ++k) {
    Share& share = shares[(id + k) % parts];
    if (share.next.load(std::memory_order_relaxed) >= share.end) continue;
    for (int64_t t; (t = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;) fn(ctx, t);
  }
}

// How many workers to hand a job of so much work to. Sleeping ones are woken for a large job, or once the small ones
// that follow one another closely would have paid for it.
int Pool::choose_helpers(int64_t most, Ns work) {
  const int wanted = static_cast<int>(std::min<int64_t>(most, work.count() / kHelperNs));
  const int awake = std::max(0, workers - static_cast<int>(sleepers.load(std::memory_order_relaxed)));
  if (wanted <= awake) return wanted;
  if (work < kWake) {
    const auto now = Clock::now();
    if (now - last_lost > kForget) lost = Ns{0};
    last_lost = now;
    lost += work;
    if (lost < kWake) return awake;
  }
  lost = Ns{0};
  start_workers(wanted);
  return std::min(wanted, workers);
}

void Pool::run(int64_t job_tasks, void (*job_fn)(void*, int64_t), void* job_ctx, int helpers) {
  fn = job_fn;
  ctx = job_ctx;
  parts = helpers + 1;
  const int64_t each = job_tasks / parts, more = job_tasks % parts;
  for (int64_t i = 0, begin = 0; i < parts; ++i) {
    shares[i].next.store(begin, std::memory_order_relaxed);
    shares[i].end = begin += each + (i < more);
  }
  // Closed and empty, so nobody else writes the state. Sequentially consistent against sleep(): either the worker sees
  // the open job, or the caller sees the sleeper.
  const uint64_t s = state.load(std::memory_order_relaxed);
  state.store((uint64_t{epoch(s)} << 32) + kEpoch + static_cast<uint64_t>(helpers) * kSlot);
  caller_cpu.store(current_cpu(), std::memory_order_relaxed);
  wake(helpers);
  work(0);
  finish();
}

void Pool::wake(int wanted) {
  const int asleep = static_cast<int>(sleepers.load());
  const int count = std::min(asleep, wanted - (workers - asleep));
  if (count <= 0) return;
  const int here = caller_cpu.load(std::memory_order_relaxed);
  std::optional<KeepOff> off[kMoved + 1];
  for (int id = 1; id <= std::min(workers, kMoved); ++id) {
    if (const int t = thread[id].load(std::memory_order_relaxed)) off[id].emplace(t, here);
  }
  signal.fetch_add(1);
  futex_wake(signal, count);
}

void Pool::finish() {
  uint64_t s = state.fetch_and(~(uint64_t{0xffff} << 16), std::memory_order_acq_rel);
  if (active(s) == 0) return;
  const bool crowded = oversubscribed.load(std::memory_order_relaxed);
  const auto deadline = Clock::now() + kMaxSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (active(state.load(std::memory_order_acquire)) == 0) return;
      relax(crowded);
    }
  } while (Clock::now() < deadline);
  for (;;) {
    parked.store(1);
    if (active(state.load()) == 0) break;
    futex_wait(parked, 1);
  }
  parked.store(0, std::memory_order_relaxed);
}

// The child of a fork has none of the workers; nothing of a job in flight survives.
void reset_in_child() {
  g_pool.state.store(0);
  g_pool.workers = 0;
  g_pool.sleepers.store(0);
  for (auto& t : g_pool.thread) t.store(0);
  g_pool.parked.store(0);
  g_pool.busy.store(false);
}

void Pool::start_workers(int wanted) {
  if (workers >= wanted) return;
  if (!handlers_installed) handlers_installed = pthread_atfork(nullptr, nullptr, reset_in_child) == 0;
  // Signals belong to the program's own threads.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  try {
    for (; workers < wanted; ++workers) std::thread([this, id = workers + 1] { worker_main(id); }).detach();
  } catch (const std::exception&) {  // no more threads, or no memory for one, to be had: work with those there are
    int n = wanted + 1;
    g_num_threads.compare_exchange_strong(n, workers + 1);
  }
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

void Pool::worker_main(int id) {
  uint32_t last = 0;
  Clock::duration budget = kMaxSpin;
  if (id <= kMoved) thread[id].store(current_thread(), std::memory_order_relaxed);
  for (;;) {
    if (enter(last)) {
      work(id);
      leave();
    } else {
      wait_for_job(last, budget);
    }
  }
}

// Spins for `budget`, then sleeps. Spinning pays only when jobs follow one another closely: a longer gap halves the
// budget, a shorter one restores it.
void Pool::wait_for_job(uint32_t last, Clock::duration& budget) {
  const auto start = Clock::now();
  const bool crowded = oversubscribed.load(std::memory_order_relaxed);
  if (!crowded && caller_cpu.load(std::memory_order_relaxed) == current_cpu()) KeepOff(0, current_cpu());
  do {
    for (int i = 0; i < 32; ++i) {
      if (open_to(state.load(std::memory_order_relaxed), last)) return;
      relax(crowded);
    }
  } while (Clock::now() - start < budget);
  sleep(last);
  budget = Clock::now() - start <= kMaxSpin + kWake ? kMaxSpin : std::max(budget / 2, kMinSpin);
}

void Pool::sleep(uint32_t last) {
  sleepers.fetch_add(1);
  const uint32_t seen = signal.load();
  if (!open_to(state.load(), last)) futex_wait(signal, seen);
  sleepers.fetch_sub(1);
}

// TAPEGRAD_NUM_THREADS, or 0 if it is unset or empty.
int threads_from_environment() {
  const char* text = std::getenv("TAPEGRAD_NUM_THREADS");
  if (text == nullptr || *text == '\0') return 0;
  char* end = nullptr;
  const long n = std::strtol(text, &end, 10);
  if (*end != '\0' || n < 1 || n > kMaxThreads) {
    throw std::invalid_argument("TAPEGRAD_NUM_THREADS must be an integer from 1 to " + std::to_string(kMaxThreads) +
                                ", got '" + text + "'");
  }
  return static_cast<int>(n);
}

}  // namespace

int available_threads() { return std::min(available_cpus(), kMaxThreads); }

void set_num_threads(int n) {
  if (n < 1 || n > kMaxThreads) {
    throw std::invalid_argument("set_num_threads: expected 1 to " + std::to_string(kMaxThreads) + " threads, got " +
                                std::to_string(n));
  }
  g_pool.oversubscribed.store(n > available_threads());
  g_num_threads.store(n);
}

int num_threads() {
  int n = g_num_threads.load(std::memory_order_relaxed);
  if (n > 0) return n;
  const int wanted = threads_from_environment();
  const int available = available_threads();
  if (g_num_threads.compare_exchange_strong(n, wanted > 0 ? wanted : available)) {
    g_pool.oversubscribed.store(wanted > available);
  }
  return g_num_threads.load();
}

void run_tasks(int64_t tasks, void (*fn)(void* ctx, int64_t task), void* ctx, double ns) {
  const int threads = tasks > 1 && ns >= kHelperNs ? num_threads() : 1;
  if (threads > 1 && !g_pool.busy.exchange(true, std::memory_order_acquire)) {
    const int64_t most = std::min<int64_t>(tasks, threads) - 1;
    const int helpers = g_pool.choose_helpers(most, Ns{static_cast<int64_t>(std::min(ns, 1e15))});
    if (helpers > 0) g_pool.run(tasks, fn, ctx, helpers);
    g_pool.busy.store(false, std::memory_order_release);
    if (helpers > 0) return;
  }
  [&]() noexcept {
    for (int64_t t = 0; t < tasks; ++t) fn(ctx, t);
  }();
}

}  // namespace tg

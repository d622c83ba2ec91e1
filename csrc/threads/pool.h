// The thread pool: the only place where tapegrad starts threads.
#pragma once
#include <cstdint>

namespace tg {

constexpr int kMaxThreads = 1024;

// Number of threads parallel work may use, the caller included. At first use: TAPEGRAD_NUM_THREADS
// (std::invalid_argument if that is not an integer from 1 to 1024), or else available_threads().
int num_threads();
void set_num_threads(int n);  // 1 <= n <= 1024, else std::invalid_argument; may exceed the number of cores
int available_threads();      // CPUs this process may use: affinity mask and cgroup quota

// Runs fn(ctx, task) for every task in [0, tasks) on the pool and the caller; returns when all are done. `ns` estimates
// how long one thread would take: from it follows how many threads help, so that no job is slower with than without.
// A nested call, or one made while another thread uses the pool, runs inline. fn must not throw (std::terminate).
void run_tasks(int64_t tasks, void (*fn)(void* ctx, int64_t task), void* ctx, double ns);

}  // namespace tg

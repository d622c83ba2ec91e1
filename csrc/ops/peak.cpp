// Peaks, each the best of several runs of a kernel on all threads.
#include "ops/peak.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "kernels/kernel_table.h"
#include "threads/parallel.h"

namespace tg {
namespace {

constexpr int64_t kSets[] = {32 << 10, 512 << 10, 2 << 20, 8 << 20, 48 << 20};  // bytes, of two arrays together
constexpr int64_t kMemory = kSets[4];
constexpr int64_t kLine = 64;

// body(thread) on every thread.
template <class F>
void on_threads(F&& body) {
  constexpr double kNs = 1e6;  // of one: long enough to wake the others
  parallel_for(
      num_threads(), 1,
      [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) body(t);
        ;
      },
      kNs);
}

// Seconds of the shortest of a few runs.
template <class F>
double shortest(F&& body) {
  double best = 1e9;
  for (int run = 0; run < 3; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    on_threads(body);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

// A few packed panels of A times one of B, which stays in the L1 cache. The memory holds zeros.
double product_rate(int dtype, char* memory) {
  constexpr double kFlops = 2.5e7;
  const GemmKernels& kernel = kernels().gemm[dtype - kFloat32];
  const int64_t item = dtype == kFloat32 ? 4 : 8;
  const int64_t k = 768 / item, m = 4 * kernel.mr, n = kernel.nr;
  const double flops = 2.0 * double(m) * double(n) * double(k);
  const auto calls = static_cast<int64_t>(kFlops / flops);
  const double seconds = shortest([&](int64_t thread) {
    GemmBlock g{};
    g.m = m, g.n = n, g.k = k, g.rows = kernel.mr;
    g.a = memory, g.ars = 1, g.acs = kernel.mr, g.a_panel = kernel.mr * k;
    g.b = memory + m * k * item, g.brs = n, g.b_panel = k * n, g.padded = true;
    g.c = memory + (m + n) * k * item + thread * m * n * item, g.crs = n, g.ccs = 1, g.accumulate = true;
    for (int64_t i = 0; i < calls; ++i) kernel.block(g);
  });
  return flops * double(calls) * num_threads() / seconds;
}

// a += b, each thread its part of the two arrays: of all the mixes of reading and writing the one that moves most,
// since what is written has just been read.
double stream_rate(int64_t bytes, char* memory) {
  constexpr int64_t kStep[2] = {1, 1}, kBytes = 8 << 20;
  const int64_t threads = num_threads(), part = std::max(bytes / 2 / threads / kLine, int64_t{1}) * kLine;
  const int64_t passes = std::max<int64_t>(1, kBytes / (3 * part * threads));
  const ElementwiseKernel kernel = kernels().add.forward[kFloat32];
  const double seconds = shortest([&](int64_t thread) {
    char* const at = memory + 2 * part * thread;
    const void* in[2] = {at, at + part};
    for (int64_t i = 0; i < passes; ++i) kernel(part / 4, at, in, kStep);
  });
  return 3.0 * double(part * passes * threads) / seconds;
}

}  // namespace

Peak measure_peak() {
  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  const std::unique_ptr<char, Free> memory(static_cast<char*>(std::aligned_alloc(kLine, kMemory)));
  if (!memory) throw std::bad_alloc();
  const int64_t part = kMemory / num_threads();
  on_threads([&](int64_t thread) { std::memset(memory.get() + thread * part, 0, static_cast<size_t>(part)); });
  Peak peak{0, 0, {}};
  for (const int64_t bytes : kSets) peak.bandwidths.push_back({double(bytes), 0});
  for (int round = 0; round < 2; ++round) {  // a thread that has just been started may share its CPU for a while
    peak.float32 = std::max(peak.float32, product_rate(kFloat32, memory.get()));
    peak.float64 = std::max(peak.float64, product_rate(kFloat64, memory.get()));
    for (Bandwidth& b : peak.bandwidths) {
      b.rate = std::max(b.rate, stream_rate(static_cast<int64_t>(b.bytes), memory.get()));
    }
  }
  return peak;
}

}  // namespace tg

// Loops over [0, n) cut into pieces and handed to the thread pool.
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "threads/pool.h"

namespace tg {

// What a piece of work should take at least, in ns: the hand-out costs less than a fifth of it.
constexpr double kChunkNs = 4000;

// Calls body(begin, end) for the chunks of `grain` of [0, n). The cut depends on n and grain alone, so a result built
// from chunks has the same bits for every number of threads. `ns` estimates the time one item takes; without it a chunk
// counts for kChunkNs. body must not throw; n <= grain runs in the caller.
template <class F>
void parallel_for(int64_t n, int64_t grain, F&& body, double ns = 0) {
  if (n <= 0) return;
  if (n <= grain) {
    body(int64_t{0}, n);
    return;
  }
  using Body = std::remove_reference_t<F>;
  struct Range {
    Body* body;
    int64_t n, grain;
  } range{&body, n, std::max<int64_t>(grain, 1)};
  run_tasks((n - 1) / range.grain + 1,
            [](void* ctx, int64_t task) {
              const Range& r = *static_cast<Range*>(ctx);
              const int64_t begin = task * r.grain;
              (*r.body)(begin, r.n - begin < r.grain ? r.n : begin + r.grain);
            },
            &range, static_cast<double>(n) * (ns > 0 ? ns : kChunkNs / static_cast<double>(range.grain)));
}

// The same where the result does not depend on the cut: as many pieces as there are threads, or a few times as many in
// a long loop, and none where they would not pay. All begin at multiples of `unit`.
template <class F>
void parallel_split(int64_t n, double ns, int64_t unit, F&& body) {
  const int64_t worth = static_cast<int64_t>(std::min(static_cast<double>(n) * ns / kChunkNs, 1e6));
  int64_t pieces = 1;
  if (worth > 1) {
    const int64_t threads = num_threads();
    pieces = std::clamp(worth / threads, int64_t{1}, int64_t{8}) * threads;
  }
  const int64_t units = (n + unit - 1) / unit;
  parallel_for(n, (units + pieces - 1) / pieces * unit, body, ns);
}

}  // namespace tg

// parallel_for: a loop over [0, n) cut into fixed chunks and handed to the thread pool.
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "threads/pool.h"

namespace tg {

// Calls body(begin, end) for the chunks of `grain` of [0, n). The cut depends on n and grain alone, so a result built
// from chunks has the same bits for every number of threads. body must not throw; n <= grain runs in the caller.
template <class F>
void parallel_for(int64_t n, int64_t grain, F&& body) {
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
            &range);
}

}  // namespace tg

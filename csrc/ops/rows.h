// Sharing the contiguous rows of a tensor's last dimension among the threads.
#pragma once
#include "kernels/kernel_table.h"
#include "tensor/tensor.h"
#include "threads/parallel.h"

namespace tg {

inline int float_index(const Tensor& t) { return static_cast<int>(t.dtype()) - kFloat32; }

// body(begin, end, n, byte offset of row `begin`)
template <class F>
void for_rows(const Tensor& t, F&& body) {
  const int64_t n = t.rank() ? t.shape().back() : 1;
  if (t.numel() == 0) return;
  parallel_for(t.numel() / n, std::max<int64_t>(1, 8192 / n),
               [&](int64_t b, int64_t e) { body(b, e, n, b * n * static_cast<int64_t>(itemsize(t.dtype()))); });
}

}  // namespace tg

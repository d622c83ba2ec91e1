// Products of a matrix with a vector: dot products with its rows, or a sum of its rows.
#pragma once
#include "kernels/kernel_table.h"
#include "kernels/vec.h"

namespace tg {
namespace {

// y[i] = dot(row i of A, x). Two accumulators a row, whatever the number of rows; long rows are summed in blocks.
template <class T, int rows>
TG_INLINE void gemm_dot_rows(int64_t k, const T* a, int64_t lda, const T* x, T* y) {
  using V = Vec<T>;
  constexpr int64_t block = 4096;
  for (int i = 0; i < rows; ++i) y[i] = T(0);
  for (int64_t begin = 0; begin < k; begin += block) {
    const int64_t end = k - begin < block ? k : begin + block;
    V acc[rows][2];
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i) acc[i][0] = acc[i][1] = V(T(0));
    int64_t p = begin;
    for (; p + 2 * V::size <= end; p += 2 * V::size) {
      const V x0 = V::load(x + p), x1 = V::load(x + p + V::size);
#pragma GCC unroll 4
      for (int i = 0; i < rows; ++i) {
        acc[i][0] = fma(V::load(a + i * lda + p), x0, acc[i][0]);
        acc[i][1] = fma(V::load(a + i * lda + p + V::size), x1, acc[i][1]);
      }
    }
    for (; p < end; p += V::size) {
      const int64_t n = end - p < V::size ? end - p : V::size;
      const V x0 = V::load_partial(x + p, n);
#pragma GCC unroll 4
      for (int i = 0; i < rows; ++i) acc[i][0] = fma(V::load_partial(a + i * lda + p, n), x0, acc[i][0]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i) y[i] += hsum(acc[i][0] + acc[i][1]);
  }
}
template <class T>
TG_INLINE void finish(T sum, T* y, bool accumulate, const T* bias) {
  const T value = accumulate ? *y + sum : sum;
  *y = bias ? value + *bias : value;
}
template <class T>
void gemm_dot(const GemvArgs& g) {
  for (int64_t i = 0; i < g.n;) {
    const T* row = (const T*)g.a + i * g.lda;
    T sum[4];
    const int64_t rows = g.n - i < 4 ? 1 : 4;
    if (rows == 4) {
      gemm_dot_rows<T, 4>(g.k, row, g.lda, (const T*)g.x, sum);
    } else {
      gemm_dot_rows<T, 1>(g.k, row, g.lda, (const T*)g.x, sum);
    }
    for (int64_t r = 0; r < rows; ++r, ++i) {
      finish(sum[r], (T*)g.y + i * g.incy, g.accumulate, g.bias ? (const T*)g.bias + i * g.incbias : nullptr);
    }
  }
}

// y += x[0] a[0, :] + x[1] a[1, :] + ... over n elements, the last vector whole.
template <class T, int rows>
TG_INLINE void gemm_add_rows(int64_t n, int64_t readable, const T* x, const T* a, int64_t lda, T* y) {
  using V = Vec<T>;
  V xv[rows];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) xv[r] = V(x[r]);
  int64_t j = 0;
  for (; j < n && readable - j >= V::size; j += V::size) {
    V sum = V::load(y + j);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) sum = fma(xv[r], V::load(a + r * lda + j), sum);
    sum.store(y + j);
  }
  if (j < n) {
    V sum = V::load(y + j);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) sum = fma(xv[r], V::load_partial(a + r * lda + j, readable - j), sum);
    sum.store(y + j);
  }
}
// The same chains of fma as a tile, read along the rows of A: memory is what limits a product with a vector.
template <class T>
void gemm_row(const GemvArgs& g) {
  constexpr int64_t width = 1024;
  constexpr int rows = 8;
  alignas(64) T y[width];
  const T* x = (const T*)g.x;
  for (int64_t j = 0; j < g.n; j += width) {
    const int64_t n = g.n - j < width ? g.n - j : width;
    for (int64_t i = 0; i < n + Vec<T>::size && i < width; ++i) y[i] = T(0);
    const T* a = (const T*)g.a + j;
    int64_t p = 0;
    for (; p + rows <= g.k; p += rows) gemm_add_rows<T, rows>(n, g.n - j, x + p, a + p * g.lda, g.lda, y);
    for (; p < g.k; ++p) gemm_add_rows<T, 1>(n, g.n - j, x + p, a + p * g.lda, g.lda, y);
    for (int64_t i = 0; i < n; ++i) {
      finish(y[i], (T*)g.y + (j + i) * g.incy, g.accumulate, g.bias ? (const T*)g.bias + (j + i) * g.incbias : nullptr);
    }
  }
}

}  // namespace
}  // namespace tg

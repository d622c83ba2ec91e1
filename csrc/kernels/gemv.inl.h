// Products of a matrix with a vector, or a few: dot products with its rows, or a sum of its rows.
#pragma once
#include "kernels/kernel_table.h"
#include "kernels/vec.h"

namespace tg {
namespace {

// y[i][r] = dot(row i of A, row r of X). Two accumulators for one vector x, whatever the number of rows; long rows are
// summed in blocks.
template <class T, int rows, int xs>
TG_INLINE void gemm_dot_tile(int64_t k, const T* a, int64_t lda, const T* x, int64_t ldx, T (&y)[rows][xs]) {
  using V = Vec<T>;
  constexpr int64_t block = 4096;
  constexpr int parts = xs == 1 ? 2 : 1, step = parts * V::size;
  for (int i = 0; i < rows; ++i) {
    for (int r = 0; r < xs; ++r) y[i][r] = T(0);
  }
  for (int64_t begin = 0; begin < k; begin += block) {
    const int64_t end = k - begin < block ? k : begin + block;
    V acc[rows][xs][parts];
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
      for (int r = 0; r < xs; ++r) {
        for (int h = 0; h < parts; ++h) acc[i][r][h] = V(T(0));
      }
    }
    int64_t p = begin;
    for (; p + step <= end; p += step) {
#pragma GCC unroll 2
      for (int h = 0; h < parts; ++h) {
        V xv[xs];
#pragma GCC unroll 4
        for (int r = 0; r < xs; ++r) xv[r] = V::load(x + r * ldx + p + h * V::size);
#pragma GCC unroll 4
        for (int i = 0; i < rows; ++i) {
          const V av = V::load(a + i * lda + p + h * V::size);
#pragma GCC unroll 4
          for (int r = 0; r < xs; ++r) acc[i][r][h] = fma(av, xv[r], acc[i][r][h]);
        }
      }
    }
    for (; p < end; p += V::size) {
      const int64_t n = end - p < V::size ? end - p : V::size;
#pragma GCC unroll 4
      for (int r = 0; r < xs; ++r) {
        const V xv = V::load_partial(x + r * ldx + p, n);
#pragma GCC unroll 4
        for (int i = 0; i < rows; ++i) acc[i][r][0] = fma(V::load_partial(a + i * lda + p, n), xv, acc[i][r][0]);
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
      for (int r = 0; r < xs; ++r) y[i][r] += hsum(parts == 2 ? acc[i][r][0] + acc[i][r][parts - 1] : acc[i][r][0]);
    }
  }
}
template <class T>
TG_INLINE void finish(T sum, T* y, bool accumulate, const T* bias) {
  const T value = accumulate ? *y + sum : sum;
  *y = bias ? value + *bias : value;
}
// Rows i ... of A with rows r ... of X.
template <class T, int rows, int xs>
TG_INLINE void gemm_dot_block(const GemvArgs& g, int64_t i, int64_t r) {
  T sum[rows][xs];
  gemm_dot_tile<T, rows, xs>(g.k, (const T*)g.a + i * g.lda, g.lda, (const T*)g.x + r * g.ldx, g.ldx, sum);
  for (int64_t q = 0; q < rows; ++q) {
    for (int64_t s = 0; s < xs; ++s) {
      const T* bias = g.bias ? (const T*)g.bias + (i + q) * g.incbias + (r + s) * g.ldbias : nullptr;
      finish(sum[q][s], (T*)g.y + (i + q) * g.incy + (r + s) * g.ldy, g.accumulate, bias);
    }
  }
}
template <class T, int xs>
TG_INLINE void gemm_dot_columns(const GemvArgs& g, int64_t i, int64_t rows, int64_t r) {
  if (rows == 4) return gemm_dot_block<T, 4, xs>(g, i, r);
  for (int64_t q = 0; q < rows; ++q) gemm_dot_block<T, 1, xs>(g, i + q, r);
}
template <class T>
void gemm_dot(const GemvArgs& g) {
  constexpr int xs = kVecBytes == 64 ? 4 : 2;  // at a time: as many sums as there are registers
  for (int64_t i = 0; i < g.n; i += 4) {
    const int64_t rows = g.n - i < 4 ? g.n - i : 4;
    int64_t r = 0;
    for (; g.m - r >= xs; r += xs) gemm_dot_columns<T, xs>(g, i, rows, r);
    for (; g.m - r >= 2; r += 2) gemm_dot_columns<T, 2>(g, i, rows, r);
    if (r < g.m) gemm_dot_columns<T, 1>(g, i, rows, r);
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

// Sums of squares: of rows, and of the differences between rows.
#pragma once
#include "kernels/kernel_table.h"
#include "kernels/vec.h"

namespace tg {
namespace {

// Squares are added up in double, so that none is too large or too small for float.
TG_INLINE void add_squares(Vec<double>* acc, Vec<float> x) {
  const auto low = widen_low(x), high = widen_high(x);
  acc[0] = fma(low, low, acc[0]);
  acc[1] = fma(high, high, acc[1]);
}
TG_INLINE void add_squares(Vec<double>* acc, Vec<double> x) { acc[0] = fma(x, x, acc[0]); }

template <class T>
void square_rows(int64_t rows, int64_t n, const void* x_, int64_t row_stride, void* out) {
  constexpr int64_t size = Vec<T>::size;
  for (int64_t r = 0; r < rows; ++r) {
    const T* x = static_cast<const T*>(x_) + r * row_stride;
    Vec<double> acc[8];
    for (auto& a : acc) a = Vec<double>(0.0);
    int64_t j = 0;
    for (; j + 4 * size <= n; j += 4 * size)
      for (int k = 0; k < 4; ++k) add_squares(acc + 2 * k, Vec<T>::load(x + j + k * size));
    for (; j < n; j += size) add_squares(acc, load_upto(x + j, n - j));
    static_cast<double*>(out)[r] =
        hsum(((acc[0] + acc[1]) + (acc[2] + acc[3])) + ((acc[4] + acc[5]) + (acc[6] + acc[7])));
  }
}

TG_INLINE float root(float x) { return __builtin_sqrtf(x); }
TG_INLINE double root(double x) { return __builtin_sqrt(x); }

constexpr int kPairRows = 4, kPairColumns = kVecBytes == 64 ? 4 : 2;  // whose sums fill the registers

// The distances between `rows` rows of m elements from a and `columns` rows from b, at most a tile of them.
template <class T>
TG_INLINE void distance_tile(int64_t rows, int64_t columns, int64_t m, const T* a, const T* b, T* out, int64_t ld) {
  using V = Vec<T>;
  constexpr int64_t chunk = 64 * V::size;   // summed in T; the chunks are in double
  const T *p[kPairRows], *q[kPairColumns];  // where rows are missing, the last once more
  for (int64_t i = 0; i < kPairRows; ++i) p[i] = a + (i < rows ? i : rows - 1) * m;
  for (int64_t j = 0; j < kPairColumns; ++j) q[j] = b + (j < columns ? j : columns - 1) * m;
  double total[kPairRows][kPairColumns] = {};
  for (int64_t first = 0; first < m; first += chunk) {
    const int64_t end = m - first < chunk ? m : first + chunk;
    V acc[kPairRows][kPairColumns];
    for (auto& row : acc)
      for (auto& sum : row) sum = V(T(0));
    for (int64_t k = first; k < end; k += V::size) {
      V x[kPairRows];
      for (int i = 0; i < kPairRows; ++i) x[i] = load_upto(p[i] + k, m - k);
      for (int j = 0; j < kPairColumns; ++j) {
        const V y = load_upto(q[j] + k, m - k);
        for (int i = 0; i < kPairRows; ++i) acc[i][j] = fma(x[i] - y, x[i] - y, acc[i][j]);
      }
    }
    for (int i = 0; i < kPairRows; ++i)
      for (int j = 0; j < kPairColumns; ++j) total[i][j] += double(hsum(acc[i][j]));
  }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) out[i * ld + j] = root(T(total[i][j]));
}

template <class T>
void distances(int64_t rows, int64_t columns, int64_t m, const void* a, const void* b, void* out, int64_t ld) {
  for (int64_t j = 0; j < columns; j += kPairColumns)
    for (int64_t i = 0; i < rows; i += kPairRows)
      distance_tile(rows - i < kPairRows ? rows - i : kPairRows,
                    columns - j < kPairColumns ? columns - j : kPairColumns, m, static_cast<const T*>(a) + i * m,
                    static_cast<const T*>(b) + j * m, static_cast<T*>(out) + i * ld + j, ld);
}

constexpr SquareKernels kSquares = {{square_rows<float>, square_rows<double>}, {distances<float>, distances<double>}};

}  // namespace
}  // namespace tg

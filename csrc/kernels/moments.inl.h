// Mean and variance of rows and columns.
#pragma once
#include "kernels/kernel_table.h"
#include "kernels/reduce.inl.h"
#include "kernels/vec.h"

namespace tg {
namespace {

// The sum of squared deviations from the mean; rounding must not take it below 0 (nan stays).
TG_INLINE double about_mean(double squares, double total, double n) {
  const double about = squares - total * total / n;
  return about < 0 ? 0 : about;
}

// Two passes over a row that stays in the cache; the deviations are from `center`, near the mean, and corrected for it.
template <class T>
TG_INLINE Moments block_moments(const T* x, int64_t n) {
  using V = Vec<T>;
  constexpr int64_t size = V::size;
  const T center = T(RowSum<T>::fold_wide(reduce_row<RowSum<T>>(x, n)) / double(n));
  const V c(center);
  auto sum = RowSum<T>::start(V(T(0))), squares = sum;
  int64_t j = 0;
  for (; j + 4 * size <= n; j += 4 * size) {
    const V d0 = V::load(x + j) - c, d1 = V::load(x + j + size) - c;
    const V d2 = V::load(x + j + 2 * size) - c, d3 = V::load(x + j + 3 * size) - c;
    RowSum<T>::add(sum, (d0 + d1) + (d2 + d3));
    RowSum<T>::add(squares, fma(d0, d0, d1 * d1) + fma(d2, d2, d3 * d3));
  }
  for (; j < n; j += size) {
    const V d = (n - j < size ? load_tail(x, n, n - j, center) : V::load(x + j)) - c;
    RowSum<T>::add(sum, d);
    RowSum<T>::add(squares, d * d);
  }
  const double total = RowSum<T>::fold_wide(sum);
  return {double(center) + total / double(n), about_mean(RowSum<T>::fold_wide(squares), total, double(n))};
}

template <class T>
TG_INLINE Moments row_moments(const T* x, int64_t n) {
  constexpr int64_t block = 4096;
  Moments all = block_moments(x, n < block ? n : block);
  for (int64_t j = block; j < n; j += block) {
    const int64_t left = n - j < block ? n - j : block;
    merge_moments(all, double(j), block_moments(x + j, left), double(left));
  }
  return all;
}

template <class T>
void moment_rows(int64_t rows, int64_t n, const void* x, int64_t row_stride, void* out) {
  for (int64_t r = 0; r < rows; ++r)
    static_cast<Moments*>(out)[r] = row_moments(static_cast<const T*>(x) + r * row_stride, n);
}

// Blocks of rows of a tile of columns, as above; the last vector of a tile may be partial.
template <class T>
void moment_cols(int64_t n, int64_t cols, const void* x_, int64_t ld, void* out_) {
  using V = Vec<T>;
  constexpr int64_t size = V::size, tile = 16 * size, block = 64;
  T center[tile], sums[tile], squared[tile];
  for (int64_t first = 0; first < cols; first += tile) {
    const int64_t width = cols - first < tile ? cols - first : tile;
    Moments* out = static_cast<Moments*>(out_) + first;
    for (int64_t begin = 0; begin < n; begin += block) {
      const int64_t rows = n - begin < block ? n - begin : block;
      const T* x = static_cast<const T*>(x_) + begin * ld + first;
      reduce_cols<RowSum<T>>(rows, width, x, ld, center);
      for (int64_t j = 0; j < width; j += size) {
        const int64_t left = width - j;
        const V c = load_upto(center + j, left) * V(T(1) / T(rows));
        auto sum = RowSum<T>::start(V(T(0))), squares = sum;
        int64_t i = 0;
        const auto deviation = [=](int64_t row) { return load_upto(x + row * ld + j, left) - c; };
        for (; i + 4 <= rows; i += 4) {
          const V d0 = deviation(i), d1 = deviation(i + 1), d2 = deviation(i + 2), d3 = deviation(i + 3);
          RowSum<T>::add(sum, (d0 + d1) + (d2 + d3));
          RowSum<T>::add(squares, fma(d0, d0, d1 * d1) + fma(d2, d2, d3 * d3));
        }
        for (; i < rows; ++i) {
          const V d = deviation(i);
          RowSum<T>::add(sum, d);
          RowSum<T>::add(squares, d * d);
        }
        store_upto(center + j, left, c);
        store_upto(sums + j, left, RowSum<T>::lanes(sum));
        store_upto(squared + j, left, RowSum<T>::lanes(squares));
      }
      const double count = double(rows), one = 1 / count;
      for (int64_t j = 0; j < width; ++j) {
        const double total = double(sums[j]);
        const Moments part = {double(center[j]) + total * one, about_mean(double(squared[j]), total, count)};
        if (begin == 0) {
          out[j] = part;
        } else {
          merge_moments(out[j], double(begin), part, count);
        }
      }
    }
  }
}

constexpr ReduceKernels kMoments = {{nullptr, nullptr, nullptr, nullptr, moment_rows<float>, moment_rows<double>},
                                    {nullptr, nullptr, nullptr, nullptr, moment_cols<float>, moment_cols<double>}};

}  // namespace
}  // namespace tg

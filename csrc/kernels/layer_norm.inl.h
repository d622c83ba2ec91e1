// layer_norm over contiguous rows, forward and backward. Rows stay in the cache from one pass to the next.
#pragma once
#include "kernels/kernel_table.h"
#include "kernels/reduce.inl.h"
#include "kernels/vec.h"

namespace tg {
namespace {

template <class T>
struct TwoTerms {
  Vec<T> a, b;
  TG_INLINE friend TwoTerms operator+(TwoTerms x, TwoTerms y) { return {x.a + y.a, x.b + y.b}; }
};
struct TwoSums {
  double a, b;
};
// The sums of term(j, elements left from j on) over the vectors of a row.
template <class T, class F>
TG_INLINE TwoSums sum_terms(int64_t n, F term) {
  constexpr int64_t size = Vec<T>::size;
  auto a = RowSum<T>::start(Vec<T>(T(0))), b = a;
  const auto add = [&](TwoTerms<T> t) {
    RowSum<T>::add(a, t.a);
    RowSum<T>::add(b, t.b);
  };
  int64_t j = 0;
  for (; j + 4 * size <= n; j += 4 * size)
    add((term(j, size) + term(j + size, size)) + (term(j + 2 * size, size) + term(j + 3 * size, size)));
  for (; j < n; j += size) add(term(j, n - j));
  return {RowSum<T>::fold_wide(a), RowSum<T>::fold_wide(b)};
}

// (x - mean) * rstd. The mean comes in two parts, so that a row far from zero loses nothing.
template <class T>
struct Normalize {
  using V = Vec<T>;
  V high, low, rstd;
  TG_INLINE explicit Normalize(const double* stats) : high(T(stats[0])), low(T(stats[1])), rstd(T(stats[2])) {}
  TG_INLINE V operator()(V x) const { return ((x - high) - low) * rstd; }
};

// A vector of weights or biases, `missing` where there are none.
template <class T>
TG_INLINE Vec<T> load_or(const T* p, int64_t j, int64_t left, T missing) {
  return p ? load_upto(p + j, left) : Vec<T>(missing);
}

// The second pass corrects the mean by the deviations from its first value.
template <class T>
TG_INLINE void row_stats(const T* x, int64_t n, double eps, double* stats) {
  using V = Vec<T>;
  const T first = T(RowSum<T>::fold_wide(reduce_row<RowSum<T>>(x, n)) / double(n));
  const TwoSums s = sum_terms<T>(n, [=](int64_t j, int64_t left) {
    const V d = load_upto(x + j, left, first) - V(first);
    return TwoTerms<T>{d, d * d};
  });
  const double correction = s.a / double(n);
  stats[0] = double(first);
  stats[1] = correction;
  stats[2] = 1 / __builtin_sqrt((s.b - s.a * correction) / double(n) + eps);
}

template <class T>
void layer_norm_rows(int64_t rows, int64_t n, const void* x_, const void* weight_, const void* bias_, double eps,
                     void* y_, double* stats) {
  using V = Vec<T>;
  const T *weight = static_cast<const T*>(weight_), *bias = static_cast<const T*>(bias_);
  for (int64_t r = 0; r < rows; ++r) {
    const T* x = static_cast<const T*>(x_) + r * n;
    T* y = static_cast<T*>(y_) + r * n;
    row_stats(x, n, eps, stats + kLayerNormStats * r);
    const Normalize<T> normalize(stats + kLayerNormStats * r);
    for (int64_t j = 0; j < n; j += V::size) {
      const int64_t left = n - j;
      const V w = load_or(weight, j, left, T(1)), b = load_or(bias, j, left, T(0));
      store_upto(y + j, left, fma(normalize(load_upto(x + j, left)), w, b));
    }
  }
}

// dx = rstd * (h - mean(h) - xhat * mean(h * xhat)), h = g * weight, xhat = (x - mean) * rstd.
template <class T>
TG_INLINE void row_dx(int64_t n, const T* g, const T* x, const T* weight, const Normalize<T>& normalize, T* dx) {
  using V = Vec<T>;
  const auto weighted = [=](int64_t j, int64_t left) {
    return load_upto(g + j, left) * load_or(weight, j, left, T(1));
  };
  const TwoSums s = sum_terms<T>(n, [=](int64_t j, int64_t left) {
    const V h = weighted(j, left);
    return TwoTerms<T>{h, h * normalize(load_upto(x + j, left))};
  });
  const V mean(T(s.a / double(n))), slope(T(s.b / double(n)));
  for (int64_t j = 0; j < n; j += V::size) {
    const int64_t left = n - j;
    const V xhat = normalize(load_upto(x + j, left));
    store_upto(dx + j, left, (weighted(j, left) - mean - xhat * slope) * normalize.rstd);
  }
}

template <class T>
void layer_norm_backward_rows(const LayerNormBackward& a) {
  using V = Vec<T>;
  const int64_t n = a.n;
  T* columns = static_cast<T*>(a.columns);
  for (int64_t r = 0; r < a.rows; ++r) {
    const T *g = static_cast<const T*>(a.g) + r * n, *x = static_cast<const T*>(a.x) + r * n;
    const Normalize<T> normalize(a.stats + kLayerNormStats * r);
    if (a.dx) row_dx(n, g, x, static_cast<const T*>(a.weight), normalize, static_cast<T*>(a.dx) + r * n);
    if (!columns) continue;
    for (int64_t j = 0; j < n; j += V::size) {
      const int64_t left = n - j;
      const V gj = load_upto(g + j, left), xhat = normalize(load_upto(x + j, left)), zero(T(0));
      store_upto(columns + j, left, fma(gj, xhat, r ? load_upto(columns + j, left) : zero));
      store_upto(columns + n + j, left, gj + (r ? load_upto(columns + n + j, left) : zero));
    }
  }
}

constexpr LayerNormKernels kLayerNorm = {{layer_norm_rows<float>, layer_norm_rows<double>},
                                         {layer_norm_backward_rows<float>, layer_norm_backward_rows<double>}};

}  // namespace
}  // namespace tg

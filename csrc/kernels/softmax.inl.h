// softmax, log_softmax and cross-entropy over contiguous rows, forward and backward.
#pragma once
#include "kernels/kernel_table.h"
#include "kernels/math.inl.h"
#include "kernels/reduce.inl.h"
#include "kernels/vec.h"

namespace tg {
namespace {

// exp for x <= 0, with 0 for what would be no normal number (below 2e-38 or 4e-308): subnormal results cost over a
// hundred cycles, and x = -inf, of masked entries and of missing lanes, is common.
template <class T>
TG_INLINE Vec<T> exp_or_zero(Vec<T> x) {
  const Vec<T> lowest(sizeof(T) == 4 ? T(-87) : T(-708));
  return select(x < lowest, Vec<T>(T(0)), exp(max(lowest, x)));  // in this order nan passes
}

// Right where no element is nan; where one is, the sum of exponentials becomes nan anyway.
template <class T>
TG_INLINE T row_max(const T* x, int64_t n) {
  using V = Vec<T>;
  constexpr int64_t size = V::size;
  V best(x[0]);
  int64_t j = 0;
  for (; j + 4 * size <= n; j += 4 * size)
    best = max(best, max(max(V::load(x + j), V::load(x + j + size)),
                         max(V::load(x + j + 2 * size), V::load(x + j + 3 * size))));
  for (; j < n; j += size) best = max(best, load_upto(x + j, n - j, x[0]));
  return hmax(best);
}

// The maximum of a row and the sum of exp(x - max), which is at least 1.
template <class T>
struct RowExps {
  T max;
  double sum;
};
// Where `terms` is not null the exponentials go there, in whole vectors while there is room.
template <class T>
TG_NOINLINE RowExps<T> row_exps(const T* x, int64_t n, T* terms, int64_t room) {
  using V = Vec<T>;
  const T shift = row_max(x, n);
  auto acc = RowSum<T>::start(V(T(0)));
  for (int64_t j = 0; j < n; j += V::size) {
    const V e = exp_or_zero(load_upto(x + j, n - j, -MathConstants<T>::inf) - V(shift));
    if (terms) store_upto(terms + j, room - j, e);
    RowSum<T>::add(acc, e);
  }
  return {shift, RowSum<T>::fold_wide(acc)};
}

template <class T>
void softmax_rows(int64_t rows, int64_t n, const void* x, void* y_) {
  using V = Vec<T>;
  constexpr int64_t buffered = 512;
  T buffer[buffered];
  for (int64_t r = 0; r < rows; ++r) {
    T* y = static_cast<T*>(y_) + r * n;
    T* terms = n <= buffered ? buffer : y;
    const auto exps = row_exps(static_cast<const T*>(x) + r * n, n, terms, n <= buffered ? buffered : n);
    const V scale(T(1 / exps.sum));
    for (int64_t j = 0; j < n; j += V::size) {
      const int64_t left = n - j;
      store_upto(y + j, left, load_upto(terms + j, terms == y ? left : V::size) * scale);
    }
  }
}

// Maxima and logarithms of the sums of exponentials for a few rows at once, so that the logarithms fill vectors.
constexpr int64_t kLogBatch = 16;
template <class T>
struct LogSums {
  T max[kLogBatch];
  double log_sum[kLogBatch];
};
template <class T>
TG_NOINLINE void log_sums(int64_t rows, int64_t n, const T* x, LogSums<T>& out) {
  for (int64_t r = 0; r < kLogBatch; ++r) out.log_sum[r] = 1;
  for (int64_t r = 0; r < rows; ++r) {
    const auto exps = row_exps<T>(x + r * n, n, nullptr, 0);
    out.max[r] = exps.max;
    out.log_sum[r] = exps.sum;
  }
  for (int64_t r = 0; r < rows; r += Vec<double>::size) log(Vec<double>::load(out.log_sum + r)).store(out.log_sum + r);
}
// f(first row, rows, sums) for batches of rows that stay in the cache.
template <class T, class F>
TG_INLINE void by_log_sums(int64_t rows, int64_t n, const T* x, F f) {
  const int64_t batch = n <= 1024 ? kLogBatch : 1;
  LogSums<T> sums;
  for (int64_t first = 0; first < rows; first += batch) {
    const int64_t count = rows - first < batch ? rows - first : batch;
    log_sums(count, n, x + first * n, sums);
    for (int64_t r = 0; r < count; ++r) f(first + r, sums.max[r], sums.log_sum[r]);
  }
}

template <class T>
void log_softmax_rows(int64_t rows, int64_t n, const void* x_, void* y) {
  using V = Vec<T>;
  const T* x = static_cast<const T*>(x_);
  by_log_sums(rows, n, x, [=](int64_t r, T max, double log_sum) {
    for (int64_t j = 0; j < n; j += V::size) {
      const V shifted = load_upto(x + r * n + j, n - j) - V(max);
      store_upto(static_cast<T*>(y) + r * n + j, n - j, shifted - V(T(log_sum)));
    }
  });
}

template <class T>
void softmax_backward_rows(int64_t rows, int64_t n, const void* g_, const void* y_, void* out_) {
  using V = Vec<T>;
  for (int64_t r = 0; r < rows; ++r) {
    const T *g = static_cast<const T*>(g_) + r * n, *y = static_cast<const T*>(y_) + r * n;
    auto acc = RowSum<T>::start(V(T(0)));
    for (int64_t j = 0; j < n; j += V::size) RowSum<T>::add(acc, load_upto(g + j, n - j) * load_upto(y + j, n - j));
    const V dot(RowSum<T>::fold(acc));
    for (int64_t j = 0; j < n; j += V::size)
      store_upto(static_cast<T*>(out_) + r * n + j, n - j, load_upto(y + j, n - j) * (load_upto(g + j, n - j) - dot));
  }
}

template <class T>
void log_softmax_backward_rows(int64_t rows, int64_t n, const void* g_, const void* y_, void* out_) {
  using V = Vec<T>;
  for (int64_t r = 0; r < rows; ++r) {
    const T *g = static_cast<const T*>(g_) + r * n, *y = static_cast<const T*>(y_) + r * n;
    const V sum(RowSum<T>::fold(reduce_row<RowSum<T>>(g, n)));
    for (int64_t j = 0; j < n; j += V::size)
      store_upto(static_cast<T*>(out_) + r * n + j, n - j,
                 fma(-exp_or_zero(load_upto(y + j, n - j)), sum, load_upto(g + j, n - j)));
  }
}

// The loss is log_sum + (max - x[target]) in double: exact to the last place of log_sum where the target has the
// maximum.
template <class T>
void cross_entropy_rows(int64_t rows, int64_t n, const void* x_, const int64_t* target, void* loss, void* stats) {
  const T* x = static_cast<const T*>(x_);
  by_log_sums(rows, n, x, [=](int64_t r, T max, double log_sum) {
    static_cast<T*>(loss)[r] = T(log_sum + (double(max) - double(x[r * n + target[r]])));
    static_cast<T*>(stats)[2 * r] = max;
    static_cast<T*>(stats)[2 * r + 1] = T(log_sum);
  });
}

template <class T>
void cross_entropy_backward_rows(int64_t rows, int64_t n, const void* x_, const int64_t* target, const void* stats,
                                 const void* scale_, int64_t scale_step, void* out) {
  using V = Vec<T>;
  const V lane = V::load(kIota<T>.value);
  for (int64_t r = 0; r < rows; ++r) {
    const T* x = static_cast<const T*>(x_) + r * n;
    const V max(static_cast<const T*>(stats)[2 * r]), log_sum(static_cast<const T*>(stats)[2 * r + 1]);
    const V scale(static_cast<const T*>(scale_)[r * scale_step]);
    for (int64_t j = 0; j < n; j += V::size) {
      const V p = exp_or_zero(load_upto(x + j, n - j) - max - log_sum);
      const V expected = select(lane == V(T(target[r] - j)), V(T(1)), V(T(0)));
      store_upto(static_cast<T*>(out) + r * n + j, n - j, (p - expected) * scale);
    }
  }
}

constexpr SoftmaxKernels kSoftmax = {{softmax_rows<float>, softmax_rows<double>},
                                     {log_softmax_rows<float>, log_softmax_rows<double>},
                                     {softmax_backward_rows<float>, softmax_backward_rows<double>},
                                     {log_softmax_backward_rows<float>, log_softmax_backward_rows<double>},
                                     {cross_entropy_rows<float>, cross_entropy_rows<double>},
                                     {cross_entropy_backward_rows<float>, cross_entropy_backward_rows<double>}};

}  // namespace
}  // namespace tg

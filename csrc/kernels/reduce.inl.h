// Reductions over contiguous rows or over columns: sum, max, min, argmax, argmin.
#pragma once
#include "kernels/kernel_table.h"
#include "kernels/vec.h"

// In a short loop over j: keeps the compiler from vectorizing or unrolling it.
#define TG_SHORT_LOOP(j) asm volatile("" : "+r"(j))
// One copy of a function, called from everywhere.
#if defined(__clang__)
#define TG_NOINLINE __attribute__((noinline))
#else
#define TG_NOINLINE __attribute__((noinline, noclone))
#endif

namespace tg {
namespace {

// How two values become one. `apply` takes raw vectors of any width, or scalars, with lanes of type Work<T>; `pad` is
// what a reduction that meets `first` may start from; `fold` joins all lanes.
struct JoinSum {
  template <class T>
  using Work = typename Lane<T>::Arith;  // integers wrap
  template <class R>
  TG_INLINE static R apply(R a, R b) {
    return a + b;
  }
  template <class V>
  TG_INLINE static V pad(V) {
    return V(0);
  }
  template <class T>
  TG_INLINE static T fold(Vec<T> x) {
    return hsum(x);
  }
};
// nan beats everything, from either side; `fold` finds it by a sum, which is nan where one of its terms is.
struct JoinExtreme {
  template <class T>
  using Work = T;
  template <class V>
  TG_INLINE static V pad(V first) {
    return first;
  }
};
struct JoinMax : JoinExtreme {
  template <class R>
  TG_INLINE static R apply(R a, R b) {
    return a > b ? a : (a != a ? a : b);
  }
  template <class T>
  TG_INLINE static T fold(Vec<T> x) {
    return any(x != x) ? hsum(x) : hmax(x);
  }
  template <class V>
  TG_INLINE static auto better(V a, V b) {
    return (a > b) | ((a != a) & (b == b));
  }
};
struct JoinMin : JoinExtreme {
  template <class R>
  TG_INLINE static R apply(R a, R b) {
    return a < b ? a : (a != a ? a : b);
  }
  template <class T>
  TG_INLINE static T fold(Vec<T> x) {
    return any(x != x) ? hsum(x) : hmin(x);
  }
  template <class V>
  TG_INLINE static auto better(V a, V b) {
    return (a < b) | ((a != a) & (b == b));
  }
};

template <class Join, class T>
TG_INLINE Vec<T> joined(Vec<T> a, Vec<T> b) {
  using R = typename RawVec<typename Join::template Work<T>>::type;
  return (typename Vec<T>::raw)Join::apply((R)a.v, (R)b.v);
}
// Four or eight vectors, `step` elements apart, joined as a tree.
template <class Join, class T>
TG_INLINE Vec<T> join4(const T* x, int64_t step) {
  return joined<Join>(joined<Join>(Vec<T>::load(x), Vec<T>::load(x + step)),
                      joined<Join>(Vec<T>::load(x + 2 * step), Vec<T>::load(x + 3 * step)));
}
template <class Join, class T>
TG_INLINE Vec<T> join8(const T* x, int64_t step) {
  return joined<Join>(join4<Join>(x, step), join4<Join>(x + 4 * step, step));
}

// A reduction policy: an accumulator Acc for one vector of lanes, into which vectors go by `start` and `add`; `lanes`
// gives the result lane by lane, `fold` across the lanes. Groups of 4 or 8 vectors are joined before they are added.
template <class Element, class Join_>
struct Plain {
  using T = Element;
  using Join = Join_;
  using Acc = Vec<T>;
  TG_INLINE static Acc start(Vec<T> v) { return v; }
  TG_INLINE static void add(Acc& acc, Vec<T> v) { acc = joined<Join>(acc, v); }
  TG_INLINE static Vec<T> lanes(const Acc& acc) { return acc; }
  TG_INLINE static T fold(const Acc& acc) { return Join::fold(acc); }
};

// Groups are added in float, which costs at most three roundings (2^-24 of the sum of magnitudes each), then in double.
struct SumFloat {
  using T = float;
  using Join = JoinSum;
  struct Acc {
    Vec<double> low, high;
  };
  TG_INLINE static Acc start(Vec<T> v) { return {widen_low(v), widen_high(v)}; }
  TG_INLINE static void add(Acc& acc, Vec<T> v) {
    acc.low += widen_low(v);
    acc.high += widen_high(v);
  }
  TG_INLINE static Vec<T> lanes(const Acc& acc) { return narrow(acc.low, acc.high); }
  TG_INLINE static double fold_wide(const Acc& acc) { return hsum(acc.low + acc.high); }
  TG_INLINE static T fold(const Acc& acc) { return T(fold_wide(acc)); }
};

// Groups are added by Knuth's TwoSum, whose rounding errors are summed apart; these turn nan once a sum is infinite.
struct SumDouble {
  using T = double;
  using Join = JoinSum;
  struct Acc {
    Vec<T> sum, error;
  };
  TG_INLINE static Acc start(Vec<T> v) { return {v, Vec<T>(0.0)}; }
  TG_INLINE static void add(Acc& acc, Vec<T> v) {
    const Vec<T> sum = acc.sum + v, gained = sum - acc.sum;
    acc.error += (acc.sum - (sum - gained)) + (v - gained);
    acc.sum = sum;
  }
  TG_INLINE static Vec<T> lanes(const Acc& acc) {
    const Vec<T> total = acc.sum + acc.error;
    return select(total == total, total, acc.sum);
  }
  TG_INLINE static double fold_wide(const Acc& acc) { return hsum(lanes(acc)); }
  TG_INLINE static T fold(const Acc& acc) { return fold_wide(acc); }
};

template <class T>
struct RowSum;  // by dtype
template <>
struct RowSum<float> : SumFloat {};
template <>
struct RowSum<double> : SumDouble {};

template <class P>
TG_INLINE typename P::Acc reduce_row(const typename P::T* x, int64_t n) {
  using V = Vec<typename P::T>;
  constexpr int64_t size = V::size;
  const auto pad = P::Join::pad(x[0]);
  auto acc = P::start(V(pad));
  int64_t j = 0;
  for (; j + 4 * size <= n; j += 4 * size) P::add(acc, join4<typename P::Join>(x + j, size));
  for (; j + size <= n; j += size) P::add(acc, V::load(x + j));
  if (j < n) P::add(acc, load_tail(x, n, n - j, pad));
  return acc;
}

template <class P>
TG_NOINLINE void reduce_rows(int64_t rows, int64_t n, const void* x, int64_t row_stride, void* out) {
  using T = typename P::T;
  for (int64_t r = 0; r < rows; ++r)
    static_cast<T*>(out)[r] = P::fold(reduce_row<P>(static_cast<const T*>(x) + r * row_stride, n));
}

// Streams pieces of rows, eight at a time, one tile of columns after the other, with the tile's accumulators in a local
// buffer. The last vector of a tile overlaps its neighbour where the columns do not fill it; rows shorter than a vector
// are first copied.
template <class P>
void reduce_tiles(int64_t n, int64_t cols, const void* x_, int64_t ld, void* out_) {
  using T = typename P::T;
  using V = Vec<T>;
  using Join = typename P::Join;
  constexpr int64_t size = V::size, tile = 64 * size;
  typename P::Acc acc[tile / size];
  T copy[8 * size];
  T* out = static_cast<T*>(out_);
  const bool narrow = cols < size;
  for (int64_t first = 0; first < cols; first += tile) {
    const int64_t begin = narrow || first + size <= cols ? first : cols - size;
    const int64_t width = cols - begin < tile ? cols - begin : tile, vectors = (width + size - 1) / size;
    const auto column = [=](int64_t k) { return narrow || k + 1 < vectors ? k * size : width - size; };
    const T* top = static_cast<const T*>(x_) + begin;
    for (int64_t k = 0; k < vectors; ++k)
      acc[k] = P::start(Join::pad(narrow ? V::load_partial(top, cols) : V::load(top + column(k))));
    for (int64_t i = 0; i < n; i += 8) {
      const T* x = top + i * ld;
      const int64_t rows = n - i < 8 ? n - i : 8;
      int64_t step = ld;
      if (narrow) {
        for (int64_t r = 0; r < rows; ++r) V::load_partial(x + r * ld, cols).store(copy + r * size);
        x = copy;
        step = size;
      }
      if (rows == 8)
        for (int64_t k = 0; k < vectors; ++k) P::add(acc[k], join8<Join>(x + column(k), step));
      else
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t k = 0; k < vectors; ++k) P::add(acc[k], V::load(x + r * step + column(k)));
    }
    for (int64_t k = 0; k < vectors; ++k)
      narrow ? P::lanes(acc[k]).store_partial(out, cols) : P::lanes(acc[k]).store(out + begin + column(k));
  }
}

// Many rows shorter than a vector and without gaps are taken as fewer rows of whole vectors, whose lanes are joined
// last.
template <class P>
void reduce_cols(int64_t n, int64_t cols, const void* x, int64_t ld, void* out) {
  using T = typename P::T;
  constexpr int64_t size = Vec<T>::size;
  if (cols >= size || ld != cols || n < 4 * size) return reduce_tiles<P>(n, cols, x, ld, out);
  T last[2 * size * size];
  const int64_t wide = size * cols, rest = n % size * cols;
  reduce_tiles<P>(n / size, wide, x, wide, last);
  for (int64_t j = 0; j < rest; ++j) last[wide + j] = static_cast<const T*>(x)[n / size * wide + j];
  reduce_tiles<P>(size + n % size, cols, last, cols, out);
}

// max of bool values is `any`, min is `all`: known as soon as one element decides.
template <class Join, uint8_t deciding>
void bool_rows(int64_t rows, int64_t n, const void* x, int64_t row_stride, void* out_) {
  constexpr int64_t block = 4096;
  uint8_t* out = static_cast<uint8_t*>(out_);
  for (int64_t r = 0; r < rows; ++r) {
    const uint8_t* row = static_cast<const uint8_t*>(x) + r * row_stride;
    out[r] = 1 - deciding;
    for (int64_t j = 0; j < n && out[r] != deciding; j += block)
      reduce_rows<Plain<uint8_t, Join>>(1, n - j < block ? n - j : block, row + j, 0, out + r);
  }
}

// The first position in x whose element no other beats; n is small.
template <class Join, class T>
TG_INLINE int64_t scan_for_best(const T* x, int64_t n) {
  T best = x[0];
  int64_t at = 0;
  for (int64_t j = 1; j < n; ++j) {
    TG_SHORT_LOOP(j);
    const bool better = Join::better(x[j], best);
    best = better ? x[j] : best;
    at = better ? j : at;
  }
  return at;
}

// Long rows: the best element block by block at full speed, then its place in the first block that has it.
template <class T, class Join>
void arg_rows(int64_t rows, int64_t n, const void* x, int64_t row_stride, void* out) {
  using V = Vec<T>;
  constexpr int64_t block = 256;
  for (int64_t r = 0; r < rows; ++r) {
    const T* row = static_cast<const T*>(x) + r * row_stride;
    int64_t at = 0;
    if (n <= 32) {
      at = scan_for_best<Join>(row, n);
    } else {
      T best = row[0];
      for (int64_t first = 0; first < n; first += block) {
        T candidate;
        reduce_rows<Plain<T, Join>>(1, n - first < block ? n - first : block, row + first, 0, &candidate);
        if (Join::better(candidate, best)) {
          best = candidate;
          at = first;
        }
      }
      // A nan in the block is the best, so the first element that is best or nan is the one.
      while (at + V::size <= n && !any((V::load(row + at) == V(best)) | (V::load(row + at) != V::load(row + at))))
        at += V::size;
      while (row[at] != best && row[at] == row[at]) ++at;
    }
    static_cast<int64_t*>(out)[r] = at;
  }
}

// A column's best element and its row, for `vectors` vectors of columns side by side. The last of them has `lanes`
// lanes.
template <class T, class Join, int vectors>
TG_INLINE void arg_tile(int64_t n, const T* x, int64_t ld, int64_t lanes, int64_t* out) {
  using V = Vec<T>;
  using I = Vec<typename Lane<T>::Int>;
  constexpr int64_t size = V::size;
  const auto load = [=](const T* row, int k) {
    return k + 1 < vectors ? V::load(row + k * size) : load_upto(row + k * size, lanes);
  };
  V best[vectors];
  I at[vectors];
  for (int k = 0; k < vectors; ++k) {
    best[k] = load(x, k);
    at[k] = I(0);
  }
  for (int64_t i = 1; i < n; ++i) {
    for (int k = 0; k < vectors; ++k) {
      const V v = load(x + i * ld, k);
      const auto better = Join::better(v, best[k]);
      best[k] = select(better, v, best[k]);
      at[k] = select(better, I((typename Lane<T>::Int)i), at[k]);
    }
  }
  for (int k = 0; k < vectors; ++k)
    for (int64_t j = 0; j < (k + 1 < vectors ? size : lanes); ++j) out[k * size + j] = at[k][int(j)];
}

// Rows are counted in lanes of the element's size; bytes, whose lanes are too small for that, go one by one.
template <class T, class Join>
void arg_cols(int64_t n, int64_t cols, const void* x_, int64_t ld, void* out_) {
  const T* x = static_cast<const T*>(x_);
  int64_t* out = static_cast<int64_t*>(out_);
  if constexpr (sizeof(T) == 1) {
    for (int64_t j = 0; j < cols; ++j) {
      out[j] = 0;
      for (int64_t i = 1; i < n; ++i)
        if (Join::better(x[i * ld + j], x[out[j] * ld + j])) out[j] = i;
    }
  } else {
    constexpr int64_t size = Vec<T>::size;
    int64_t j = 0;
    for (; j + 4 * size <= cols; j += 4 * size) arg_tile<T, Join, 4>(n, x + j, ld, size, out + j);
    for (; j < cols; j += size) arg_tile<T, Join, 1>(n, x + j, ld, cols - j < size ? cols - j : size, out + j);
  }
}

#define TG_REDUCE_ALL(kernel, bool_kernel, Join) \
  {bool_kernel,                                  \
   kernel<Plain<uint8_t, Join>>,                 \
   kernel<Plain<int32_t, Join>>,                 \
   kernel<Plain<int64_t, Join>>,                 \
   kernel<Plain<float, Join>>,                   \
   kernel<Plain<double, Join>>}
#define TG_ARG_ALL(kernel, Join)                                        \
  {kernel<uint8_t, Join>, kernel<uint8_t, Join>, kernel<int32_t, Join>, \
   kernel<int64_t, Join>, kernel<float, Join>,   kernel<double, Join>}

using SumInt64 = Plain<int64_t, JoinSum>;
constexpr ReduceKernels kSum = {
    {nullptr, nullptr, nullptr, reduce_rows<SumInt64>, reduce_rows<SumFloat>, reduce_rows<SumDouble>},
    {nullptr, nullptr, nullptr, reduce_cols<SumInt64>, reduce_cols<SumFloat>, reduce_cols<SumDouble>}};
constexpr ReduceKernels kMax = {TG_REDUCE_ALL(reduce_rows, (bool_rows<JoinMax, 1>), JoinMax),
                                TG_REDUCE_ALL(reduce_cols, (reduce_cols<Plain<uint8_t, JoinMax>>), JoinMax)};
constexpr ReduceKernels kMin = {TG_REDUCE_ALL(reduce_rows, (bool_rows<JoinMin, 0>), JoinMin),
                                TG_REDUCE_ALL(reduce_cols, (reduce_cols<Plain<uint8_t, JoinMin>>), JoinMin)};
constexpr ReduceKernels kArgmax = {TG_ARG_ALL(arg_rows, JoinMax), TG_ARG_ALL(arg_cols, JoinMax)};
constexpr ReduceKernels kArgmin = {TG_ARG_ALL(arg_rows, JoinMin), TG_ARG_ALL(arg_cols, JoinMin)};
#undef TG_REDUCE_ALL
#undef TG_ARG_ALL

}  // namespace
}  // namespace tg

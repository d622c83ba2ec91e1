// The transpose of a square of vectors in registers.
#pragma once
#include "kernels/vec.h"

namespace tg {
namespace {

// In every `span` elements: the even (or odd) numbered pieces of a, then those of b. One instruction where a span is 16
// bytes, or a piece is.
template <int piece, int span, bool odd, class R, int... j>
TG_INLINE R pick_pieces(R a, R b, Indices<j...>) {
  constexpr int n = sizeof...(j), half = span / piece / 2;
  return __builtin_shufflevector(
      a, b,
      (j % span / piece / half * n + j / span * span + (j % span / piece % half * 2 + odd) * piece + j % piece)...);
}
// Transposes the `span / piece` vectors x[0], x[stride], ... as matrices of pieces, span by span.
template <int piece, int span, int stride, class T>
TG_INLINE void transpose_pieces(Vec<T>* x) {
  constexpr int count = span / piece;
  using Lanes = typename MakeIndices<Vec<T>::size>::type;
#pragma GCC unroll 4
  for (int stage = 1; stage < count; stage *= 2) {
    Vec<T> y[count];
#pragma GCC unroll 4
    for (int r = 0; r < count; r += 2) {
      const Vec<T> a = x[r * stride], b = x[(r + 1) * stride];
      y[r / 2] = pick_pieces<piece, span, false>(a.v, b.v, Lanes{});
      y[(r + count) / 2] = pick_pieces<piece, span, true>(a.v, b.v, Lanes{});
    }
#pragma GCC unroll 4
    for (int r = 0; r < count; ++r) x[r * stride] = y[r];
  }
}
// First within the 16-byte lanes, then the lanes themselves.
template <class T>
TG_INLINE void transpose(Vec<T> (&x)[Vec<T>::size]) {
  constexpr int n = Vec<T>::size, lane = 16 / int(sizeof(T));
#pragma GCC unroll 4
  for (int i = 0; i < n; i += lane) transpose_pieces<1, lane, 1>(x + i);
  if constexpr (n > lane) {
#pragma GCC unroll 4
    for (int i = 0; i < lane; ++i) transpose_pieces<lane, n, lane>(x + i);
  }
}
// Rows of n contiguous elements (n <= size), the ones past `rows` taken as zero, transposed: x[j] is column j.
template <class T>
TG_INLINE void load_transposed(int64_t rows, int64_t n, const T* p, int64_t ld, Vec<T> (&x)[Vec<T>::size]) {
  using V = Vec<T>;
  if (rows >= V::size && n >= V::size) {
#pragma GCC unroll 16
    for (int i = 0; i < V::size; ++i) x[i] = V::load(p + i * ld);
  } else {
    const int64_t lanes = n < V::size ? n : V::size;
#pragma GCC unroll 16
    for (int i = 0; i < V::size; ++i) {
      x[i] = i < rows ? V::load_partial(p, lanes) : V(T(0));
      p += ld;
    }
  }
  transpose(x);
}

}  // namespace
}  // namespace tg

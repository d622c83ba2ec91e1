// Rounding to whole numbers, and division that leaves a remainder, on vectors.
#pragma once
#include "kernels/math_base.inl.h"

namespace tg {
namespace {

// In the encoding of the SSE4.1 instructions.
enum Rounding { kToNearestEven = 0, kDown = 1, kUp = 2, kTowardsZero = 3 };

template <int rounding>
TG_INLINE Vec<float> rounded(Vec<float> x) {
  constexpr int quietly = rounding | 8;  // no exception for what is inexact
#if defined(__AVX512F__)
  return (Vec<float>::raw)_mm512_maskz_roundscale_ps(0xffff, (__m512)x.v, quietly);
#elif defined(__AVX2__)
  return (Vec<float>::raw)_mm256_round_ps((__m256)x.v, quietly);
#else
  return (Vec<float>::raw)_mm_round_ps((__m128)x.v, quietly);
#endif
}
template <int rounding>
TG_INLINE Vec<double> rounded(Vec<double> x) {
  constexpr int quietly = rounding | 8;
#if defined(__AVX512F__)
  return (Vec<double>::raw)_mm512_maskz_roundscale_pd(0xff, (__m512d)x.v, quietly);
#elif defined(__AVX2__)
  return (Vec<double>::raw)_mm256_round_pd((__m256d)x.v, quietly);
#else
  return (Vec<double>::raw)_mm_round_pd((__m128d)x.v, quietly);
#endif
}

// The C library's fmod, lane by lane: exact for quotients of any size.
template <class T>
__attribute__((noinline, cold)) Vec<T> fmod_of_any_size(Vec<T> a, Vec<T> b) {
  T x[Vec<T>::size], y[Vec<T>::size];
  a.store(x), b.store(y);
  for (int i = 0; i < Vec<T>::size; ++i) x[i] = T(__builtin_fmod(x[i], y[i]));
  return Vec<T>::load(x);
}
// a / b truncated, lane by lane. A zero divisor, which the caller refuses, gives 0 and no trap.
template <class T>
__attribute__((noinline)) Vec<T> quotient(Vec<T> a, Vec<T> b) {
  T x[Vec<T>::size], y[Vec<T>::size];
  a.store(x), b.store(y);
  for (int i = 0; i < Vec<T>::size; ++i) {
    const bool minus_one = T(-1) < T(0) && y[i] == T(-1);  // the lowest number has no negative, and would trap
    x[i] = y[i] == T(0) || minus_one ? T(0) : T(x[i] / y[i]);
  }
  return select(b == Vec<T>(T(-1)), T(-1) < T(0) ? -a : Vec<T>::load(x), Vec<T>::load(x));
}

template <class T>
constexpr bool kWhole = T(0.5) == T(0);

// a - b trunc(a / b), with the sign of a. The quotient is rounded, so that it may be one too large; what it leaves is
// exact for quotients of fewer bits than the mantissa has.
template <class T>
TG_INLINE Vec<T> fmod(Vec<T> a, Vec<T> b) {
  if constexpr (kWhole<T>) {
    return a - quotient(a, b) * b;
  } else {
    using V = Vec<T>;
    V x = abs(a), y = abs(b), q = rounded<kTowardsZero>(x / y), r = residual(x, q, y);
    r = select(r < V(0), r + y, r);
    auto usual = (q < V(T(0x1p22))) & (y > V(T(0x1p-60))) & (y < V(T(0x1p100)));
    if (__builtin_expect(!all(usual), 0)) r = select(usual, r, fmod_of_any_size(x, y));
    return with_sign(r, a);
  }
}
// Whether the remainder r of fmod is to be moved to the divisor's sign.
template <class T>
TG_INLINE auto other_sign(Vec<T> r, Vec<T> b) {
  return (r != Vec<T>(0)) & ((r < Vec<T>(0)) ^ (b < Vec<T>(0)));
}
template <class T>
TG_INLINE Vec<T> remainder(Vec<T> a, Vec<T> b) {
  Vec<T> r = fmod(a, b);
  return select(other_sign(r, b), r + b, r);
}
// floor(a / b) from the exact remainder, as Python has it: (a - a mod b) / b is whole but for its rounding.
template <class T>
TG_INLINE Vec<T> floor_divide(Vec<T> a, Vec<T> b) {
  using V = Vec<T>;
  if constexpr (kWhole<T>) {
    V q = quotient(a, b);
    return select(other_sign(a - q * b, b), q - V(1), q);
  } else {
    V r = fmod(a, b), ratio = a / b, q = (a - r) / b;
    q = select(other_sign(r, b), q - V(1), q);
    V whole = rounded<kDown>(q);
    whole = select(q - whole > V(T(0.5)), whole + V(1), whole);
    whole = select(q == V(0), with_sign(V(0), ratio), whole);
    return select(b == V(0), ratio, whole);
  }
}

}  // namespace
}  // namespace tg

// sin cos on vectors: x = n pi/2 + r, |r| <= pi/4; n picks the polynomial and the sign.
#pragma once
#include "kernels/math_base.inl.h"

namespace tg {
namespace {

// sin(r) = r + r z p(z), cos(r) = 1 - z / 2 + z^2 q(z), z = r^2, |r| <= pi / 4, to 2^-27.9 and 2^-33 (double: 2^-57.9
// and 2^-63.9).
TG_INLINE Vec<float> sin_tail(Vec<float> z) { return poly(z, -0x1.555546p-3f, 0x1.110778p-7f, -0x1.9953fep-13f); }
TG_INLINE Vec<float> cos_tail(Vec<float> z) { return poly(z, 0x1.55554ap-5f, -0x1.6c0c28p-10f, 0x1.99e80cp-16f); }
TG_INLINE Vec<double> sin_tail(Vec<double> z) {
  return poly(z, -0x1.5555555555548p-3, 0x1.111111110f730p-7, -0x1.a01a019be9216p-13, 0x1.71de35552b31cp-19,
              -0x1.ae5e4b83b9b55p-26, 0x1.5d8b55835b75ap-33);
}
TG_INLINE Vec<double> cos_tail(Vec<double> z) {
  return poly(z, 0x1.555555555554bp-5, -0x1.6c16c16c15013p-10, 0x1.a01a019c8ed07p-16, -0x1.27e4f7f141099p-22,
              0x1.1ee9db8e26f94p-29, -0x1.8fa65e897f2e3p-37);
}

constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
// pi/2 in parts of 33 bits: n * part is exact for |n| < 2^20.
constexpr double kHalfPi1 = 0x1.921fb544p+0, kHalfPi2 = 0x1.0b4611a6p-34, kHalfPi3 = 0x1.3198a2ep-69;
constexpr double kHalfPi4 = 0x1.b839a252049c0p-104;
constexpr double kLargestReduced = 0x1p20;  // beyond it the C library is asked, lane by lane

// r to double precision minus the cancellation: enough for float32.
TG_INLINE void reduce_half_pi(Vec<double> x, Vec<double>& n, Vec<double>& r) {
  constexpr double round = MathConstants<double>::round;
  n = fma(x, Vec<double>(kTwoOverPi), Vec<double>(round)) - Vec<double>(round);
  r = fma(n, Vec<double>(-kHalfPi1), x);
  r = fma(n, Vec<double>(-(kHalfPi2 + kHalfPi3)), r);
}

// sin(n pi/2 + r) from sin(r) and cos(r), for n in the low bits of `quadrant`.
template <class T>
TG_INLINE Vec<T> sin_quadrant(Vec<typename Lane<T>::Int> quadrant, Vec<T> s, Vec<T> c) {
  using Int = typename Lane<T>::Int;
  Vec<T> y = select((quadrant & Vec<Int>(1)) == Vec<Int>(0), s, c);
  return bitcast<T>(bitcast<Int>(y) ^ ((quadrant & Vec<Int>(2)) << (8 * int(sizeof(T)) - 2)));
}
TG_INLINE Vec<float> sin_of_reduced(Vec<int32_t> quadrant, Vec<float> r) {
  Vec<float> z = r * r, c = fma(z, Vec<float>(-0.5f), Vec<float>(1));
  return sin_quadrant(quadrant, fma(z * r, sin_tail(z), r), fma(z * z, cos_tail(z), c));
}
// r_low is a correction below half an ulp of r.
TG_INLINE Vec<double> sin_of_reduced(Vec<int64_t> quadrant, Vec<double> r, Vec<double> r_low) {
  Vec<double> z = r * r, half_z = z * Vec<double>(0.5), one(1);
  Vec<double> s = r + fma(z * r, sin_tail(z), fma(-half_z, r_low, r_low));
  // 1 - z/2 with its rounding error: (1 - z/2) is at least 0.69.
  Vec<double> w = one - half_z, error = (one - w) - half_z;
  return sin_quadrant(quadrant, s, w + (error + fma(z * z, cos_tail(z), -r * r_low)));
}

// Lanes too large for the reductions below; inf becomes nan.
template <class T>
__attribute__((noinline, cold)) void sin_huge(const T* x, T* y, int phase) {
  for (int i = 0; i < Vec<T>::size; ++i) {
    if (__builtin_fabs(x[i]) > kLargestReduced) y[i] = T(phase == 0 ? __builtin_sin(x[i]) : __builtin_cos(x[i]));
  }
}
template <int phase, class T>
TG_INLINE Vec<T> fix_huge(Vec<T> x, Vec<T> y) {
  if (__builtin_expect(any(abs(x) > Vec<T>(T(kLargestReduced))), 0)) {
    T lanes_x[Vec<T>::size], lanes_y[Vec<T>::size];
    x.store(lanes_x), y.store(lanes_y);
    sin_huge(lanes_x, lanes_y, phase);
    return Vec<T>::load(lanes_y);
  }
  return y;
}

// phase 0: sin(x); phase 1: cos(x) = sin(x + pi/2).
template <int phase>
TG_INLINE Vec<float> sin_through_double(Vec<float> x) {
  Vec<double> n_low, n_high, r_low, r_high;
  reduce_half_pi(widen_low(x), n_low, r_low);
  reduce_half_pi(widen_high(x), n_high, r_high);
  Vec<int32_t> quadrant = convert<int32_t>(narrow(n_low, n_high)) + Vec<int32_t>(phase);
  return fix_huge<phase>(x, sin_of_reduced(quadrant, narrow(r_low, r_high)));
}
template <int phase>
TG_INLINE Vec<float> sin_with_phase(Vec<float> x) {
  if constexpr (!kFusedMultiplyAdd) return sin_through_double<phase>(x);
  // n * 24 bits of pi/2 from x is exact; the next two parts are rounded once each.
  using V = Vec<float>;
  V shifted = fma(x, V(float(kTwoOverPi)), V(MathConstants<float>::round)),
    n = shifted - V(MathConstants<float>::round);
  V r = fused(n, V(0x1.ee59dap-50f), fused(n, V(0x1.777a5cp-25f), fused(n, V(-0x1.921fb6p+0f), x)));
  V y = sin_of_reduced(bitcast<int32_t>(shifted) + Vec<int32_t>(phase), r);
  if (__builtin_expect(any(abs(x) > V(0x1p16f)), 0)) y = select(abs(x) > V(0x1p16f), sin_through_double<phase>(x), y);
  return y;
}
template <int phase>
TG_INLINE Vec<double> sin_with_phase(Vec<double> x) {
  using V = Vec<double>;
  V shifted = fma(x, V(kTwoOverPi), V(MathConstants<double>::round));
  V n = shifted - V(MathConstants<double>::round);
  // The first two subtractions are exact but for the rounding of `b`, which is kept.
  V a = x - n * V(kHalfPi1), p = n * V(kHalfPi2), b = a - p, b_low = (a - b) - p;
  V rest = n * V(kHalfPi3) - b_low, r = b - rest, r_low = (b - r) - rest - n * V(kHalfPi4);
  Vec<int64_t> quadrant = bitcast<int64_t>(shifted) + Vec<int64_t>(phase);
  return fix_huge<phase>(x, sin_of_reduced(quadrant, r, r_low));
}
template <class T>
TG_INLINE Vec<T> sin(Vec<T> x) {
  return select(x == Vec<T>(0), x, sin_with_phase<0>(x));  // keeps -0
}
template <class T>
TG_INLINE Vec<T> cos(Vec<T> x) {
  return sin_with_phase<1>(x);
}

}  // namespace
}  // namespace tg

// The start of the vector math: constants, polynomials, exact products.
#pragma once
#include "kernels/vec.h"

namespace tg {
namespace {

// c0 + c1 x + c2 x^2 + ... by Horner's rule; consecutive vectors hide its latency.
template <class T>
TG_INLINE Vec<T> poly(Vec<T>, T c0) {
  return c0;
}
template <class T, class... C>
TG_INLINE Vec<T> poly(Vec<T> x, T c0, C... c) {
  return fma(poly(x, c...), x, Vec<T>(c0));
}

template <class T>
struct MathConstants;
template <>
struct MathConstants<float> {
  static constexpr int mantissa_bits = 23, exponent_bias = 127;
  static constexpr float inf = __builtin_inff(), nan = __builtin_nanf("");
  static constexpr float smallest_normal = 0x1p-126f;
  static constexpr float round = 0x1.8p23f;  // x + round - round is x to the nearest integer, |x| < 2^22
  static constexpr float inv_ln2 = 0x1.715476p+0f;
  static constexpr float ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;  // n * ln2_high is exact, |n| < 2^9
};
template <>
struct MathConstants<double> {
  static constexpr int mantissa_bits = 52, exponent_bias = 1023;
  static constexpr double inf = __builtin_inf(), nan = __builtin_nan("");
  static constexpr double smallest_normal = 0x1p-1022;
  static constexpr double round = 0x1.8p52;
  static constexpr double inv_ln2 = 0x1.71547652b82fep+0;
  static constexpr double ln2_high = 0x1.62e42fep-1, ln2_low = 0x1.f473de6af278fp-30;
};

// |x| with the sign of `sign`, for x >= 0.
template <class T>
TG_INLINE Vec<T> with_sign(Vec<T> x, Vec<T> sign) {
  using Int = typename Lane<T>::Int;
  return bitcast<T>(bitcast<Int>(x) | (bitcast<Int>(sign) & bitcast<Int>(Vec<T>(T(-0.0)))));
}

// a * b = high + low exactly, where nothing overflows.
template <class T>
struct Pair {
  Vec<T> high, low;
};
template <class T>
TG_INLINE Pair<T> two_product(Vec<T> a, Vec<T> b) {
  Vec<T> high = a * b;
  if constexpr (kFusedMultiplyAdd) {
    return {high, fused(a, b, -high)};
  } else {  // Dekker's, over halves of the mantissas
    using Int = typename Lane<T>::Int;
    Vec<Int> upper(Int(sizeof(T) == 4 ? -0x1000 : -0x8000000));
    Vec<T> a_high = bitcast<T>(bitcast<Int>(a) & upper), a_low = a - a_high;
    Vec<T> b_high = bitcast<T>(bitcast<Int>(b) & upper), b_low = b - b_high;
    return {high, ((a_high * b_high - high) + a_high * b_low + a_low * b_high) + a_low * b_low};
  }
}

}  // namespace
}  // namespace tg

// The start of the vector math: constants, polynomials, exact products, quotients, tables.
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

// a * b + c rounded once, where the ISA has FMA: written as a * b + c the compiler may compute a * b first and share
// it.
#if defined(__AVX2__)
constexpr bool kFusedMultiplyAdd = true;
#else
constexpr bool kFusedMultiplyAdd = false;
#endif
template <class T>
TG_INLINE Vec<T> fused(Vec<T> a, Vec<T> b, Vec<T> c) {
  using raw = typename Vec<T>::raw;
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return (raw)_mm512_fmadd_ps((__m512)a.v, (__m512)b.v, (__m512)c.v);
  if constexpr (sizeof(T) == 8) return (raw)_mm512_fmadd_pd((__m512d)a.v, (__m512d)b.v, (__m512d)c.v);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) return (raw)_mm256_fmadd_ps((__m256)a.v, (__m256)b.v, (__m256)c.v);
  if constexpr (sizeof(T) == 8) return (raw)_mm256_fmadd_pd((__m256d)a.v, (__m256d)b.v, (__m256d)c.v);
#else
  return (raw)(a.v * b.v + c.v);
#endif
}

// About 1 / b for normal b and 1 / b: within 2^-27 (float) or 2^-52. Under AVX-512 the divider is slower than an
// estimate and Newton's steps.
TG_INLINE Vec<float> inverse(Vec<float> b) {
#if defined(__AVX512F__)
  Vec<float> r = (Vec<float>::raw)_mm512_maskz_rcp14_ps(0xffff, (__m512)b.v);
  return fma(fma(-r, b, Vec<float>(1)), r, r);
#else
  return Vec<float>(1) / b;
#endif
}
TG_INLINE Vec<double> inverse(Vec<double> b) {
#if defined(__AVX512F__)
  Vec<double> one(1), r = (Vec<double>::raw)_mm512_maskz_rcp14_pd(0xff, (__m512d)b.v);
  r = fma(fma(-r, b, one), r, r);
  return fma(fma(-r, b, one), r, r);
#else
  return Vec<double>(1) / b;
#endif
}
// a / b within 1 ulp, under the same conditions.
template <class T>
TG_INLINE Vec<T> ratio(Vec<T> a, Vec<T> b) {
#if defined(__AVX512F__)
  return a * inverse(b);
#else
  return a / b;
#endif
}
// a / (b + b_low) to about half an ulp, for |b_low| below an ulp of b.
template <class T>
TG_INLINE Vec<T> ratio(Vec<T> a, Vec<T> b, Vec<T> b_low) {
  if constexpr (kFusedMultiplyAdd) {
    Vec<T> r = inverse(b), q = a * r;
    return fma(fma(-q, b_low, fma(-q, b, a)), r, q);
  } else {
    Vec<T> q = a / b;
    return q - q * b_low / b;
  }
}

// table[index mod 16], lane by lane.
TG_INLINE Vec<float> lookup16(const float* table, Vec<int32_t> index) {
#if defined(__AVX512F__)
  return (Vec<float>::raw)_mm512_maskz_permutexvar_ps(0xffff, (__m512i)index.v, _mm512_loadu_ps(table));
#else
  index = index & Vec<int32_t>(15);
#if defined(__AVX2__)
  return (Vec<float>::raw)_mm256_i32gather_ps(table, (__m256i)index.v, 4);
#else
  Vec<float> y(0);
  for (int i = 0; i < y.size; ++i) y.v[i] = table[index[i]];
  return y;
#endif
#endif
}
TG_INLINE Vec<double> lookup16(const double* table, Vec<int64_t> index) {
#if defined(__AVX512F__)
  return (Vec<double>::raw)_mm512_permutex2var_pd(_mm512_loadu_pd(table), (__m512i)index.v, _mm512_loadu_pd(table + 8));
#else
  index = index & Vec<int64_t>(15);
#if defined(__AVX2__)
  return (Vec<double>::raw)_mm256_i64gather_pd(table, (__m256i)index.v, 8);
#else
  Vec<double> y(0);
  for (int i = 0; i < y.size; ++i) y.v[i] = table[index[i]];
  return y;
#endif
#endif
}

// |x| with the sign of `sign`, for x >= 0.
template <class T>
TG_INLINE Vec<T> with_sign(Vec<T> x, Vec<T> sign) {
  using Int = typename Lane<T>::Int;
  return bitcast<T>(bitcast<Int>(x) | (bitcast<Int>(sign) & bitcast<Int>(Vec<T>(T(-0.0)))));
}

// x without the lower half of its mantissa's bits: what remains of it times a number as short is exact.
template <class T>
TG_INLINE Vec<T> upper_half(Vec<T> x) {
  using Int = typename Lane<T>::Int;
  return bitcast<T>(bitcast<Int>(x) & Vec<Int>(Int(sizeof(T) == 4 ? -0x1000 : -0x8000000)));
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
    Vec<T> a_high = upper_half(a), a_low = a - a_high;
    Vec<T> b_high = upper_half(b), b_low = b - b_high;
    return {high, ((a_high * b_high - high) + a_high * b_low + a_low * b_high) + a_low * b_low};
  }
}

// c - a * b, where that is small next to c.
template <class T>
TG_INLINE Vec<T> residual(Vec<T> c, Vec<T> a, Vec<T> b) {
  if constexpr (kFusedMultiplyAdd) return fused(-a, b, c);
  Pair<T> product = two_product(a, b);
  return (c - product.high) - product.low;
}

}  // namespace
}  // namespace tg

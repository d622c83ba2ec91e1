// log log2 log10 log1p softplus on vectors.
#pragma once
#include "kernels/math_exp.inl.h"

namespace tg {
namespace {

// log(1 + f) - f, 3/4 <= 1 + f < 3/2, relative error of log(1 + f) 2^-30.
TG_INLINE Vec<float> log1p_tail(Vec<float> f) {
  Vec<float> p = poly(f, 0x1.55555ap-2f, -0x1.00006ep-2f, 0x1.99975ep-3f, -0x1.5519ccp-3f, 0x1.246456p-3f,
                      -0x1.04af50p-3f, 0x1.df10fcp-4f, -0x1.74d5d0p-4f, 0x1.33c870p-5f);
  Vec<float> f2 = f * f;
  return fma(f2 * f, p, f2 * Vec<float>(-0.5f));
}
// With s = f / (2 + f), log(1 + f) = 2 s + s R(s^2) = f - (f^2 / 2 - s (f^2 / 2 + R)); to 2^-62.7.
TG_INLINE Vec<double> log1p_tail(Vec<double> f) {
  Vec<double> s = ratio(f, f + Vec<double>(2)), z = s * s;
  Vec<double> r = z * poly(z, 0x1.555555555554fp-1, 0x1.999999999c179p-2, 0x1.24924921e4536p-2, 0x1.c71c748fbac9ap-3,
                           0x1.745c4adbbd125p-3, 0x1.3b35c0f933c15p-3, 0x1.0dcb8ee2e51dfp-3, 0x1.1b81dd7f3f48bp-3);
  Vec<double> half_f2 = f * f * Vec<double>(0.5);
  return fma(s, half_f2 + r, -half_f2);
}

// x = 2^k m with 3/4 <= m < 3/2, for positive x.
template <class T>
struct LogParts {
  Vec<T> k, m;
};
#if defined(__AVX512F__)
constexpr auto kPositive = _MM_MANTISSA_SIGN_ENUM(3);  // nan for negative numbers, 1 for -0
// Of every x: k is -inf for 0 and inf for inf, m is nan below 0, and denormals are like other numbers.
TG_INLINE LogParts<float> log_parts(Vec<float> x) {
  Vec<float> m = (Vec<float>::raw)_mm512_maskz_getmant_ps(0xffff, (__m512)x.v, _MM_MANT_NORM_p75_1p5, kPositive);
  __m512 exponent = _mm512_maskz_getexp_ps(0xffff, (__m512)x.v), of_m = _mm512_maskz_getexp_ps(0xffff, (__m512)m.v);
  return {(Vec<float>::raw)(exponent - of_m), m};
}
TG_INLINE LogParts<double> log_parts(Vec<double> x) {
  Vec<double> m = (Vec<double>::raw)_mm512_maskz_getmant_pd(0xff, (__m512d)x.v, _MM_MANT_NORM_p75_1p5, kPositive);
  __m512d exponent = _mm512_maskz_getexp_pd(0xff, (__m512d)x.v), of_m = _mm512_maskz_getexp_pd(0xff, (__m512d)m.v);
  return {(Vec<double>::raw)(exponent - of_m), m};
}
#else
TG_INLINE LogParts<float> log_parts(Vec<float> x) {
  Vec<int32_t> bits = bitcast<int32_t>(x), k = (bits - bitcast<int32_t>(Vec<float>(0.75f))) >> 23;
  return {convert<float>(k), bitcast<float>(bits - (k << 23))};
}
TG_INLINE LogParts<double> log_parts(Vec<double> x) {
  // k + 1023 by a shift that needs no sign, then to floating point by writing it into the mantissa of 2^52.
  Vec<int64_t> bits = bitcast<int64_t>(x), bias(1023);
  Vec<int64_t> k = shift_right_zero(bits + ((bias << 52) - bitcast<int64_t>(Vec<double>(0.75))), 52);
  Vec<double> k_value = bitcast<double>(k | bitcast<int64_t>(Vec<double>(0x1p52))) - Vec<double>(0x1p52 + 1023);
  return {k_value, bitcast<double>(bits - ((k - bias) << 52))};
}
#endif

// k ln2 + log(1 + f)
template <class T>
TG_INLINE Vec<T> log_of_parts(Vec<T> k, Vec<T> f) {
  using C = MathConstants<T>;
  return fused(k, Vec<T>(C::ln2_high), f + fused(k, Vec<T>(C::ln2_low), log1p_tail(f)));
}

// log(1 + f) / log(base) to a little more than the precision, from 1 / log(base) in two parts
template <class T>
TG_INLINE Vec<T> scaled_log1p(Vec<T> f, T scale, T scale_low, Vec<T> rest) {
  Vec<T> tail = log1p_tail(f), l = f + tail, l_low = (f - l) + tail;
  return fma(l, Vec<T>(scale), fma(l_low, Vec<T>(scale), fma(l, Vec<T>(scale_low), rest)));
}
template <class T>
TG_INLINE Vec<T> log2_of_parts(Vec<T> k, Vec<T> f) {
  constexpr T low = sizeof(T) == 4 ? T(0x1.4ae0cp-26) : T(0x1.777d0ffda0d24p-56);
  return k + scaled_log1p(f, MathConstants<T>::inv_ln2, low, Vec<T>(0));
}
template <class T>
TG_INLINE Vec<T> log10_of_parts(Vec<T> k, Vec<T> f) {
  constexpr bool single = sizeof(T) == 4;
  // log10(2) in two parts, of which the first times k is exact, and 1 / ln(10).
  constexpr T high = T(single ? 0x1.344p-2 : 0x1.34413509f78p-2),
              low = T(single ? 0x1.3509f8p-18 : 0x1.fef311f12b358p-46);
  constexpr T scale = T(0x1.bcb7b1526e50ep-2), scale_low = T(single ? -0x1.5b235ep-27 : 0x1.95355baaafad3p-57);
  return fma(k, Vec<T>(high), scaled_log1p(f, scale, scale_low, k * Vec<T>(low)));
}

// combine(k, f) of x = 2^k (1 + f), and the special values that all logarithms share.
template <class T, class F>
TG_INLINE Vec<T> log_with(Vec<T> x, F combine) {
#if defined(__AVX512F__)
  LogParts<T> parts = log_parts(x);
  return combine(parts.k, parts.m - Vec<T>(1));
#else
  using C = MathConstants<T>;
  Vec<T> smallest(C::smallest_normal), normal = x, offset(0);
  bool special = !all((x >= smallest) & (x < Vec<T>(C::inf)));
  if (__builtin_expect(special, 0)) {  // denormals
    normal = select(x < smallest, x * Vec<T>(T(int64_t(1) << C::mantissa_bits)), x);
    offset = select(x < smallest, Vec<T>(-C::mantissa_bits), Vec<T>(0));
  }
  LogParts<T> parts = log_parts(normal);
  Vec<T> y = combine(parts.k + offset, parts.m - Vec<T>(1));
  if (__builtin_expect(special, 0)) {
    y = select(x < Vec<T>(C::inf), y, x);  // inf and nan
    y = select(x > Vec<T>(0), y, select(x == Vec<T>(0), Vec<T>(-C::inf), Vec<T>(C::nan)));
    y = select(x == x, y, x);
  }
  return y;
#endif
}

template <class T>
TG_INLINE Vec<T> log(Vec<T> x) {
  return log_with(x, [](Vec<T> k, Vec<T> f) { return log_of_parts(k, f); });
}
template <class T>
TG_INLINE Vec<T> log2(Vec<T> x) {
  return log_with(x, [](Vec<T> k, Vec<T> f) { return log2_of_parts(k, f); });
}
template <class T>
TG_INLINE Vec<T> log10(Vec<T> x) {
  return log_with(x, [](Vec<T> k, Vec<T> f) { return log10_of_parts(k, f); });
}

// With u = 1 + x rounded and c what the rounding lost: u + c = 2^k (m + 2^-k c).
template <class T>
TG_INLINE Vec<T> log1p(Vec<T> x) {
  using Int = typename Lane<T>::Int;
  Vec<T> one(1), u = one + x, c = x - (u - one);
  LogParts<T> parts = log_parts(u);
  Vec<T> scale = bitcast<T>(bitcast<Int>(parts.m) - bitcast<Int>(u) + bitcast<Int>(one));  // 2^-k
  Vec<T> y = log_of_parts(parts.k, fma(c, scale, parts.m - one));
  auto usual = (x > -one) & (x < Vec<T>(T(0x1p100)));
  if (__builtin_expect(!all(usual), 0)) y = select(usual, y, log(u));
  return with_sign(y, x);  // of -0
}

// log(1 + e^x)
template <class T>
TG_INLINE Vec<T> softplus(Vec<T> x) {
  return max(Vec<T>(0), x) + log1p(exp(-abs(x)));  // in this order nan passes
}

}  // namespace
}  // namespace tg

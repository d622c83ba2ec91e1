// erf, and gelu in its exact and its tanh form, on vectors.
#pragma once
#include "kernels/math_exp.inl.h"

namespace tg {
namespace {

// erf(x) = x + x p(x^2), |x| <= 0.85, to 2^-27.1 and 2^-56.3.
TG_INLINE Vec<float> erf_p(Vec<float> z) {
  return poly(z, 0x1.06eba8p-3f, -0x1.812724p-2f, 0x1.ce2514p-4f, -0x1.b7310ep-6f, 0x1.4b5946p-8f, -0x1.4c5ea0p-11f);
}
TG_INLINE Vec<double> erf_p(Vec<double> z) {
  return poly(z, 0x1.06eba8214db69p-3, -0x1.812746b037a01p-2, 0x1.ce2f21a0439ebp-4, -0x1.b82ce312bf7c3p-6,
              0x1.565bcd15b5943p-8, -0x1.c02db5276a79fp-11, 0x1.f9a34364ec42ap-14, -0x1.f4d3f5364f2b8p-17,
              0x1.b9f11a4c8d318p-20, -0x1.5f484d93c8291p-23, 0x1.f268ae52767ebp-27, -0x1.07bb037d38a0cp-30);
}

// (a + c) times Mills' ratio of the normal distribution, e^(a^2 / 2) Phi(-a), is start + t p(t) at a = c (1 + t) / (1 -
// t): relative error 2^-25.7 for a <= 14.6 and 2^-54.9 for a <= 39.
TG_INLINE Vec<float> mills_p(Vec<float> t) {
  return poly(t, -0x1.373e3ap-1f, 0x1.8c6d8ep-2f, -0x1.7dffb6p-3f, 0x1.eed842p-5f, -0x1.ed4ec8p-8f, -0x1.cd58c4p-9f,
              0x1.9ba8e4p-10f, 0x1.8b62e4p-13f, -0x1.0ab604p-13f);
}
TG_INLINE Vec<double> mills_p(Vec<double> t) {
  return poly(t, -0x1.373e3a893c28ap-1, 0x1.8c6dbf2cfc282p-2, -0x1.7dff2bff6839ep-3, 0x1.eec4cc3e50a64p-5,
              -0x1.ee27610481912p-8, -0x1.c81719d8ddf3dp-9, 0x1.ab825fc1a43a5p-10, 0x1.17a4b03c77dc5p-13,
              -0x1.e4a425850dd4dp-13, -0x1.002130ed38cc1p-19, 0x1.26d097eb3051fp-15, 0x1.80db97a37c8fcp-21,
              -0x1.8d4a791bc2c24p-18, -0x1.524914a121e9fp-21, 0x1.122bb428fffe0p-20, 0x1.24797a4f937a6p-22,
              -0x1.4c24eeaec4841p-23, -0x1.7111e723bcabep-24, 0x1.be3f85b1feb40p-27, 0x1.55a256495852ep-26,
              0x1.1df4806c7a167p-29, -0x1.62b5d9c8f5c56p-29, -0x1.a46b92b312860p-31);
}

template <class T>
struct NormalLimits;  // Phi(-a) is a normal number up to `normal`, a Phi(-a) rounds to 0 from `lowest`
template <>
struct NormalLimits<float> {
  static constexpr float c = 4, start = 0x1.82b4bcp-1f, normal = 12.8f, lowest = 14.5f;
};
template <>
struct NormalLimits<double> {
  static constexpr double c = 4, start = 0x1.82b4bb8c94dcep-1, normal = 37.4, lowest = 38.9;
};

// factor * Phi(-a) = 2^n (m + m_low) for 0 <= a <= lowest, with n in the low bits of `shifted`.
template <class T>
struct NormalTail {
  Vec<T> m, m_low, shifted;
};
// e = e^(-a^2 / 2)
template <class T>
TG_INLINE NormalTail<T> normal_tail(Vec<T> a, ExpParts<T> e, Vec<T> factor) {
  Vec<T> c(NormalLimits<T>::c), one(1);
  Vec<T> d = a + c, d_low = (max(a, c) - d) + min(a, c), r = inverse(d);
  Vec<T> t = fma(r, Vec<T>(-2 * NormalLimits<T>::c), one), start(NormalLimits<T>::start), slope = mills_p(t);
  Vec<T> mills = fma(slope, t, start), mills_low = fma(slope, t, start - mills);
  Pair<T> above = two_product(factor, mills);
  above.low += factor * mills_low;
  // above / (d + d_low) (1 + p); what is lacking to the first quotient, and the effect of the error of r on t by the
  // mean slope of log(mills_p), about -1, are added up before they meet it.
  Vec<T> q = above.high * r, rest = fma(-q, d_low, residual(above.high, q, d)) + above.low;
  Vec<T> r_error = fma(-d_low, r, residual(one, d, r)) * r;
  Vec<T> lacking = fma(q, r_error * Vec<T>(2 * NormalLimits<T>::c), rest * r);
  return {q, fma(q, e.p, fma(lacking, e.p, lacking)), e.shifted};
}
template <class T>
TG_INLINE NormalTail<T> normal_tail(Vec<T> a, Vec<T> factor) {
  // The square to twice the precision: its rounding would be an absolute error of the exponent.
  Pair<T> square = two_product(a, a);
  return normal_tail(a, exp_parts(square.high * Vec<T>(T(-0.5)), square.low * Vec<T>(T(-0.5))), factor);
}
// x - factor * Phi(-a) where Phi(-a) is a normal number.
template <class T>
TG_INLINE Vec<T> minus_normal_tail(Vec<T> x, Vec<T> a, Vec<T> factor) {
  NormalTail<T> tail = normal_tail(a, factor);
  Vec<T> scale = exp2_of_bits<T>(bitcast<typename Lane<T>::Int>(tail.shifted));
  return fma(-tail.m_low, scale, fma(-tail.m, scale, x));
}

// erf(x) for x >= 0.85; for nan nan.
TG_INLINE Vec<float> erf_beyond(Vec<float> x) {
  using C = MathConstants<float>;
  x = min(Vec<float>(4), x);  // there it rounds to 1
  // log2(erfc(x)); with it erf is right to 2^-28.8.
  Vec<float> exponent = poly(x, -0x1.3bce28p-13f, -0x1.a0a080p+0f, -0x1.d62b82p-1f, -0x1.34d73ap-3f, 0x1.0a2706p-5f,
                             -0x1.26cf8ep-8f, 0x1.342890p-12f);
  Vec<float> round(C::round + C::exponent_bias), shifted = exponent + round, f = exponent - (shifted - round);
  Vec<float> scale = bitcast<float>(bitcast<int32_t>(shifted) << C::mantissa_bits);  // 2^n
  return fma(-scale, exp2_poly(f), Vec<float>(1));
}
TG_INLINE Vec<double> erf_beyond(Vec<double> x) {
  return minus_normal_tail(Vec<double>(1), min(Vec<double>(9), x * Vec<double>(0x1.6a09e667f3bcdp+0)), Vec<double>(2));
}
template <class T>
TG_INLINE Vec<T> erf(Vec<T> x) {
  Vec<T> size = abs(x);
  return select(size < Vec<T>(T(0.85)), fma(x, erf_p(x * x), x), with_sign(erf_beyond(size), x));
}

// x Phi(x) = max(x, 0) - |x| Phi(-|x|); at -inf its limit -0.
template <class T>
TG_INLINE Vec<T> gelu(Vec<T> x) {
  using L = NormalLimits<T>;
  Vec<T> size = abs(x), limit(L::normal), y = minus_normal_tail(max(Vec<T>(0), x), size, size);
  if (__builtin_expect(any(size > limit), 0)) {
    Vec<T> low = min(Vec<T>(L::lowest), size);
    NormalTail<T> tail = normal_tail(low, -low);
    y = select(x > limit, x, select(x < -limit, scale_by_exp2(tail.m + tail.m_low, tail.shifted), y));
  }
  return with_sign(y, x);  // of -0
}

// x / (1 + e^-v) with v = 2 sqrt(2 / pi) (x + 0.044715 x^3), which is computed to twice the precision; at -inf -0.
template <class T>
TG_INLINE Vec<T> gelu_tanh(Vec<T> x) {
  using V = Vec<T>;
  constexpr bool single = sizeof(T) == 4;
  constexpr T slope = T(0x1.9884533d43651p+0), slope_low = T(single ? -0x1.857936p-25 : -0x1.cbc0d30ebfd15p-54);
  constexpr T cube = T(0x1.2444f2a4d8b4bp-4), cube_low = T(single ? 0x1.49b16ap-29 : -0x1.6c843a29d1c70p-61);
  V bound(single ? 12 : 25), clamped = max(-bound, min(bound, x));  // in this order nan passes
  Pair<T> square = two_product(clamped, clamped), p = two_product(square.high, V(cube));
  V p_low = p.low + fma(square.low, V(cube), square.high * V(cube_low));
  V q = p.high + V(slope), p_part = q - V(slope);
  V q_low = (p.high - p_part) + (V(slope) - (q - p_part)) + (p_low + V(slope_low));
  Pair<T> v = two_product(clamped, q);
  ExpParts<T> e = exp_parts(-v.high, -fma(clamped, q_low, v.low));
  V limit(ExpLimits<T>::normal), y = over_one_plus_exp(x, e);
  if (__builtin_expect(any(abs(v.high) > limit), 0)) {
    e = exp_parts(v.high, fma(clamped, q_low, v.low));
    y = select(v.high > limit, x, select(v.high < -limit, scale_by_exp2(fma(clamped, e.p, clamped), e.shifted), y));
  }
  return with_sign(y, x);  // of -0
}

}  // namespace
}  // namespace tg

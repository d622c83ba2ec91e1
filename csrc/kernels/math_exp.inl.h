// exp exp2 expm1 tanh sigmoid silu on vectors.
#pragma once
#include "kernels/math_base.inl.h"

namespace tg {
namespace {

// (expm1(r) - r) / r^2, |r| <= ln2 / 2; expm1 with it is right to 2^-26.1, exp to 2^-27.9; double: 2^-60.8.
TG_INLINE Vec<float> expm1_tail(Vec<float> r) {
  return poly(r, 0x1.fffffep-2f, 0x1.5554aap-3f, 0x1.55579ep-5f, 0x1.122c7ap-7f, 0x1.6ab2bcp-10f);
}
TG_INLINE Vec<double> expm1_tail(Vec<double> r) {
  return poly(r, 0.5, 0x1.5555555555559p-3, 0x1.5555555555559p-5, 0x1.111111110f6f8p-7, 0x1.6c16c16c161dbp-10,
              0x1.a01a01af9b424p-13, 0x1.a01a01a03ff69p-16, 0x1.71ddf93937846p-19, 0x1.27e4f682071c0p-22,
              0x1.af5d24a0b5cdep-26, 0x1.1f3739e4b70ccp-29);
}
// 2^f, |f| <= 1/2, to 2^-26.3 and 2^-55.4.
TG_INLINE Vec<float> exp2_poly(Vec<float> f) {
  return poly(f, 1.0f, 0x1.62e430p-1f, 0x1.ebfb94p-3f, 0x1.c6af9ep-5f, 0x1.3b6816p-7f, 0x1.5ef4d6p-10f,
              0x1.179a1ap-13f);
}
TG_INLINE Vec<double> exp2_poly(Vec<double> f) {
  return poly(f, 1.0, 0x1.62e42fefa39efp-1, 0x1.ebfbdff82c5b3p-3, 0x1.c6b08d704a26fp-5, 0x1.3b2ab6fb9dab3p-7,
              0x1.5d87fe78457b1p-10, 0x1.4309131681191p-13, 0x1.ffcbfe66baacfp-17, 0x1.62bfb49b3345dp-20,
              0x1.b5207f7a9c98ap-24, 0x1.e63bbec6097c0p-28, 0x1.f0f9091e249fep-32);
}
// tanh(x) = x + x z p(z) / q(z), z = x^2, |x| <= 0.55, to 2^-28.8 and 2^-63.
TG_INLINE Vec<float> tanh_p(Vec<float> z) { return poly(z, -0x1.55554ep-2f, -0x1.96e432p-10f); }
TG_INLINE Vec<float> tanh_q(Vec<float> z) { return poly(z, 1.0f, 0x1.9e5c62p-2f); }
TG_INLINE Vec<double> tanh_p(Vec<double> z) {
  return poly(z, -0x1.5555555555555p-2, -0x1.4fe136fab514ap-6, -0x1.a1dcb6ecd5af2p-13);
}
TG_INLINE Vec<double> tanh_q(Vec<double> z) {
  return poly(z, 1.0, 0x1.d893d3e89b891p-2, 0x1.7da447bd9db61p-6, 0x1.b14c9a82f3e8cp-13);
}

template <class T>
struct ExpLimits;  // exp is 0 at `lowest` and inf at `highest`; |x| <= normal: exp(x) and its inverse are normal
template <>
struct ExpLimits<float> {
  static constexpr float lowest = -104, highest = 89, normal = 87;
  static constexpr float tanh_saturated = 10;  // rounds to 1 from here
};
template <>
struct ExpLimits<double> {
  static constexpr double lowest = -746, highest = 710, normal = 708;
  static constexpr double tanh_saturated = 20;
};

// x = n ln2 + r with n an integer, |r| <= ln2 / 2; the low bits of `shifted` are n.
template <class T>
struct Reduced {
  Vec<T> shifted, r;
};
template <class T>
TG_INLINE Reduced<T> reduced(Vec<T> x) {
  using C = MathConstants<T>;
  Vec<T> shifted = fma(x, Vec<T>(C::inv_ln2), Vec<T>(C::round)), n = shifted - Vec<T>(C::round);
  return {shifted, fma(n, Vec<T>(-C::ln2_low), fma(n, Vec<T>(-C::ln2_high), x))};
}

// e^x = 2^n (1 + p)
template <class T>
struct ExpParts {
  Vec<T> shifted, p;
};
template <class T>
TG_INLINE ExpParts<T> exp_parts(Vec<T> x) {
  auto [shifted, r] = reduced(x);
  return {shifted, fma(r * r, expm1_tail(r), r)};
}
// The same for x + x_low, and more accurately: the rounding of r matters in the tail only.
template <class T>
TG_INLINE ExpParts<T> exp_parts(Vec<T> x, Vec<T> x_low) {
  using C = MathConstants<T>;
  Vec<T> shifted = fma(x, Vec<T>(C::inv_ln2), Vec<T>(C::round)), n = shifted - Vec<T>(C::round);
  Vec<T> high = fma(n, Vec<T>(-C::ln2_high), x), low = fma(n, Vec<T>(-C::ln2_low), x_low), r = high + low;
  return {shifted, high + fma(r * r, expm1_tail(r), low)};
}

// 2^n for n in the low bits, in the range of normal numbers.
template <class T>
TG_INLINE Vec<T> exp2_of_bits(Vec<typename Lane<T>::Int> n) {
  using C = MathConstants<T>;
  return bitcast<T>((n + Vec<typename Lane<T>::Int>(C::exponent_bias)) << C::mantissa_bits);
}
template <class T>
TG_INLINE Vec<T> scale_of(ExpParts<T> e) {
  return exp2_of_bits<T>(bitcast<typename Lane<T>::Int>(e.shifted));
}
// y * 2^n, rounded once, also where 2^n or the result leaves the range of normal numbers.
template <class T>
TG_INLINE Vec<T> scale_by_exp2(Vec<T> y, Vec<T> shifted) {
#if defined(__AVX512F__)
  Vec<T> n = shifted - Vec<T>(MathConstants<T>::round);
  if constexpr (sizeof(T) == 4) return (typename Vec<T>::raw)_mm512_maskz_scalef_ps(0xffff, (__m512)y.v, (__m512)n.v);
  if constexpr (sizeof(T) == 8) return (typename Vec<T>::raw)_mm512_maskz_scalef_pd(0xff, (__m512d)y.v, (__m512d)n.v);
#else
  using Int = typename Lane<T>::Int;
  Vec<Int> n = bitcast<Int>(shifted), half = bitcast<Int>(bitcast<int32_t>(shifted) >> 1);
  return y * exp2_of_bits<T>(half) * exp2_of_bits<T>(n - half);
#endif
}
template <class T>
TG_INLINE Vec<T> exp(Vec<T> x) {
  Vec<T> one(1), lowest(ExpLimits<T>::lowest), highest(ExpLimits<T>::highest);
  x = min(highest, x);  // in this order nan passes
#if !defined(__AVX512F__)
  x = max(lowest, x);  // scalef takes any n
#endif
  auto [shifted, r] = reduced(x);
  // Without FMA this needs the lower part of r.
  Vec<T> y = kFusedMultiplyAdd ? fma(fma(expm1_tail(r), r, one), r, one) : exp_parts(x, Vec<T>(0)).p + one;
  // A product that underflows costs over a hundred cycles; 0 times 2^n does not.
  return scale_by_exp2(select(x <= lowest, Vec<T>(0), y), shifted);
}

template <class T>
TG_INLINE Vec<T> exp2(Vec<T> x) {
  using C = MathConstants<T>;
  Vec<T> lowest(ExpLimits<T>::lowest * C::inv_ln2), highest(ExpLimits<T>::highest * C::inv_ln2), round(C::round);
  x = max(lowest, min(highest, x));  // in this order nan passes
  Vec<T> shifted = x + round;
  return scale_by_exp2(exp2_poly(x - (shifted - round)), shifted);
}

template <class T>
TG_INLINE Vec<T> expm1(Vec<T> x) {
  Vec<T> one(1), limit(ExpLimits<T>::normal);
  ExpParts<T> e = exp_parts(x);
  Vec<T> scale = scale_of(e), y = fma(e.p, scale, scale - one);
  if (__builtin_expect(any(abs(x) > limit), 0)) y = select(x > limit, exp(x), select(x < -limit, -one, y));
  return with_sign(y, x);  // of -0
}

// |x| <= 0.55: the rational function; beyond: 1 - 2 / (exp(2|x|) + 1), where the subtraction halves all errors, so that
// exp(2|x|) = 2^n 2^f needs no care. One division serves both.
template <class T>
TG_INLINE Vec<T> tanh(Vec<T> x) {
  using C = MathConstants<T>;
  using Int = typename Lane<T>::Int;
  Vec<T> one(1), size = abs(x), z = size * size;
  Vec<T> two_log2_e(2 * C::inv_ln2), round(C::round + C::exponent_bias);
  Vec<T> clamped = min(Vec<T>(ExpLimits<T>::tanh_saturated), size);
  Vec<T> shifted = fma(clamped, two_log2_e, round), f = fma(clamped, two_log2_e, round - shifted);
  Vec<T> scale = bitcast<T>(bitcast<Int>(shifted) << C::mantissa_bits);  // 2^n
  auto large = size > Vec<T>(T(0.55));
  Vec<T> numerator = select(large, Vec<T>(-2), size * (z * tanh_p(z)));
  Vec<T> denominator = select(large, fma(scale, exp2_poly(f), one), tanh_q(z));
  return with_sign(select(large, one, size) + ratio(numerator, denominator), x);
}

// c / (1 + e^x), |x| <= limit: 1 + 2^n is exact or nearly so, 1 + 2^n + 2^n p keeps what its rounding loses.
template <class T>
TG_INLINE Vec<T> over_one_plus_exp(Vec<T> c, ExpParts<T> e) {
  Vec<T> scale = scale_of(e), sum = scale + Vec<T>(1), d = fma(scale, e.p, sum), d_low = fma(scale, e.p, sum - d);
  return ratio(c, d, d_low);
}

template <class T>
TG_INLINE Vec<T> sigmoid(Vec<T> x) {
  Vec<T> limit(ExpLimits<T>::normal), y = over_one_plus_exp(Vec<T>(1), exp_parts(-x));
  if (__builtin_expect(any(abs(x) > limit), 0)) y = select(x > limit, Vec<T>(1), select(x < -limit, exp(x), y));
  return y;
}

// x / (1 + e^-x); at -inf its limit -0.
template <class T>
TG_INLINE Vec<T> silu(Vec<T> x) {
  Vec<T> limit(ExpLimits<T>::normal), y = over_one_plus_exp(x, exp_parts(-x));
  if (__builtin_expect(any(abs(x) > limit), 0)) {
    Vec<T> low = max(Vec<T>(ExpLimits<T>::lowest - 10), x);  // x e^x is 0 there
    ExpParts<T> e = exp_parts(low);
    y = select(x > limit, x, select(x < -limit, scale_by_exp2(fma(low, e.p, low), e.shifted), y));
  }
  return with_sign(y, x);  // of -0
}

}  // namespace
}  // namespace tg

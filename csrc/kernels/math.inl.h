// exp log tanh sigmoid sin cos pow on Vec<float> and Vec<double>, C99 special values, no tables.
//
// Polynomials are own minimax fits (Remez exchange, coefficients rounded one by one and the rest refitted); the schemes
// are the classical ones: Cody & Waite, "Software Manual for the Elementary Functions" (1980); Muller, "Elementary
// Functions" (3rd ed.). Largest errors seen at any level, in ulp (float32 but pow: every float; else random and edges):
//            exp   log   tanh  sigmoid  sin   cos   sqrt  pow
//   float32  0.91  0.83  1.77  1.68     1.54  1.54  0.50  0.501
//   float64  0.85  0.89  1.72  1.66     0.78  0.78  0.50  the C library's
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
  static constexpr float exp_lowest = -104, exp_highest = 89;                 // rounds to 0 below, to inf above
  static constexpr float tanh_saturated = 10;                                 // rounds to 1 from here
  // (expm1(r) - r) / r^2, |r| <= ln2 / 2; expm1 with it is right to 2^-26.1, exp to 2^-27.9.
  TG_INLINE static Vec<float> expm1_tail(Vec<float> r) {
    return poly(r, 0x1.fffffep-2f, 0x1.5554aap-3f, 0x1.55579ep-5f, 0x1.122c7ap-7f, 0x1.6ab2bcp-10f);
  }
  // 2^f, |f| <= 1/2, to 2^-26.3.
  TG_INLINE static Vec<float> exp2_poly(Vec<float> f) {
    return poly(f, 1.0f, 0x1.62e430p-1f, 0x1.ebfb94p-3f, 0x1.c6af9ep-5f, 0x1.3b6816p-7f, 0x1.5ef4d6p-10f,
                0x1.179a1ap-13f);
  }
  // tanh(x) = x + x z p(z) / q(z), z = x^2, |x| <= 0.55, to 2^-28.8.
  TG_INLINE static Vec<float> tanh_p(Vec<float> z) { return poly(z, -0x1.55554ep-2f, -0x1.96e432p-10f); }
  TG_INLINE static Vec<float> tanh_q(Vec<float> z) { return poly(z, 1.0f, 0x1.9e5c62p-2f); }
  // log(1 + f) - f, 2/3 <= 1 + f < 4/3, relative error of log(1 + f) 2^-29.9.
  TG_INLINE static Vec<float> log1p_tail(Vec<float> f) {
    Vec<float> p = poly(f, 0x1.555556p-2f, -0x1.ffff02p-3f, 0x1.99985ep-3f, -0x1.559bb0p-3f, 0x1.24d7b2p-3f,
                        -0x1.f336fep-4f, 0x1.bb4f54p-4f, -0x1.07d6f2p-3f, 0x1.e002b0p-4f);
    Vec<float> f2 = f * f;
    return fma(f2 * f, p, f2 * Vec<float>(-0.5f));
  }
  // sin(r) = r + r z p(z), cos(r) = 1 - z / 2 + z^2 q(z), z = r^2, |r| <= pi / 4, to 2^-27.9 and 2^-33.
  TG_INLINE static Vec<float> sin_tail(Vec<float> z) {
    return poly(z, -0x1.555546p-3f, 0x1.110778p-7f, -0x1.9953fep-13f);
  }
  TG_INLINE static Vec<float> cos_tail(Vec<float> z) {
    return poly(z, 0x1.55554ap-5f, -0x1.6c0c28p-10f, 0x1.99e80cp-16f);
  }
};
template <>
struct MathConstants<double> {
  static constexpr int mantissa_bits = 52, exponent_bias = 1023;
  static constexpr double inf = __builtin_inf(), nan = __builtin_nan("");
  static constexpr double smallest_normal = 0x1p-1022;
  static constexpr double round = 0x1.8p52;
  static constexpr double inv_ln2 = 0x1.71547652b82fep+0;
  static constexpr double ln2_high = 0x1.62e42ffp-1, ln2_low = -0x1.718432a1b0e26p-35;
  static constexpr double exp_lowest = -746, exp_highest = 710;
  static constexpr double tanh_saturated = 20;
  // As above, to 2^-60.8, 2^-55.4 and 2^-63.
  TG_INLINE static Vec<double> expm1_tail(Vec<double> r) {
    return poly(r, 0.5, 0x1.5555555555559p-3, 0x1.5555555555559p-5, 0x1.111111110f6f8p-7, 0x1.6c16c16c161dbp-10,
                0x1.a01a01af9b424p-13, 0x1.a01a01a03ff69p-16, 0x1.71ddf93937846p-19, 0x1.27e4f682071c0p-22,
                0x1.af5d24a0b5cdep-26, 0x1.1f3739e4b70ccp-29);
  }
  TG_INLINE static Vec<double> exp2_poly(Vec<double> f) {
    return poly(f, 1.0, 0x1.62e42fefa39efp-1, 0x1.ebfbdff82c5b3p-3, 0x1.c6b08d704a26fp-5, 0x1.3b2ab6fb9dab3p-7,
                0x1.5d87fe78457b1p-10, 0x1.4309131681191p-13, 0x1.ffcbfe66baacfp-17, 0x1.62bfb49b3345dp-20,
                0x1.b5207f7a9c98ap-24, 0x1.e63bbec6097c0p-28, 0x1.f0f9091e249fep-32);
  }
  TG_INLINE static Vec<double> tanh_p(Vec<double> z) {
    return poly(z, -0x1.5555555555555p-2, -0x1.4fe136fab514ap-6, -0x1.a1dcb6ecd5af2p-13);
  }
  TG_INLINE static Vec<double> tanh_q(Vec<double> z) {
    return poly(z, 1.0, 0x1.d893d3e89b891p-2, 0x1.7da447bd9db61p-6, 0x1.b14c9a82f3e8cp-13);
  }
  // With s = f / (2 + f), log(1 + f) = 2 s + s R(s^2) = f - (f^2 / 2 - s (f^2 / 2 + R)); to 2^-62.7.
  TG_INLINE static Vec<double> log1p_tail(Vec<double> f) {
    Vec<double> s = f / (f + Vec<double>(2)), z = s * s;
    Vec<double> r = z * poly(z, 0x1.555555555554fp-1, 0x1.999999999c179p-2, 0x1.24924921e4536p-2, 0x1.c71c748fbac9ap-3,
                             0x1.745c4adbbd125p-3, 0x1.3b35c0f933c15p-3, 0x1.0dcb8ee2e51dfp-3, 0x1.1b81dd7f3f48bp-3);
    Vec<double> half_f2 = f * f * Vec<double>(0.5);
    return fma(s, half_f2 + r, -half_f2);
  }
  // As above, to 2^-57.9 and 2^-63.9.
  TG_INLINE static Vec<double> sin_tail(Vec<double> z) {
    return poly(z, -0x1.5555555555548p-3, 0x1.111111110f730p-7, -0x1.a01a019be9216p-13, 0x1.71de35552b31cp-19,
                -0x1.ae5e4b83b9b55p-26, 0x1.5d8b55835b75ap-33);
  }
  TG_INLINE static Vec<double> cos_tail(Vec<double> z) {
    return poly(z, 0x1.555555555554bp-5, -0x1.6c16c16c15013p-10, 0x1.a01a019c8ed07p-16, -0x1.27e4f7f141099p-22,
                0x1.1ee9db8e26f94p-29, -0x1.8fa65e897f2e3p-37);
  }
};

// ---- exp, tanh, sigmoid

// x = n ln2 + r with n an integer and |r| <= ln2 / 2; the low bits of `shifted` are n.
template <class T>
struct ExpReduced {
  Vec<T> shifted, n, expm1_r;
};
template <class T>
TG_INLINE ExpReduced<T> reduce_exp(Vec<T> x) {
  using C = MathConstants<T>;
  Vec<T> shifted = fma(x, Vec<T>(C::inv_ln2), Vec<T>(C::round));
  Vec<T> n = shifted - Vec<T>(C::round);
  Vec<T> high = fma(n, Vec<T>(-C::ln2_high), x), low = n * Vec<T>(-C::ln2_low), r = high + low;
  // The rounding of r does not matter in the tail, and is avoided in the head.
  return {shifted, n, high + fma(r * r, C::expm1_tail(r), low)};
}

// 2^n for n in the low bits, in the range of normal numbers.
template <class T>
TG_INLINE Vec<T> exp2_of_bits(Vec<typename Lane<T>::Int> n) {
  using C = MathConstants<T>;
  return bitcast<T>((n + Vec<typename Lane<T>::Int>(C::exponent_bias)) << C::mantissa_bits);
}
// y * 2^n, rounded once, also where 2^n or the result leaves the range of normal numbers.
template <class T>
TG_INLINE Vec<T> scale_by_exp2(Vec<T> y, ExpReduced<T> x) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return (typename Vec<T>::raw)_mm512_maskz_scalef_ps(0xffff, (__m512)y.v, (__m512)x.n.v);
  if constexpr (sizeof(T) == 8) return (typename Vec<T>::raw)_mm512_maskz_scalef_pd(0xff, (__m512d)y.v, (__m512d)x.n.v);
#else
  using Int = typename Lane<T>::Int;
  Vec<Int> n = bitcast<Int>(x.shifted), half = bitcast<Int>(bitcast<int32_t>(x.shifted) >> 1);
  return y * exp2_of_bits<T>(half) * exp2_of_bits<T>(n - half);
#endif
}

template <class T>
TG_INLINE Vec<T> exp(Vec<T> x) {
  using C = MathConstants<T>;
  x = max(Vec<T>(C::exp_lowest), min(Vec<T>(C::exp_highest), x));  // in this order nan passes
  ExpReduced<T> reduced = reduce_exp(x);
  return scale_by_exp2(reduced.expm1_r + Vec<T>(1), reduced);
}

// |x| <= 0.55: the rational function; beyond: 1 - 2 / (exp(2|x|) + 1), where the subtraction halves all errors, so that
// exp(2|x|) = 2^n 2^f needs no care. One division serves both.
template <class T>
TG_INLINE Vec<T> tanh(Vec<T> x) {
  using C = MathConstants<T>;
  using Int = typename Lane<T>::Int;
  Vec<T> one(1), size = abs(x), z = size * size;
  Vec<T> two_log2_e(2 * C::inv_ln2), round(C::round + C::exponent_bias), clamped = min(Vec<T>(C::tanh_saturated), size);
  Vec<T> shifted = fma(clamped, two_log2_e, round), f = fma(clamped, two_log2_e, round - shifted);
  Vec<T> scale = bitcast<T>(bitcast<Int>(shifted) << C::mantissa_bits);  // 2^n
  auto large = size > Vec<T>(T(0.55));
  Vec<T> numerator = select(large, Vec<T>(-2), size * (z * C::tanh_p(z)));
  Vec<T> denominator = select(large, fma(scale, C::exp2_poly(f), one), C::tanh_q(z));
  Vec<T> y = select(large, one, size) + numerator / denominator;
  return bitcast<T>(bitcast<Int>(y) | (bitcast<Int>(x) & bitcast<Int>(Vec<T>(T(-0.0)))));
}

// With |x| = n ln2 + r: sigmoid(-|x|) = 2^-n / (2^-n + e^r), and sigmoid(|x|) is 1 minus that. Nothing overflows, and
// small results keep their digits.
template <class T>
TG_INLINE Vec<T> sigmoid(Vec<T> x) {
  using C = MathConstants<T>;
  Vec<T> one(1);
  ExpReduced<T> e = reduce_exp(min(Vec<T>(-C::exp_lowest), abs(x)));
  Vec<T> scale = scale_by_exp2(one, {Vec<T>(C::round) - e.n, -e.n, e.expm1_r});
  Vec<T> sum = one + scale, error = (one - sum) + scale;
  Vec<T> y = scale / (sum + (error + e.expm1_r));
  return select(x < Vec<T>(0), y, one - y);
}

// ---- log

// x = 2^k m with 2/3 <= m < 4/3, for positive finite x.
template <class T>
struct LogReduced {
  Vec<T> k, m;
};
TG_INLINE LogReduced<float> reduce_log(Vec<float> x) {
  Vec<int32_t> lowest(0x3f2aaaab);  // 2/3
  Vec<int32_t> bits = bitcast<int32_t>(x), k = (bits - lowest) >> 23;
  return {convert<float>(k), bitcast<float>(bits - (k << 23))};
}
TG_INLINE LogReduced<double> reduce_log(Vec<double> x) {
  // k + 1023 by a shift that needs no sign, then to floating point by writing it into the mantissa of 2^52.
  Vec<int64_t> bits = bitcast<int64_t>(x), biased = bits + Vec<int64_t>((INT64_C(1023) << 52) - 0x3fe5555555555555);
  Vec<int64_t> k = shift_right_zero(biased, 52);
  Vec<double> k_value = bitcast<double>(k | bitcast<int64_t>(Vec<double>(0x1p52))) - Vec<double>(0x1p52 + 1023);
  return {k_value, bitcast<double>(bits - ((k - Vec<int64_t>(1023)) << 52))};
}

template <class T>
TG_INLINE Vec<T> log(Vec<T> x) {
  using C = MathConstants<T>;
  Vec<T> smallest(C::smallest_normal), normal = x, offset(0);
  bool special = !all((x >= smallest) & (x < Vec<T>(C::inf)));
  if (__builtin_expect(special, 0)) {  // denormals
    normal = select(x < smallest, x * Vec<T>(T(int64_t(1) << C::mantissa_bits)), x);
    offset = select(x < smallest, Vec<T>(-C::mantissa_bits), Vec<T>(0));
  }
  LogReduced<T> reduced = reduce_log(normal);
  Vec<T> k = reduced.k + offset, f = reduced.m - Vec<T>(1);
  Vec<T> y = fma(k, Vec<T>(C::ln2_high), f + fma(k, Vec<T>(C::ln2_low), C::log1p_tail(f)));
  if (__builtin_expect(special, 0)) {
    y = select(x < Vec<T>(C::inf), y, x);  // inf and nan
    y = select(x > Vec<T>(0), y, select(x == Vec<T>(0), Vec<T>(-C::inf), Vec<T>(C::nan)));
  }
  return y;
}

// ---- sin, cos: x = n pi/2 + r, |r| <= pi/4; n picks the polynomial and the sign.

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

// sin(n pi/2 + r + r_low) for n in the low bits of `quadrant`; r_low is a correction below half an ulp of r.
template <class T>
TG_INLINE Vec<T> sin_quadrant(Vec<typename Lane<T>::Int> quadrant, Vec<T> r, Vec<T> r_low) {
  using C = MathConstants<T>;
  using Int = typename Lane<T>::Int;
  Vec<T> z = r * r, half_z = z * Vec<T>(T(0.5));
  Vec<T> s = r + fma(z * r, C::sin_tail(z), fma(-half_z, r_low, r_low));
  // 1 - z/2 with its rounding error: (1 - z/2) is at least 0.69.
  Vec<T> w = Vec<T>(1) - half_z, error = (Vec<T>(1) - w) - half_z;
  Vec<T> c = w + (error + fma(z * z, C::cos_tail(z), -r * r_low));
  Vec<T> y = select((quadrant & Vec<Int>(1)) == Vec<Int>(0), s, c);
  return bitcast<T>(bitcast<Int>(y) ^ ((quadrant & Vec<Int>(2)) << (8 * int(sizeof(T)) - 2)));
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
TG_INLINE Vec<float> sin_with_phase(Vec<float> x) {
  Vec<double> n_low, n_high, r_low, r_high;
  reduce_half_pi(widen_low(x), n_low, r_low);
  reduce_half_pi(widen_high(x), n_high, r_high);
  Vec<int32_t> quadrant = convert<int32_t>(narrow(n_low, n_high)) + Vec<int32_t>(phase);
  return fix_huge<phase>(x, sin_quadrant(quadrant, narrow(r_low, r_high), Vec<float>(0)));
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
  return fix_huge<phase>(x, sin_quadrant(quadrant, r, r_low));
}
template <class T>
TG_INLINE Vec<T> sin(Vec<T> x) {
  return select(x == Vec<T>(0), x, sin_with_phase<0>(x));  // keeps -0
}
template <class T>
TG_INLINE Vec<T> cos(Vec<T> x) {
  return sin_with_phase<1>(x);
}

// ---- pow

// a^b for finite b and a >= 0 that came from float32, right to 2^-33: 2^(b log2 a), clamped to [2^-160, 2^160].
TG_INLINE Vec<double> pow_for_float(Vec<double> a, Vec<double> b) {
  using C = MathConstants<double>;
  using V = Vec<double>;
  auto [k, m] = reduce_log(a);
  V s = (m - V(1)) / (m + V(1)), z = s * s;
  V l = fma(s,
            poly(z, 0x1.71547652b7e99p+1, 0x1.ec709dcb51da3p-1, 0x1.2776bc56ab542p-1, 0x1.a61e99716cd4dp-2,
                 0x1.46f3411f2163dp-2, 0x1.29c90d988d51ap-2),
            k);
  l = select(a == V(0), V(-C::inf), select(a < V(C::inf), l, a));
  V e = max(V(-160), min(V(160), b * l));  // in this order nan passes
  V shifted = e + V(C::round), t = e - (shifted - V(C::round));
  V p = poly(t, 1.0, 0x1.62e42ff0e1e4ep-1, 0x1.ebfbe077b566bp-3, 0x1.c6b08ac03f213p-5, 0x1.3b29f36dc4eb1p-7,
             0x1.5d8a8596b5d6cp-10, 0x1.445cacdb7982bp-13, 0x1.fde715d0a7b0ep-17);
  return p * exp2_of_bits<double>(bitcast<int64_t>(shifted));
}

TG_INLINE Vec<float> pow(Vec<float> a, Vec<float> b) {
  using C = MathConstants<float>;
  using V = Vec<float>;
  V size = abs(a), exponent = max(V(-0x1.fffffep127f), min(V(0x1.fffffep127f), b));
  V y = narrow(pow_for_float(widen_low(size), widen_low(exponent)),
               pow_for_float(widen_high(size), widen_high(exponent)));
  auto small = abs(b) < V(0x1p24f);  // larger b are even integers
  Vec<int32_t> n = convert<int32_t>(select(small, b, V(0)));
  auto whole = (!small) | (convert<float>(n) == b);
  Vec<int32_t> odd_sign = select(whole, n << 31, Vec<int32_t>(0));
  y = bitcast<float>(bitcast<int32_t>(y) | (bitcast<int32_t>(a) & odd_sign));
  y = select((a < V(0)) & (a > V(-C::inf)) & !whole, V(C::nan), y);
  return select((a == V(1)) | (b == V(0)), V(1), y);
}

TG_INLINE Vec<double> pow(Vec<double> a, Vec<double> b) {
  for (int i = 0; i < a.size; ++i) a.v[i] = __builtin_pow(a.v[i], b.v[i]);
  return a;
}

// Integers: by squaring, modulo 2^bits. A negative exponent gives the quotient 1 / a^-b truncated, and 0 for a == 0.
template <class T>
TG_INLINE Vec<T> pow(Vec<T> a, Vec<T> b) {
  using V = Vec<T>;
  V power = a, y = V(1), one = V(1), zero = V(0);
  for (V left = b; any(left != zero); left = shift_right_zero(left, 1), power *= power) {
    y = select((left & one) == zero, y, y * power);
  }
  if constexpr (T(-1) < T(0)) {
    V sign = select((b & one) == zero, one, V(-1));
    V reciprocal = select(a == one, one, select(a == V(-1), sign, zero));
    y = select(b < zero, reciprocal, y);
  }
  return y;
}

// ---- maximum, minimum: nan wins (a comparison with nan is false, so max and min give b there)

template <class T>
TG_INLINE Vec<T> maximum(Vec<T> a, Vec<T> b) {
  if constexpr (T(0.5) == T(0)) return max(a, b);
  return select(a != a, a, max(a, b));
}
template <class T>
TG_INLINE Vec<T> minimum(Vec<T> a, Vec<T> b) {
  if constexpr (T(0.5) == T(0)) return min(a, b);
  return select(a != a, a, min(a, b));
}

}  // namespace
}  // namespace tg

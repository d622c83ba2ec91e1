// pow on vectors: 2^(b log2 a) with log2 a to about twice the precision; integers by squaring.
#pragma once
#include "kernels/math_exp.inl.h"

namespace tg {
namespace {

// m in cell i, around 1 + i / 16: inverse[i] is 1 / m to 5 or 6 bits, so that inverse * m - 1 is exact, and high + low
// is its -log2, of which k + high is exact.
template <class T>
struct PowTable;
template <>
struct PowTable<float> {
  alignas(64) static constexpr float inverse[16] = {1.0f,     0.9375f, 0.875f,   0.84375f, 0.8125f, 0.75f,
                                                    0.71875f, 0.6875f, 0.65625f, 0.625f,   0.625f,  0.59375f,
                                                    0.5625f,  0.5625f, 0.53125f, 0.515625f};
  alignas(64) static constexpr float high[16] = {0,
                                                 0x1.7d6000p-4f,
                                                 0x1.8a9000p-3f,
                                                 0x1.f60000p-3f,
                                                 0x1.32c000p-2f,
                                                 0x1.a90000p-2f,
                                                 0x1.e7e000p-2f,
                                                 0x1.14c400p-1f,
                                                 0x1.372400p-1f,
                                                 0x1.5b2c00p-1f,
                                                 0x1.5b2c00p-1f,
                                                 0x1.811000p-1f,
                                                 0x1.a90000p-1f,
                                                 0x1.a90000p-1f,
                                                 0x1.d33800p-1f,
                                                 0x1.e94400p-1f};
  alignas(64) static constexpr float low[16] = {0,
                                                0x1.25b3eep-22f,
                                                -0x1.9fd502p-17f,
                                                -0x1.3ab7cep-18f,
                                                -0x1.1c8f12p-22f,
                                                -0x1.a39fbep-20f,
                                                -0x1.40358ep-19f,
                                                0x1.60fe68p-17f,
                                                -0x1.d448f8p-17f,
                                                0x1.ed0cbap-20f,
                                                0x1.ed0cbap-20f,
                                                -0x1.6b9026p-19f,
                                                -0x1.a39fbep-19f,
                                                -0x1.a39fbep-19f,
                                                0x1.20a6dep-21f,
                                                0x1.2c8a72p-17f};
  static constexpr float log2_e = 0x1.715476p+0f, log2_e_low = 0x1.4ae0cp-26f;
  static constexpr float normal = 125;  // |e| up to here: 2^e is normal
};
template <>
struct PowTable<double> {
  alignas(64) static constexpr double inverse[16] = {1.0,     0.9375, 0.875,   0.84375, 0.8125, 0.75,
                                                     0.71875, 0.6875, 0.65625, 0.625,   0.625,  0.59375,
                                                     0.5625,  0.5625, 0.53125, 0.515625};
  alignas(64) static constexpr double high[16] = {0,
                                                  0x1.7d60496d00000p-4,
                                                  0x1.8a8980abf8000p-3,
                                                  0x1.f5fd8a9060000p-3,
                                                  0x1.32bfee3710000p-2,
                                                  0x1.a8ff971810000p-2,
                                                  0x1.e7df5fe538000p-2,
                                                  0x1.14c560fe68000p-1,
                                                  0x1.37222bb708000p-1,
                                                  0x1.5b2c3da198000p-1,
                                                  0x1.5b2c3da198000p-1,
                                                  0x1.810fa51bf6000p-1,
                                                  0x1.a8ff971810000p-1,
                                                  0x1.a8ff971810000p-1,
                                                  0x1.d338120a6e000p-1,
                                                  0x1.e9452c8a72000p-1};
  alignas(64) static constexpr double low[16] = {0,
                                                 -0x1.12ce6312ebb82p-42,
                                                 0x1.e9933354dbf17p-42,
                                                 0x1.f1a4847f7b278p-42,
                                                 -0x1.1979a5db68722p-42,
                                                 0x1.4bc302ffa76fbp-43,
                                                 0x1.5669df6a2b592p-43,
                                                 0x1.5f101c141e670p-42,
                                                 -0x1.708b4b2b5056cp-42,
                                                 -0x1.b8afe492bf6ffp-42,
                                                 -0x1.b8afe492bf6ffp-42,
                                                 0x1.7f5dc57266758p-43,
                                                 0x1.4bc302ffa76fbp-42,
                                                 0x1.4bc302ffa76fbp-42,
                                                 -0x1.3167ccc538261p-44,
                                                 -0x1.fb0e626c0de13p-42};
  static constexpr double log2_e = 0x1.71547652b82fep+0, log2_e_low = 0x1.777d0ffda0d24p-56;
  static constexpr double normal = 1021;
};

// (log(1 + f) - f + f^2 / 2) / f^3, |f| <= 0.047; log(1 + f) to 2^-37.9 and 2^-67.2.
TG_INLINE Vec<float> log1p_cubic(Vec<float> f) {
  return poly(f, 0x1.555556p-2f, -0x1.ffffd4p-3f, 0x1.9992c2p-3f, -0x1.5631bep-3f, 0x1.2d20a2p-3f);
}
TG_INLINE Vec<double> log1p_cubic(Vec<double> f) {
  return poly(f, 0x1.5555555555557p-2, -0x1.0000000000005p-2, 0x1.9999999994080p-3, -0x1.555555554a86cp-3,
              0x1.24924952ee240p-3, -0x1.0000004410702p-3, 0x1.c71b26c084cfbp-4, -0x1.99980a5869023p-4,
              0x1.76709301a531bp-4, -0x1.577ec0c13374dp-4);
}

TG_INLINE Vec<float> integer_value(Vec<int32_t> k) { return convert<float>(k); }
TG_INLINE Vec<double> integer_value(Vec<int64_t> k) {  // |k| < 2^51
  Vec<double> magic(0x1.8p52);
  return bitcast<double>(k + bitcast<int64_t>(magic)) - magic;
}
// m r - 1, exactly, for m in [1/2, 2) and r of few bits.
template <class T>
TG_INLINE Vec<T> product_minus_one(Vec<T> m, Vec<T> r) {
  if constexpr (kFusedMultiplyAdd) return fused(m, r, Vec<T>(-1));
  Vec<T> upper = upper_half(m);
  return (upper * r - Vec<T>(1)) + (m - upper) * r;
}

// b log2(a 2^offset) for normal a > 0.
template <class T>
TG_INLINE Pair<T> times_log2(Vec<T> b, Vec<T> a, Vec<T> offset) {
  using C = MathConstants<T>;
  using P = PowTable<T>;
  using Int = typename Lane<T>::Int;
  Vec<Int> bits = bitcast<Int>(a), above = bits - bitcast<Int>(Vec<T>(T(0.984375)));  // 63 / 64, where cell 0 begins
  Vec<Int> k = above >> C::mantissa_bits, cell = above >> (C::mantissa_bits - 4);
  Vec<T> f = product_minus_one(bitcast<T>(bits - (k << C::mantissa_bits)), lookup16(P::inverse, cell));
  Vec<T> whole = (integer_value(k) + offset) + lookup16(P::high, cell);
  // f - f^2 / 2 + f^3 q as u + u_low
  Pair<T> square = two_product(f, f);
  Vec<T> minus_half(T(-0.5)), u = fma(square.high, minus_half, f);
  Vec<T> u_low = fma(square.high, minus_half, f - u) + fma(square.low, minus_half, square.high * f * log1p_cubic(f));
  Pair<T> p = two_product(u, Vec<T>(P::log2_e));
  p.low += fma(u, Vec<T>(P::log2_e_low), u_low * Vec<T>(P::log2_e)) + lookup16(P::low, cell);
  Vec<T> l = whole + p.high, l_low = ((whole - l) + p.high) + p.low;
  Pair<T> product = two_product(b, l);
  return {product.high, fma(b, l_low, product.low)};
}
template <class T>
struct Exp2Parts {
  Vec<T> shifted, m;
};
// 2^e = 2^n m with n in the low bits of `shifted`.
template <class T>
TG_INLINE Exp2Parts<T> exp2_parts(Pair<T> e) {
  Vec<T> round(MathConstants<T>::round), shifted = (e.high + e.low) + round;  // e.low may be as large as 2
  return {shifted, exp2_poly((e.high - (shifted - round)) + e.low)};
}

// Every case of a^b.
TG_INLINE Vec<double> pow_special(Vec<double> a, Vec<double> b) {
  using C = MathConstants<double>;
  using V = Vec<double>;
  V size = abs(a), inf(C::inf), zero(0), one(1);
  auto tiny = size < V(C::smallest_normal), plain = (size > zero) & (size < inf);
  V normal = select(plain, select(tiny, size * V(0x1p54), size), one);
  // 2^-66 stands for every smaller |b|, 2^65 for every larger one.
  V b_size = max(V(0x1p-66), min(V(0x1p65), abs(b)));
  Pair<double> e = times_log2(with_sign(b_size, b), normal, select(plain & tiny, V(-54), zero));
  V clamped = max(V(-1100), min(V(1100), e.high));
  Exp2Parts<double> parts = exp2_parts<double>({clamped, select(clamped == e.high, e.low, zero)});
  V y = scale_by_exp2(parts.m, parts.shifted);
  // 0 and inf to the power b.
  V at_zero = select(b < zero, inf, zero), at_inf = select(b < zero, zero, inf);
  y = select(size == zero, at_zero, select(size == inf, at_inf, y));
  // Negative a: whole b keep or change the sign; |b| >= 2^53 is even.
  V magic(0x1p52), b_abs = abs(b), rounded = (b_abs + magic) - magic;
  auto small = b_abs < magic, whole = (!small) | (rounded == b_abs);
  V half = b_abs * V(0.5), half_rounded = (half + magic) - magic;
  auto odd = whole & (b_abs < V(0x1p53)) & (half_rounded != half);
  y = select(odd, with_sign(y, a), y);
  y = select((a < zero) & (size < inf) & !whole, V(C::nan), y);
  y = select((a != a) | (b != b), a + b, y);
  return select((a == one) | (b == zero) | ((a == -one) & (b_abs == inf)), one, y);
}
TG_INLINE Vec<float> pow_special(Vec<float> a, Vec<float> b) {
  return narrow(pow_special(widen_low(a), widen_low(b)), pow_special(widen_high(a), widen_high(b)));
}

template <class T>
TG_INLINE Vec<T> pow_floating(Vec<T> a, Vec<T> b) {
  using C = MathConstants<T>;
  if constexpr (!kFusedMultiplyAdd && sizeof(T) == 4) return pow_special(a, b);
  Pair<T> e = times_log2(b, a, Vec<T>(0));
  Exp2Parts<T> parts = exp2_parts(e);
  Vec<T> y = parts.m * exp2_of_bits<T>(bitcast<typename Lane<T>::Int>(parts.shifted));
  auto usual = (a >= Vec<T>(C::smallest_normal)) & (a < Vec<T>(C::inf)) & (abs(e.high) < Vec<T>(PowTable<T>::normal));
  if (__builtin_expect(!all(usual), 0)) y = select(usual, y, pow_special(a, b));
  return y;
}
TG_INLINE Vec<float> pow(Vec<float> a, Vec<float> b) { return pow_floating(a, b); }
TG_INLINE Vec<double> pow(Vec<double> a, Vec<double> b) { return pow_floating(a, b); }

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

}  // namespace
}  // namespace tg

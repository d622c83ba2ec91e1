// tan asin acos atan atan2 sinh cosh asinh acosh atanh erfc on vectors: computed in double, for float as well, and not
// inlined. They are less common, and so take little room in the three copies of the kernels.
#pragma once
#include "kernels/math_erf.inl.h"
#include "kernels/math_log.inl.h"
#include "kernels/math_trig.inl.h"

namespace tg {
namespace {

using Doubles = Vec<double>;
#define TG_OUTLINE __attribute__((noinline))

TG_OUTLINE Doubles tan(Doubles x) { return sin(x) / cos(x); }

// (atan(t) - t) / t^3 of z = t^2, |t| <= tan(pi / 8); atan to 2^-58.
TG_INLINE Doubles atan_tail(Doubles z) {
  return poly(z, -0x1.5555555555555p-2, 0x1.9999999999953p-3, -0x1.249249248d7dcp-3, 0x1.c71c71c303dbbp-4,
              -0x1.745d165dc9713p-4, 0x1.3b1392d519db1p-4, -0x1.110e87b4357c8p-4, 0x1.e19a0bfa3ee31p-5,
              -0x1.ac7a5a79b3a12p-5, 0x1.74dccfb93eb36p-5, -0x1.1b311bb4891dap-5, 0x1.0acd9e919f898p-6);
}
// The smaller over the larger of |x| and |y|, or, beyond tan(pi / 8), what is to be added to tan(pi / 4), leads to
// k pi / 4 + or - atan(t).
TG_OUTLINE Doubles atan2(Doubles y, Doubles x) {
  Doubles zero(0), one(1), x_size = abs(x), y_size = abs(y), low = min(x_size, y_size), high = max(x_size, y_size);
  auto equal = (low == high) & ((low == zero) | (low == Doubles(MathConstants<double>::inf)));  // 0 / 0, inf / inf
  high = select(equal, one, high);
  low = select(equal, select(low == zero, zero, one), low);
  Doubles scale = select(high > Doubles(0x1p1000), Doubles(0x1p-100), one);
  low = low * scale, high = high * scale;
  auto large = low > high * Doubles(0x1.a827999fcef32p-2);
  Doubles t = select(large, low - high, low) / select(large, low + high, high);
  Doubles k = select(large, one, zero), z = t * t, angle = fma(t * z, atan_tail(z), t);
  auto steep = y_size > x_size, left = bitcast<int64_t>(x) < Vec<int64_t>(0);
  k = select(steep, Doubles(2) - k, k);
  k = select(left, Doubles(4) - k, k);
  angle = select(steep ^ left, -angle, angle);
  // pi / 4 in two parts, of which the first times k is exact.
  Doubles result = fma(k, Doubles(0x1.921fb54442d18p-1), fma(k, Doubles(0x1.1a62633145c07p-55), angle));
  return select((x != x) | (y != y), x + y, with_sign(result, y));
}
TG_INLINE Doubles atan(Doubles x) { return atan2(x, Doubles(1)); }
// The other side of the triangle: 1 - x^2 rounded once.
TG_INLINE Doubles other_side(Doubles x) { return sqrt(residual(Doubles(1), x, x)); }
TG_INLINE Doubles asin(Doubles x) { return atan2(x, other_side(x)); }
TG_INLINE Doubles acos(Doubles x) { return atan2(other_side(x), x); }

// e^x / 2 where e^x may overflow.
TG_INLINE Doubles half_exp(Doubles x) {
  Doubles root = exp(x * Doubles(0.5));
  return root * Doubles(0.5) * root;
}
TG_OUTLINE Doubles sinh(Doubles x) {
  Doubles size = abs(x), limit(ExpLimits<double>::normal), u = expm1(min(limit, size));
  Doubles y = Doubles(0.5) * (u + u / (u + Doubles(1)));
  if (__builtin_expect(any(size > limit), 0)) y = select(size > limit, half_exp(size), y);
  return with_sign(y, x);
}
TG_OUTLINE Doubles cosh(Doubles x) {
  Doubles size = abs(x), limit(ExpLimits<double>::normal), half = exp(min(limit, size)) * Doubles(0.5);
  Doubles y = half + Doubles(0.25) / half;
  if (__builtin_expect(any(size > limit), 0)) y = select(size > limit, half_exp(size), y);
  return y;
}
constexpr double kLn2 = 0x1.62e42fefa39efp-1;
TG_OUTLINE Doubles asinh(Doubles x) {
  Doubles size = abs(x), square = size * size, one(1), limit(0x1p30);
  Doubles y = log1p(size + square / (one + sqrt(one + square)));
  if (__builtin_expect(any(size > limit), 0)) y = select(size > limit, log(size) + Doubles(kLn2), y);
  return with_sign(y, x);
}
TG_OUTLINE Doubles acosh(Doubles x) {
  Doubles one(1), above = x - one, limit(0x1p30), y = log1p(above + sqrt(above * (above + Doubles(2))));
  if (__builtin_expect(any(x > limit), 0)) y = select(x > limit, log(x) + Doubles(kLn2), y);
  return select(x < one, Doubles(MathConstants<double>::nan), y);
}
TG_OUTLINE Doubles atanh(Doubles x) {
  Doubles size = abs(x), y = log1p(Doubles(2) * size / (Doubles(1) - size)) * Doubles(0.5);
  return with_sign(y, x);
}

// 2 Phi(-a) with a = sqrt(2) |x|, and e^(-a^2 / 2) from x itself: the rounding of a would be multiplied by a^2.
TG_OUTLINE Doubles erfc(Doubles x) {
  Doubles size = min(Doubles(NormalLimits<double>::lowest * 0.7071), abs(x));
  Pair<double> square = two_product(size, size);
  NormalTail<double> tail =
      normal_tail(size * Doubles(0x1.6a09e667f3bcdp+0), exp_parts(-square.high, -square.low), Doubles(2));
  Doubles y = scale_by_exp2(tail.m + tail.m_low, tail.shifted);
  return select(x < Doubles(0), Doubles(2) - y, y);
}

#define NARROW(f) \
  TG_INLINE Vec<float> f(Vec<float> x) { return narrow(f(widen_low(x)), f(widen_high(x))); }
NARROW(tan)
NARROW(asin)
NARROW(acos)
NARROW(atan)
NARROW(sinh)
NARROW(cosh)
NARROW(asinh)
NARROW(acosh)
NARROW(atanh)
NARROW(erfc)
#undef NARROW
#undef TG_OUTLINE
TG_INLINE Vec<float> atan2(Vec<float> y, Vec<float> x) {
  return narrow(atan2(widen_low(y), widen_low(x)), atan2(widen_high(y), widen_high(x)));
}

}  // namespace
}  // namespace tg

// The vector math of the kernels: exp exp2 expm1 tanh sigmoid silu log log2 log10 log1p softplus sin cos erf gelu pow
// maximum minimum, rounding and remainders, and the less common functions of math_wide.inl.h, for Vec<float> and
// Vec<double>, with C99's special values.
//
// Polynomials are own minimax fits (Lawson's or Remez' exchange, coefficients rounded one by one and the rest
// refitted); the schemes are the classical ones: Cody & Waite, "Software Manual for the Elementary Functions" (1980);
// Muller, "Elementary Functions" (3rd ed.). The largest errors are in docs/accuracy.md.
#pragma once
#include "kernels/math_erf.inl.h"
#include "kernels/math_exp.inl.h"
#include "kernels/math_log.inl.h"
#include "kernels/math_pow.inl.h"
#include "kernels/math_round.inl.h"
#include "kernels/math_trig.inl.h"
#include "kernels/math_wide.inl.h"

namespace tg {
namespace {

// nan wins (a comparison with nan is false, so max and min give b there)

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

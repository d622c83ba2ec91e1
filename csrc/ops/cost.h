// What elements cost, in ns on one core: the one place from which it follows whether an op runs on several threads.
#pragma once
#include <type_traits>

#include "kernels/elementwise.inl.h"

namespace tg {

// Estimates for AVX2 and better. An op that is missing here counts as cheap: memory is its cost.
inline constexpr double kByteNs = 0.012;  // reading or writing a byte that lies in a cache
inline constexpr double kPackNs = 0.15;   // an element read through strides
inline constexpr double kDearNs = 0.2;    // exp and its like, float32; twice that in float64
inline constexpr double kPowNs = 1.5;

template <class F, class... Fs>
inline constexpr bool is_any_of = (std::is_same_v<F, Fs> || ...);
template <class F>
inline constexpr double kComputeNs = is_any_of<F, Pow>                                 ? kPowNs
                                     : is_any_of<F, Exp, Log, Sin, Cos, Tanh, Sigmoid> ? kDearNs
                                                                                       : 0;
// A gradient that has the result at hand need not compute its function again.
template <class F, unsigned needs>
inline constexpr double kGradientNs = (needs & kNeedsA) && !(needs & kNeedsY) ? kComputeNs<F> : 0;

}  // namespace tg

// What elements cost, in ns on one core: from it follows whether an op runs on several threads.
#pragma once

namespace tg {

inline constexpr double kByteNs = 0.012;      // reading or writing a byte that lies in a cache
inline constexpr double kFlopNs = 1.0 / 160;  // of a product in float32, with AVX-512
inline constexpr double kPackNs = 0.15;       // an element read through strides

// What a functor or its gradient computes beside that; one that states nothing is cheap.
template <class F>
inline constexpr double kComputeNs = [] {
  if constexpr (requires { F::ns; }) return F::ns;
  return 0.0;
}();
template <class F>
inline constexpr double kGradientNs = [] {
  if constexpr (requires { F::grad_ns; }) return F::grad_ns;
  return 0.0;
}();

}  // namespace tg

// Dtypes: sizes, names and PyTorch's promotion rules.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace tg {

enum class DType : uint8_t { Bool, UInt8, Int32, Int64, Float32, Float64 };
inline constexpr int kNumDTypes = 6;

constexpr size_t itemsize(DType t) {
  constexpr size_t sizes[kNumDTypes] = {1, 1, 4, 8, 4, 8};
  return sizes[static_cast<int>(t)];
}
constexpr const char* name(DType t) {
  constexpr const char* names[kNumDTypes] = {"bool", "uint8", "int32", "int64", "float32", "float64"};
  return names[static_cast<int>(t)];
}
constexpr bool is_float(DType t) { return t >= DType::Float32; }
constexpr bool is_integral(DType t) { return t < DType::Float32; }  // bool included
// The enumerators stand in the order of promotion: the wider of two dtypes is the larger one.
constexpr DType promote(DType a, DType b) { return a > b ? a : b; }
// 0: bool, 1: integer, 2: float. A Python number or a 0-d tensor promotes only by category.
constexpr int category(DType t) { return t == DType::Bool ? 0 : is_float(t) ? 2 : 1; }

// Calls f(T{}) with the C++ type of `t`.
template <class F>
decltype(auto) dispatch(DType t, F&& f) {
  switch (t) {
    case DType::Bool: return f(bool{});
    case DType::UInt8: return f(uint8_t{});
    case DType::Int32: return f(int32_t{});
    case DType::Int64: return f(int64_t{});
    case DType::Float32: return f(float{});
    default: return f(double{});
  }
}

// The same for reading elements: bools as bytes, which in memory shared with others need not be 0 or 1.
template <class F>
decltype(auto) dispatch_stored(DType t, F&& f) {
  return t == DType::Bool ? f(uint8_t{}) : dispatch(t, f);
}

// A float cast to an integer type is truncated; nan and what is out of range give the lowest value, as x86 and so the
// kernels have it. uint8 goes through int32.
template <class T, class From>
T convert_element(From x) {
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool> && std::is_floating_point_v<From>) {
    using Int = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
    constexpr double bound = sizeof(T) == 8 ? 0x1p63 : 0x1p31;
    const double truncated = std::trunc(static_cast<double>(x));
    const bool fits = truncated >= -bound && truncated < bound;
    return static_cast<T>(fits ? static_cast<Int>(truncated) : std::numeric_limits<Int>::min());
  } else {
    return static_cast<T>(x);
  }
}

}  // namespace tg

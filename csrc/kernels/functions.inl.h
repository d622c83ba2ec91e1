// Functors of the elementary functions whose derivatives are left to the ops, and of what has no slope: rounding, sign.
#pragma once
#include "kernels/activations.inl.h"
#include "kernels/kernel_table.h"

namespace tg {
namespace {

// dL/dx from g, x and y; `ns` is the cost of a float32 element.
#define FUNCTION(Functor, function, NEEDS, NS, GRADIENT)                              \
  struct Functor {                                                                    \
    static constexpr unsigned needs = NEEDS | kInOps;                                 \
    static constexpr double ns = NS;                                                  \
    template <class V>                                                                \
    TG_INLINE static V forward(V x) {                                                 \
      return function;                                                                \
    }                                                                                 \
    template <class V>                                                                \
    static V grad([[maybe_unused]] V g, [[maybe_unused]] V x, [[maybe_unused]] V y) { \
      return GRADIENT;                                                                \
    }                                                                                 \
  };
FUNCTION(Exp2, exp2(x), kNeedsY, 0.2, g*(y* V(0.6931471805599453)))  // ln 2
FUNCTION(Log2, log2(x), kNeedsA, 0.4, g / (x * V(0.6931471805599453)))
FUNCTION(Log10, log10(x), kNeedsA, 0.4, g / (x * V(2.302585092994046)))  // ln 10
FUNCTION(Rsqrt, V(1) / sqrt(x), kNeedsY, 0.2, V(-0.5) * g * (y * y * y))
FUNCTION(Tan, tan(x), kNeedsY, 1.5, g*(V(1) + y * y))
FUNCTION(Asin, asin(x), kNeedsA, 2, g / sqrt((V(1) - x) * (V(1) + x)))
FUNCTION(Acos, acos(x), kNeedsA, 2, -g / sqrt((V(1) - x) * (V(1) + x)))
FUNCTION(Atan, atan(x), kNeedsA, 2, g / (V(1) + x * x))
FUNCTION(Sinh, sinh(x), kNeedsA, 1.5, g* cosh(x))
FUNCTION(Cosh, cosh(x), kNeedsA, 1.5, g* sinh(x))
FUNCTION(Asinh, asinh(x), kNeedsA, 2, g / sqrt(V(1) + x * x))
FUNCTION(Acosh, acosh(x), kNeedsA, 2, g / sqrt((x - V(1)) * (x + V(1))))
FUNCTION(Atanh, atanh(x), kNeedsA, 2, g / ((V(1) - x) * (V(1) + x)))
FUNCTION(Erfc, erfc(x), kNeedsA, 2, g*(V(-1.1283791670955126) * exp(-x * x)))  // 2 / sqrt(pi)
#undef FUNCTION

struct Atan2 {
  static constexpr unsigned needs_a = kNeedsA | kNeedsB | kInOps, needs_b = needs_a;
  static constexpr double ns = 2;
  template <class V>
  TG_INLINE static V forward(V a, V b) {
    return atan2(a, b);
  }
  template <class V>
  static V grad_a(V g, V a, V b, V) {
    return g * (b / (a * a + b * b));
  }
  template <class V>
  static V grad_b(V g, V a, V b, V) {
    return g * (-a / (a * a + b * b));
  }
};

// a log(b), which is 0 for a == 0 whatever the sign of b.
struct Xlogy {
  static constexpr unsigned needs_a = kNeedsA | kNeedsB | kInOps, needs_b = needs_a;
  static constexpr double ns = 0.4;
  template <class V>
  TG_INLINE static V forward(V a, V b) {
    return select((a == V(0)) & (b == b), V(0), a * log(b));
  }
  template <class V>
  static V grad_a(V g, V a, V b, V) {
    return select((a == V(0)) & (b <= V(0)), V(0), g * log(b));
  }
  template <class V>
  static V grad_b(V g, V a, V b, V) {
    return g * a / b;
  }
};

// Of which dtypes a functor is the identity, and so has no kernel: `keeps`, by bits.
template <class F>
constexpr bool keeps(int dtype) {
  if constexpr (requires { F::keeps; }) return (F::keeps >> dtype & 1) != 0;
  return false;
}

struct Sign {
  static constexpr unsigned needs = kNoSlope, keeps = 1u << kBool;
  static constexpr double ns = 0.05;
  template <class V>
  TG_INLINE static V forward(V x) {
    return select(x > V(0), V(1), select(x < V(0), V(0) - V(1), V(0)));
  }
};
template <int rounding>
struct Rounded {
  static constexpr unsigned needs = kNoSlope, keeps = 1u << kUInt8 | 1u << kInt32 | 1u << kInt64;
  static constexpr double ns = 0.05;
  template <class V>
  TG_INLINE static V forward(V x) {
    return rounded<rounding>(x);
  }
};
using Round = Rounded<0>;  // to the nearest, ties to even
using Floor = Rounded<1>;
using Ceil = Rounded<2>;
using Trunc = Rounded<3>;

struct FloorDivide {
  static constexpr unsigned needs_a = kNoSlope, needs_b = kNoSlope;
  static constexpr bool divides = true;  // integers by zero are an error
  static constexpr double ns = 1;
  template <class V>
  TG_INLINE static V forward(V a, V b) {
    return floor_divide(a, b);
  }
};
struct Remainder {
  static constexpr unsigned needs_a = kPassThrough, needs_b = kNeedsA | kNeedsB | kInOps;
  static constexpr bool divides = true;  // integers by zero are an error
  static constexpr double ns = 1;
  template <class V>
  TG_INLINE static V forward(V a, V b) {
    return remainder(a, b);
  }
  template <class V>
  static V grad_b(V g, V a, V b, V) {
    return -g * floor_divide(a, b);
  }
};
struct Fmod {
  static constexpr unsigned needs_a = kPassThrough, needs_b = kNeedsA | kNeedsB | kInOps;
  static constexpr bool divides = true;  // integers by zero are an error
  static constexpr double ns = 1;
  template <class V>
  TG_INLINE static V forward(V a, V b) {
    return fmod(a, b);
  }
  template <class V>
  static V grad_b(V g, V a, V b, V) {
    return -g * trunc(a / b);
  }
};

// Of three or four operands; their gradients are in ops/ternary.cpp.
struct Clamp {
  template <class V>
  TG_INLINE static V forward(V x, V low, V high, V) {
    return minimum(maximum(x, low), high);
  }
};
struct ClampGrad {
  template <class V>
  TG_INLINE static V forward(V g, V x, V low, V high) {
    return select((x >= low) & (x <= high), g, V(0));
  }
};
struct Lerp {
  static constexpr double ns = 0.1;
  template <class V>
  TG_INLINE static V forward(V a, V b, V weight, V) {
    return select(abs(weight) < V(0.5), a + weight * (b - a), b - (b - a) * (V(1) - weight));
  }
};
struct Addcmul {
  template <class V>
  TG_INLINE static V forward(V a, V b, V c, V value) {
    return a + value * b * c;
  }
};

}  // namespace
}  // namespace tg

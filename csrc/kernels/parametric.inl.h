// The functors of one operand and one or two numbers, y = forward(x, p, q), dL/dx = grad(g, x, p, q). A number may be a
// tensor of the operand's shape, too; it gets no gradient.
#pragma once
#include "kernels/inline.h"

namespace tg {
namespace {

// p: the slope for x <= 0.
struct LeakyRelu {
  static constexpr int numbers = 1;
  template <class V>
  TG_INLINE static V forward(V x, V p, V) {
    return select(x > V(0), x, x * p);
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V p, V) {
    return select(x > V(0), g, g * p);
  }
};

// p (exp(q x) - 1) for x <= 0, x above.
struct Elu {
  static constexpr int numbers = 2;
  static constexpr double ns = 0.3, grad_ns = 0.2;
  template <class V>
  TG_INLINE static V forward(V x, V p, V q) {
    return select(x > V(0), x, p * expm1(x * q));
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V p, V q) {
    return select(x <= V(0), g * (p * q * exp(x * q)), g);  // nan lets g through
  }
};

// Within p .. q.
struct HardTanh {
  static constexpr int numbers = 2;
  template <class V>
  TG_INLINE static V forward(V x, V p, V q) {
    return select(x < p, p, select(x > q, q, x));
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V p, V q) {
    return select(x <= p, V(0), select(x >= q, V(0), g));
  }
};

// x above p, q elsewhere.
struct Threshold {
  static constexpr int numbers = 2;
  template <class V>
  TG_INLINE static V forward(V x, V p, V q) {
    return select(x <= p, q, x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V p, V) {
    return select(x <= p, V(0), g);
  }
};

// x^2 / (2 p) where |x| < p, |x| - p / 2 elsewhere.
struct SmoothL1 {
  static constexpr int numbers = 1;
  template <class V>
  TG_INLINE static V forward(V x, V p, V) {
    V a = abs(x);
    return select(a < p, V(0.5) * a * a / p, a - V(0.5) * p);
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V p, V) {
    return g * select(x >= p, V(1), select(x <= -p, V(-1), x / p));
  }
};

// -p log(sigmoid(x)) - (1 - p) log(1 - sigmoid(x)). The terms without exp cancel exactly where x is large and p is the
// label 0 or 1.
struct BceWithLogits {
  static constexpr int numbers = 1;
  static constexpr double ns = 0.8, grad_ns = 0.4;
  template <class V>
  TG_INLINE static V forward(V x, V p, V) {
    return maximum(x, V(0)) - x * p + softplus(-abs(x));
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V p, V) {
    return g * (sigmoid(x) - p);
  }
};

// The same for a probability x; logarithms count as -100 at least, as PyTorch has it.
struct Bce {
  static constexpr int numbers = 1;
  static constexpr double ns = 0.8;
  template <class V>
  TG_INLINE static V forward(V x, V p, V) {
    return (p - V(1)) * maximum(log1p(-x), V(-100)) - p * maximum(log(x), V(-100));
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V p, V) {
    return g * (x - p) / maximum((V(1) - x) * x, V(1e-12));
  }
};

}  // namespace
}  // namespace tg

// Every elementwise op: its value and its derivative side by side, for SIMD vectors and symbolic tensors alike.
#pragma once
#include "kernels/activations.inl.h"
#include "kernels/functions.inl.h"

namespace tg {
namespace {

// One operand: y = forward(x), dL/dx = grad(g, x, y) where g = dL/dy.

struct Neg {
  static constexpr unsigned needs = 0;
  template <class V>
  TG_INLINE static V forward(V x) {
    return -x;
  }
  template <class V>
  TG_INLINE static V grad(V g, V, V) {
    return -g;
  }
};

struct Abs {
  static constexpr unsigned needs = kNeedsA;
  template <class V>
  TG_INLINE static V forward(V x) {
    return abs(x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V) {
    return g * select(x > V(0), V(1), select(x < V(0), V(-1), V(0)));
  }
};

struct Square {
  static constexpr unsigned needs = kNeedsA;
  template <class V>
  TG_INLINE static V forward(V x) {
    return x * x;
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V) {
    return g * (x + x);
  }
};

struct Cube {  // pow with an exponent of 3
  static constexpr unsigned needs = kNeedsA;
  static constexpr double ns = 0.05;
  template <class V>
  TG_INLINE static V forward(V x) {
    return x * x * x;
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V) {
    return g * (V(3) * (x * x));
  }
};

struct Exp {
  static constexpr unsigned needs = kNeedsY;
  static constexpr double ns = 0.2;
  template <class V>
  TG_INLINE static V forward(V x) {
    return exp(x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V, V y) {
    return g * y;
  }
};

struct Expm1 {
  static constexpr unsigned needs = kNeedsA;
  static constexpr double ns = 0.3, grad_ns = 0.2;
  template <class V>
  TG_INLINE static V forward(V x) {
    return expm1(x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V) {
    return g * exp(x);  // y + 1 would have lost its digits for negative x
  }
};

struct Log {
  static constexpr unsigned needs = kNeedsA;
  static constexpr double ns = 0.3;
  template <class V>
  TG_INLINE static V forward(V x) {
    return log(x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V) {
    return g / x;
  }
};

struct Log1p {
  static constexpr unsigned needs = kNeedsA;
  static constexpr double ns = 0.5;
  template <class V>
  TG_INLINE static V forward(V x) {
    return log1p(x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V) {
    return g / (V(1) + x);
  }
};

struct Sqrt {
  static constexpr unsigned needs = kNeedsY;
  template <class V>
  TG_INLINE static V forward(V x) {
    return sqrt(x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V, V y) {
    return g / (y + y);
  }
};

struct Reciprocal {
  static constexpr unsigned needs = kNeedsY;
  template <class V>
  TG_INLINE static V forward(V x) {
    return V(1) / x;
  }
  template <class V>
  TG_INLINE static V grad(V g, V, V y) {
    return -g * y * y;
  }
};

struct Sin {
  static constexpr unsigned needs = kNeedsA;
  static constexpr double ns = 0.4, grad_ns = 0.4;
  template <class V>
  TG_INLINE static V forward(V x) {
    return sin(x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V) {
    return g * cos(x);
  }
};

struct Cos {
  static constexpr unsigned needs = kNeedsA;
  static constexpr double ns = 0.4, grad_ns = 0.4;
  template <class V>
  TG_INLINE static V forward(V x) {
    return cos(x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V) {
    return -g * sin(x);
  }
};

// Two operands: y = forward(a, b), dL/da = grad_a(g, a, b, y), dL/db = grad_b(g, a, b, y).

struct Add {
  static constexpr unsigned needs_a = kPassThrough, needs_b = kPassThrough;
  template <class V>
  TG_INLINE static V forward(V a, V b) {
    return a + b;
  }
  template <class V>
  TG_INLINE static V grad_a(V g, V, V, V) {
    return g;
  }
  template <class V>
  TG_INLINE static V grad_b(V g, V, V, V) {
    return g;
  }
};

struct Sub {
  static constexpr unsigned needs_a = kPassThrough, needs_b = 0;
  template <class V>
  TG_INLINE static V forward(V a, V b) {
    return a - b;
  }
  template <class V>
  TG_INLINE static V grad_a(V g, V, V, V) {
    return g;
  }
  template <class V>
  TG_INLINE static V grad_b(V g, V, V, V) {
    return -g;
  }
};

struct Mul {
  static constexpr unsigned needs_a = kNeedsB, needs_b = kNeedsA;
  template <class V>
  TG_INLINE static V forward(V a, V b) {
    return a * b;
  }
  template <class V>
  TG_INLINE static V grad_a(V g, V, V b, V) {
    return g * b;
  }
  template <class V>
  TG_INLINE static V grad_b(V g, V a, V, V) {
    return g * a;
  }
};

struct Div {
  static constexpr unsigned needs_a = kNeedsB, needs_b = kNeedsB | kNeedsY;
  template <class V>
  TG_INLINE static V forward(V a, V b) {
    return a / b;
  }
  template <class V>
  TG_INLINE static V grad_a(V g, V, V b, V) {
    return g / b;
  }
  template <class V>
  TG_INLINE static V grad_b(V g, V, V b, V y) {
    return -g * (y / b);
  }
};

struct Pow {
  static constexpr unsigned needs_a = kNeedsA | kNeedsB, needs_b = kNeedsA | kNeedsB | kNeedsY;
  static constexpr double ns = 0.9, grad_ns = 0.9;
  template <class V>
  TG_INLINE static V forward(V a, V b) {
    return pow(a, b);
  }
  template <class V>
  TG_INLINE static V grad_a(V g, V a, V b, V) {
    return select(b == V(0), V(0), g * (b * pow(a, b - V(1))));
  }
  // y log(a) tends to 0 as a -> 0 with b > 0; at a == 0 the product would be nan.
  template <class V>
  TG_INLINE static V grad_b(V g, V a, V b, V y) {
    V slope = y * log(a);
    return g * select(a == V(0), select(b >= V(0), V(0), slope), slope);
  }
};

// Where a == b each operand gets half of g; where either is nan both get g.
struct Maximum {
  static constexpr unsigned needs_a = kNeedsA | kNeedsB, needs_b = kNeedsA | kNeedsB;
  template <class V>
  TG_INLINE static V forward(V a, V b) {
    return maximum(a, b);
  }
  template <class V>
  TG_INLINE static V grad_a(V g, V a, V b, V) {
    return select(a < b, V(0), select(a == b, g * V(0.5), g));
  }
  template <class V>
  TG_INLINE static V grad_b(V g, V a, V b, V y) {
    return grad_a(g, b, a, y);
  }
};

struct Minimum {
  static constexpr unsigned needs_a = kNeedsA | kNeedsB, needs_b = kNeedsA | kNeedsB;
  template <class V>
  TG_INLINE static V forward(V a, V b) {
    return minimum(a, b);
  }
  template <class V>
  TG_INLINE static V grad_a(V g, V a, V b, V) {
    return select(a > b, V(0), select(a == b, g * V(0.5), g));
  }
  template <class V>
  TG_INLINE static V grad_b(V g, V a, V b, V y) {
    return grad_a(g, b, a, y);
  }
};

// Integers and bool (0 or 1) only.
struct BitAnd {
  template <class V>
  TG_INLINE static V forward(V a, V b) {
    return a & b;
  }
};
struct BitOr {
  template <class V>
  TG_INLINE static V forward(V a, V b) {
    return a | b;
  }
};
struct BitXor {
  template <class V>
  TG_INLINE static V forward(V a, V b) {
    return a ^ b;
  }
};

// Comparisons; with nan all but != are false.
struct Eq {
  template <class V>
  TG_INLINE static auto forward(V a, V b) {
    return a == b;
  }
};
struct Ne {
  template <class V>
  TG_INLINE static auto forward(V a, V b) {
    return a != b;
  }
};
struct Lt {
  template <class V>
  TG_INLINE static auto forward(V a, V b) {
    return a < b;
  }
};
struct Le {
  template <class V>
  TG_INLINE static auto forward(V a, V b) {
    return a <= b;
  }
};
struct Gt {
  template <class V>
  TG_INLINE static auto forward(V a, V b) {
    return a > b;
  }
};
struct Ge {
  template <class V>
  TG_INLINE static auto forward(V a, V b) {
    return a >= b;
  }
};

}  // namespace
}  // namespace tg

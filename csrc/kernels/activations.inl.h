// The functors of the activations without parameters, and what a gradient may need. Included by
// elementwise.inl.h.
#pragma once
#include "kernels/inline.h"

namespace tg {
namespace {

// What a gradient reads besides g: the operands a (or x) and b, the result y. kPassThrough: the gradient is g itself;
// kNoSlope: it is 0; kInOps: it has no kernel and is always computed by ops. Functors that compute more than a few
// instructions state the nanoseconds of a float32 element under AVX-512: `ns`, and `grad_ns` for the gradient.
enum : unsigned { kNeedsA = 1, kNeedsB = 2, kNeedsY = 4, kPassThrough = 8, kNoSlope = 16, kInOps = 32 };
constexpr bool has_gradient_kernel(unsigned needs) { return (needs & (kPassThrough | kNoSlope | kInOps)) == 0; }

struct Tanh {
  static constexpr unsigned needs = kNeedsY;
  static constexpr double ns = 0.4;
  template <class V>
  TG_INLINE static V forward(V x) {
    return tanh(x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V, V y) {
    return g * (V(1) - y * y);
  }
};

struct Sigmoid {
  static constexpr unsigned needs = kNeedsY;
  static constexpr double ns = 0.4;
  template <class V>
  TG_INLINE static V forward(V x) {
    return sigmoid(x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V, V y) {
    return g * (V(1) - y) * y;
  }
};

struct Silu {
  static constexpr unsigned needs = kNeedsA;
  static constexpr double ns = 0.4, grad_ns = 0.4;
  template <class V>
  TG_INLINE static V forward(V x) {
    return silu(x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V) {
    V s = sigmoid(x);
    return g * (s * (V(1) + x * (V(1) - s)));
  }
};

struct Softplus {
  static constexpr unsigned needs = kNeedsA;
  static constexpr double ns = 0.8, grad_ns = 0.4;
  template <class V>
  TG_INLINE static V forward(V x) {
    return softplus(x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V) {
    return g * sigmoid(x);
  }
};

struct Erf {
  static constexpr unsigned needs = kNeedsA;
  static constexpr double ns = 0.4, grad_ns = 0.2;
  template <class V>
  TG_INLINE static V forward(V x) {
    return erf(x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V) {
    return g * (V(1.1283791670955126) * exp(-x * x));  // 2 / sqrt(pi)
  }
};

// x Phi(x), whose derivative is Phi(x) + x phi(x).
struct Gelu {
  static constexpr unsigned needs = kNeedsA | kNeedsY;
  static constexpr double ns = 0.9, grad_ns = 0.7;
  template <class V>
  TG_INLINE static V forward(V x) {
    return gelu(x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V y) {
    // Far below 0 the sum in the other form of Phi would have cancelled.
    auto below = x < V(-1);
    V cdf = select(below, y / select(below, x, V(-1)), V(0.5) + V(0.5) * erf(x * V(0.7071067811865476)));
    return g * (cdf + x * (V(0.3989422804014327) * exp(V(-0.5) * x * x)));  // 1 / sqrt(2 pi)
  }
};

// x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)), the same as with (1 + tanh) / 2.
struct GeluTanh {
  static constexpr unsigned needs = kNeedsA;
  static constexpr double ns = 0.8, grad_ns = 0.4;
  template <class V>
  TG_INLINE static V forward(V x) {
    return gelu_tanh(x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V) {
    V slope(1.5957691216057308), cube(0.07135481627260025), z = x * x;  // 2 sqrt(2 / pi), times 0.044715
    V s = sigmoid(x * (slope + cube * z));
    return g * (s + x * s * (V(1) - s) * (slope + V(3) * cube * z));
  }
};

struct Relu {
  static constexpr unsigned needs = kNeedsY;
  template <class V>
  TG_INLINE static V forward(V x) {
    return maximum(V(0), x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V, V y) {
    return select(y <= V(0), V(0), g);
  }  // nan lets g through
};

// scale (x, or alpha (exp(x) - 1) for x <= 0): Klambauer et al., "Self-normalizing neural networks", 2017.
struct Selu {
  static constexpr unsigned needs = kNeedsA;
  static constexpr double ns = 0.3, grad_ns = 0.2;
  static constexpr double kScale = 1.0507009873554804934193349852946, kAlpha = 1.6732632423543772848170429916717;
  template <class V>
  TG_INLINE static V forward(V x) {
    return select(x > V(0), V(kScale) * x, V(kScale * kAlpha) * expm1(x));
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V) {
    return g * select(x <= V(0), V(kScale * kAlpha) * exp(x), V(kScale));
  }
};

// With e = exp(x), tanh(log(1 + e)) = w / (w + 2) where w = e (e + 2): nothing cancels. Beyond 20 it is 1.
struct Mish {
  static constexpr unsigned needs = kNeedsA;
  static constexpr double ns = 0.4, grad_ns = 0.5;
  template <class V>
  TG_INLINE static V forward(V x) {
    V e = exp(minimum(x, V(20))), w = e * (e + V(2));
    return x * (w / (w + V(2)));
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V) {
    V e = exp(minimum(x, V(20))), w = e * (e + V(2)), t = w / (w + V(2));
    return g * (t + x * (e / (V(1) + e)) * (V(1) - t * t));
  }
};

struct LogSigmoid {
  static constexpr unsigned needs = kNeedsA;
  static constexpr double ns = 0.8, grad_ns = 0.4;
  template <class V>
  TG_INLINE static V forward(V x) {
    return -softplus(-x);
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V) {
    return g * sigmoid(-x);
  }
};

struct HardSigmoid {
  static constexpr unsigned needs = kNeedsA;
  template <class V>
  TG_INLINE static V forward(V x) {
    return minimum(maximum(x + V(3), V(0)), V(6)) / V(6);
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V) {
    return select(x > V(-3), select(x < V(3), g / V(6), V(0)), V(0));
  }
};

struct HardSwish {
  static constexpr unsigned needs = kNeedsA;
  template <class V>
  TG_INLINE static V forward(V x) {
    return x * minimum(maximum(x + V(3), V(0)), V(6)) / V(6);
  }
  template <class V>
  TG_INLINE static V grad(V g, V x, V) {
    return select(x <= V(-3), V(0), select(x < V(3), g * (x / V(3) + V(0.5)), g));
  }
};

}  // namespace
}  // namespace tg

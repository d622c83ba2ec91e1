// Optimizer steps: one pass over parameters, gradients and state, in place, by PyTorch's single-tensor formulas.
#pragma once
#include "kernels/kernel_table.h"
#include "kernels/reduce.inl.h"
#include "kernels/vec.h"

namespace tg {
namespace {

// Scalars are computed in double, then used in the tensor's type. Whole and partial vectors share one loop body, so an
// element gets the same bits wherever it lies.

// Asks for the cache line of x[j] some lines on: the hardware follows two streams well beyond the L2
// cache, four badly (8 to 14 %).
template <class T>
TG_INLINE void prefetch(const T* x) {
  __builtin_prefetch(reinterpret_cast<const char*>(x) + 1024);
}
// The same for what is written too: once another core has read a line, it is here to be read only, and the store would
// wait until it is taken away from there.
template <class T>
TG_INLINE void prefetch(T* x) {
  __builtin_prefetch(reinterpret_cast<const char*>(x) + 1024, 1);
}

// x + weight * (y - x), written from the nearer end.
template <class T>
struct MovingMean {
  bool near_x;
  Vec<T> factor;
  explicit MovingMean(double weight) : near_x(weight < 0.5), factor(T(near_x ? weight : weight - 1)) {}
  TG_INLINE Vec<T> operator()(Vec<T> x, Vec<T> y) const { return fma(y - x, factor, near_x ? x : y); }
};

// The mean of squares: mean * beta + (1 - beta) * x^2.
template <class T>
struct MeanSquare {
  Vec<T> beta, gain;
  explicit MeanSquare(double b) : beta(T(b)), gain(T(1 - b)) {}
  TG_INLINE Vec<T> operator()(Vec<T> mean, Vec<T> x) const { return fma(x * gain, x, mean * beta); }
};

// -1, 0 (also of nan), 1.
template <class T>
TG_INLINE Vec<T> sign_of(Vec<T> x) {
  const Vec<T> zero(T(0));
  return select(x > zero, Vec<T>(T(1)), select(x < zero, Vec<T>(T(-1)), zero));
}

// The rules. Each has its constants, how many tensors of state there may be, which of them always are (bits), and what
// becomes of a parameter p and its state s, given its gradient d. What is missing comes as 0 and is not stored.

template <class T>
struct SgdStep {
  using Args = SgdArgs;
  static constexpr int states = 1;
  static constexpr unsigned always = 0;
  using V = Vec<T>;
  V momentum, gain, minus_lr;
  bool has_momentum, first, nesterov;
  explicit SgdStep(const Args& a)
      : momentum(T(a.momentum)),
        gain(T(1 - a.dampening)),
        minus_lr(T(-a.lr)),
        has_momentum(a.momentum != 0),
        first(a.first),
        nesterov(a.nesterov) {}
  TG_INLINE void operator()(V& p, V d, V* s) const {
    if (has_momentum) {
      s[0] = first ? d : fma(d, gain, s[0] * momentum);
      d = nesterov ? fma(s[0], momentum, d) : s[0];
    }
    p = fma(d, minus_lr, p);
  }
};

template <class T>
struct AdamStep {
  using Args = AdamArgs;
  static constexpr int states = 3;
  static constexpr unsigned always = 3;
  using V = Vec<T>;
  MovingMean<T> mean;
  MeanSquare<T> mean_square;
  V eps, minus_step, g_share, m_share, scale;
  bool shares;
  explicit AdamStep(const Args& a)
      : mean(1 - a.beta1),
        mean_square(a.beta2),
        eps(T(a.eps)),
        minus_step(T(-a.step)),
        g_share(T(a.g_share)),
        m_share(T(a.m_share)),
        scale(T(a.scale)),
        shares(a.g_share != 0) {}
  TG_INLINE void operator()(V& p, V d, V* s) const {
    s[0] = mean(s[0], d);
    s[1] = mean_square(s[1], d);
    s[2] = max(s[2], s[1]);
    const V ahead = shares ? fma(d, g_share, s[0] * m_share) : s[0];
    p = fma(ahead / fma(sqrt(s[2]), scale, eps), minus_step, p);
  }
};

template <class T>
struct AdamaxStep {
  using Args = AdamaxArgs;
  static constexpr int states = 2;
  static constexpr unsigned always = 3;
  using V = Vec<T>;
  MovingMean<T> mean;
  V beta2, eps, minus_step;
  explicit AdamaxStep(const Args& a) : mean(1 - a.beta1), beta2(T(a.beta2)), eps(T(a.eps)), minus_step(T(-a.step)) {}
  TG_INLINE void operator()(V& p, V d, V* s) const {
    s[0] = mean(s[0], d);
    s[1] = max(s[1] * beta2, abs(d) + eps);
    p = fma(s[0] / s[1], minus_step, p);
  }
};

template <class T>
struct AdagradStep {
  using Args = AdagradArgs;
  static constexpr int states = 1;
  static constexpr unsigned always = 1;
  using V = Vec<T>;
  V eps, minus_step;
  explicit AdagradStep(const Args& a) : eps(T(a.eps)), minus_step(T(-a.step)) {}
  TG_INLINE void operator()(V& p, V d, V* s) const {
    s[0] = fma(d, d, s[0]);
    p = fma(d / (sqrt(s[0]) + eps), minus_step, p);
  }
};

template <class T>
struct RmspropStep {
  using Args = RmspropArgs;
  static constexpr int states = 3;
  static constexpr unsigned always = 1;
  using V = Vec<T>;
  MeanSquare<T> mean_square;
  MovingMean<T> mean;
  V eps, momentum, minus_lr;
  bool centered;
  explicit RmspropStep(const Args& a)
      : mean_square(a.alpha),
        mean(1 - a.alpha),
        eps(T(a.eps)),
        momentum(T(a.momentum)),
        minus_lr(T(-a.lr)),
        centered(a.centered) {}
  TG_INLINE void operator()(V& p, V d, V* s) const {
    s[0] = mean_square(s[0], d);
    V square = s[0];
    if (centered) {
      s[2] = mean(s[2], d);
      square = fma(-s[2], s[2], square);
    }
    s[1] = fma(s[1], momentum, d / (sqrt(square) + eps));
    p = fma(s[1], minus_lr, p);
  }
};

template <class T>
struct AdadeltaStep {
  using Args = AdadeltaArgs;
  static constexpr int states = 2;
  static constexpr unsigned always = 3;
  using V = Vec<T>;
  MeanSquare<T> mean_square;
  V eps, minus_lr;
  explicit AdadeltaStep(const Args& a) : mean_square(a.rho), eps(T(a.eps)), minus_lr(T(-a.lr)) {}
  TG_INLINE void operator()(V& p, V d, V* s) const {
    s[0] = mean_square(s[0], d);
    const V delta = sqrt(s[1] + eps) / sqrt(s[0] + eps) * d;
    s[1] = mean_square(s[1], delta);
    p = fma(delta, minus_lr, p);
  }
};

template <class T>
struct RpropStep {
  using Args = RpropArgs;
  static constexpr int states = 2;
  static constexpr unsigned always = 3;
  using V = Vec<T>;
  V eta_minus, eta_plus, least, most;
  explicit RpropStep(const Args& a)
      : eta_minus(T(a.eta_minus)), eta_plus(T(a.eta_plus)), least(T(a.least)), most(T(a.most)) {}
  TG_INLINE void operator()(V& p, V d, V* s) const {
    const V zero(T(0)), agreement = d * s[0];
    const auto turned = agreement < zero;
    const V factor = select(agreement > zero, eta_plus, select(turned, eta_minus, V(T(1))));
    s[1] = min(most, max(least, s[1] * factor));
    s[0] = select(turned, zero, d);
    p = fma(-sign_of(s[0]), s[1], p);
  }
};

template <class T>
struct LionStep {
  using Args = LionArgs;
  static constexpr int states = 1;
  static constexpr unsigned always = 1;
  using V = Vec<T>;
  MovingMean<T> direction, mean;
  V minus_lr;
  explicit LionStep(const Args& a) : direction(1 - a.beta1), mean(1 - a.beta2), minus_lr(T(-a.lr)) {}
  TG_INLINE void operator()(V& p, V d, V* s) const {
    p = fma(sign_of(direction(s[0], d)), minus_lr, p);
    s[0] = mean(s[0], d);
  }
};

template <class T>
struct MuonStep {
  using Args = MuonArgs;
  static constexpr int states = 1;
  static constexpr unsigned always = 1;
  using V = Vec<T>;
  MovingMean<T> mean, ahead;
  bool nesterov;
  explicit MuonStep(const Args& a) : mean(1 - a.momentum), ahead(a.momentum), nesterov(a.nesterov) {}
  TG_INLINE void operator()(V& p, V d, V* s) const {
    s[0] = mean(s[0], d);
    p = nesterov ? ahead(d, s[0]) : s[0];
  }
};

// given: the lists of state that there are, bit by bit, so that the loop need not ask.
template <template <class> class Rule, class T, unsigned given>
void optim_loop(int64_t n, void* const* lists, const typename Rule<T>::Args& args) {
  using V = Vec<T>;
  constexpr int states = Rule<T>::states;
  const Rule<T> rule(args);
  // The gradient, negated for `maximize`, plus the L2 penalty's; or else the parameter shrinks beforehand.
  const V sign(args.maximize ? T(-1) : T(1)), shrink(T(args.decoupled ? 1 - args.lr * args.weight_decay : 1));
  const V penalty(T(args.weight_decay));
  const bool penalized = !args.decoupled && args.weight_decay != 0;
  T* const p = static_cast<T*>(lists[0]);
  const T* const g = static_cast<const T*>(lists[1]);
  T* s[states];
#pragma GCC unroll 3
  for (int i = 0; i < states; ++i) s[i] = static_cast<T*>(lists[2 + i]);
  for (int64_t j = 0; j < n; j += V::size) {
    const int64_t left = n - j;
    V state[states];
    prefetch(p + j);
    if (given) prefetch(g + j);
#pragma GCC unroll 3
    for (int i = 0; i < states; ++i) {
      if (given >> i & 1) prefetch(s[i] + j);
    }
    V x = load_upto(p + j, left) * shrink, d = load_upto(g + j, left) * sign;
#pragma GCC unroll 3
    for (int i = 0; i < states; ++i) state[i] = given >> i & 1 ? load_upto(s[i] + j, left) : V(T(0));
    if (penalized) d = fma(x, penalty, d);
    rule(x, d, state);
#pragma GCC unroll 3
    for (int i = 0; i < states; ++i) {
      if (given >> i & 1) store_upto(s[i] + j, left, state[i]);
    }
    store_upto(p + j, left, x);
  }
}

// The loop for the lists of state that are given: `guess`, or one of the larger sets.
template <template <class> class Rule, class T, unsigned guess = Rule<T>::always>
void optim_step(int64_t n, void* const* lists, const void* args) {
  constexpr int states = Rule<T>::states;
  unsigned given = 0;
  for (int i = 0; i < states; ++i) given |= unsigned(lists[2 + i] != nullptr) << i;
  if constexpr (guess + 1 < 1u << states) {
    if (given != guess) return optim_step<Rule, T, (guess + 1) | Rule<T>::always>(n, lists, args);
  }
  optim_loop<Rule, T, guess>(n, lists, *static_cast<const typename Rule<T>::Args*>(args));
}

#define OPTIM_KERNEL(Rule) {optim_step<Rule, float>, optim_step<Rule, double>}
constexpr OptimKernels kOptim = {OPTIM_KERNEL(SgdStep),     OPTIM_KERNEL(AdamStep),    OPTIM_KERNEL(AdamaxStep),
                                 OPTIM_KERNEL(AdagradStep), OPTIM_KERNEL(RmspropStep), OPTIM_KERNEL(AdadeltaStep),
                                 OPTIM_KERNEL(RpropStep),   OPTIM_KERNEL(LionStep),    OPTIM_KERNEL(MuonStep)};
#undef OPTIM_KERNEL

}  // namespace
}  // namespace tg

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

// The gradient, negated for `maximize`, plus the L2 penalty's.
template <class T>
TG_INLINE Vec<T> penalized(Vec<T> g, Vec<T> p, T sign, T weight_decay) {
  g *= Vec<T>(sign);
  return weight_decay != T(0) ? fma(p, Vec<T>(weight_decay), g) : g;
}

template <class T>
void sgd_step(int64_t n, void* p_, const void* g_, void* buf_, const SgdArgs* a) {
  using V = Vec<T>;
  T *p = static_cast<T*>(p_), *buf = static_cast<T*>(buf_);
  const T* g = static_cast<const T*>(g_);
  const T sign = a->maximize ? T(-1) : T(1), weight_decay = T(a->weight_decay);
  const V momentum(T(a->momentum)), gain(T(1 - a->dampening)), minus_lr(T(-a->lr));
  const bool first = a->first, nesterov = a->nesterov;
  for (int64_t j = 0; j < n; j += V::size) {
    const int64_t left = n - j;
    prefetch(p + j);
    if (buf) {
      prefetch(g + j);
      prefetch(buf + j);
    }
    const V old = load_upto(p + j, left);
    V d = penalized(load_upto(g + j, left), old, sign, weight_decay);
    if (buf) {
      const V b = first ? d : fma(d, gain, load_upto(buf + j, left) * momentum);
      store_upto(buf + j, left, b);
      d = nesterov ? fma(b, momentum, d) : b;
    }
    store_upto(p + j, left, fma(d, minus_lr, old));
  }
}

// Kingma & Ba, arXiv:1412.6980; decoupled: Loshchilov & Hutter, arXiv:1711.05101.
template <class T>
void adam_step(int64_t n, void* p_, const void* g_, void* m_, void* v_, const AdamArgs* a) {
  using V = Vec<T>;
  T *p = static_cast<T*>(p_), *m = static_cast<T*>(m_), *v = static_cast<T*>(v_);
  const T* g = static_cast<const T*>(g_);
  const T sign = a->maximize ? T(-1) : T(1), weight_decay = a->decoupled ? T(0) : T(a->weight_decay);
  const V shrink(T(a->decoupled ? 1 - a->lr * a->weight_decay : 1));
  // m + (1 - beta1) (g - m), written from the nearer end.
  const double weight = 1 - a->beta1;
  const bool near_m = weight < 0.5;
  const V lerp(T(near_m ? weight : -a->beta1)), beta2(T(a->beta2)), gain(T(1 - a->beta2)), eps(T(a->eps));
  const V minus_step(T(-a->lr / a->correction1)), scale(T(1 / __builtin_sqrt(a->correction2)));
  for (int64_t j = 0; j < n; j += V::size) {
    const int64_t left = n - j;
    prefetch(p + j);
    prefetch(g + j);
    prefetch(m + j);
    prefetch(v + j);
    const V old = load_upto(p + j, left) * shrink, old_m = load_upto(m + j, left);
    const V d = penalized(load_upto(g + j, left), old, sign, weight_decay);
    const V new_m = fma(d - old_m, lerp, near_m ? old_m : d);
    const V new_v = fma(d * gain, d, load_upto(v + j, left) * beta2);
    store_upto(m + j, left, new_m);
    store_upto(v + j, left, new_v);
    store_upto(p + j, left, fma(new_m / fma(sqrt(new_v), scale, eps), minus_step, old));
  }
}

constexpr OptimKernels kOptim = {{sgd_step<float>, sgd_step<double>}, {adam_step<float>, adam_step<double>}};

}  // namespace
}  // namespace tg

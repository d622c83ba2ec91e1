// The rules of the optimizers: their options, what these make of a step's numbers, and which state they need.
#pragma once
#include <cmath>
#include <cstddef>

#include "kernels/kernel_table.h"
#include "tape/op.h"

namespace tg {

// What a step counts: the number of steps so far, this one included, and, where the rule has it, a running product.
struct Counts {
  double step, product;
};

// Each rule has
// - options: how many numbers. step_args() reads the first three, lr, weight_decay and maximize; the others follow in
//   the order of the comment
// - states: how many lists of state there may be; state(o): those that the options ask for, bit by bit. It may depend
// on
//   which options are zero, and on nothing else: a program is captured anew when that changes
// - kernel, and args(o, counts) for it; flops(o): of an element
struct Rule {
  static constexpr size_t counts = 1;
  static void advance(const double*, Counts& c) { ++c.step; }
  static StepArgs step_args(const double* o, bool decoupled = false) { return {o[0], o[1], o[2] != 0, decoupled}; }
};

struct Sgd : Rule {  // momentum, dampening, nesterov
  static constexpr size_t options = 6, states = 1;
  static constexpr auto kernel = &OptimKernels::sgd;
  static unsigned state(const double* o) { return o[3] != 0; }
  static SgdArgs args(const double* o, const Counts& c) { return {step_args(o), o[3], o[4], o[5] != 0, c.step == 1}; }
  static double flops(const double* o) { return 2 + (o[3] != 0 ? 3 : 0) + (o[1] != 0 ? 2 : 0); }
};

struct Adam : Rule {  // decoupled_weight_decay, betas, eps, amsgrad
  static constexpr size_t options = 8, states = 3;
  static constexpr auto kernel = &OptimKernels::adam;
  static unsigned state(const double* o) { return o[7] != 0 ? 7 : 3; }
  static AdamArgs args(const double* o, const Counts& c) {
    const double first = 1 - std::pow(o[4], c.step), second = 1 - std::pow(o[5], c.step);
    return {step_args(o, o[3] != 0), o[4], o[5], o[6], o[0] / first, 0, 1, 1 / std::sqrt(second)};
  }
  static double flops(const double* o) { return o[1] != 0 ? 15 : 13; }
};

struct Nadam : Rule {  // decoupled_weight_decay, betas, eps, momentum_decay
  static constexpr size_t options = 8, states = 3, counts = 2;
  static constexpr auto kernel = &OptimKernels::adam;
  static unsigned state(const double*) { return 3; }
  static double mu(const double* o, double step) { return o[4] * (1 - 0.5 * std::pow(0.96, step * o[7])); }
  static void advance(const double* o, Counts& c) { c.product *= mu(o, ++c.step); }
  static AdamArgs args(const double* o, const Counts& c) {
    const double next = mu(o, c.step + 1), g_share = (1 - mu(o, c.step)) / (1 - c.product);
    const double second = 1 - std::pow(o[5], c.step);
    return {step_args(o, o[3] != 0), o[4], o[5], o[6], o[0], g_share, next / (1 - c.product * next),
            1 / std::sqrt(second)};
  }
  static double flops(const double* o) { return o[1] != 0 ? 17 : 15; }
};

struct Radam : Rule {  // decoupled_weight_decay, betas, eps
  static constexpr size_t options = 7, states = 3;
  static constexpr auto kernel = &OptimKernels::adam;
  static unsigned state(const double*) { return 3; }
  static AdamArgs args(const double* o, const Counts& c) {
    const double power = std::pow(o[5], c.step), second = 1 - power, step = o[0] / (1 - std::pow(o[4], c.step));
    // The length of the moving average, at most and now: a short one says nothing of the variance.
    const double most = 2 / (1 - o[5]) - 1, length = most - 2 * c.step * power / second;
    if (!(length > 5)) return {step_args(o, o[3] != 0), o[4], o[5], 1, step, 0, 1, 0};
    const double rectified = std::sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length));
    return {step_args(o, o[3] != 0), o[4], o[5], o[6], step * rectified * std::sqrt(second), 0, 1, 1};
  }
  static double flops(const double* o) { return o[1] != 0 ? 15 : 13; }
};

struct Adamax : Rule {  // betas, eps
  static constexpr size_t options = 6, states = 2;
  static constexpr auto kernel = &OptimKernels::adamax;
  static unsigned state(const double*) { return 3; }
  static AdamaxArgs args(const double* o, const Counts& c) {
    return {step_args(o), o[3], o[4], o[5], o[0] / (1 - std::pow(o[3], c.step))};
  }
  static double flops(const double* o) { return o[1] != 0 ? 12 : 10; }
};

struct Adagrad : Rule {  // lr_decay, eps
  static constexpr size_t options = 5, states = 1;
  static constexpr auto kernel = &OptimKernels::adagrad;
  static unsigned state(const double*) { return 1; }
  static AdagradArgs args(const double* o, const Counts& c) {
    return {step_args(o), o[0] / (1 + (c.step - 1) * o[3]), o[4]};
  }
  static double flops(const double* o) { return o[1] != 0 ? 9 : 7; }
};

struct Rmsprop : Rule {  // momentum, alpha, eps, centered
  static constexpr size_t options = 7, states = 3;
  static constexpr auto kernel = &OptimKernels::rmsprop;
  static unsigned state(const double* o) { return 1 | (o[3] != 0 ? 2 : 0) | (o[6] != 0 ? 4 : 0); }
  static RmspropArgs args(const double* o, const Counts&) { return {step_args(o), o[4], o[5], o[3], o[6] != 0}; }
  static double flops(const double* o) { return 9 + (o[1] != 0 ? 2 : 0) + (o[3] != 0 ? 2 : 0) + (o[6] != 0 ? 5 : 0); }
};

struct Adadelta : Rule {  // rho, eps
  static constexpr size_t options = 5, states = 2;
  static constexpr auto kernel = &OptimKernels::adadelta;
  static unsigned state(const double*) { return 3; }
  static AdadeltaArgs args(const double* o, const Counts&) { return {step_args(o), o[3], o[4]}; }
  static double flops(const double* o) { return o[1] != 0 ? 18 : 16; }
};

struct Rprop : Rule {  // none of those three but maximize; etas, step_sizes
  static constexpr size_t options = 5, states = 2;
  static constexpr auto kernel = &OptimKernels::rprop;
  static unsigned state(const double*) { return 3; }
  static RpropArgs args(const double* o, const Counts&) { return {{0, 0, o[0] != 0, false}, o[1], o[2], o[3], o[4]}; }
  static double flops(const double*) { return 10; }
};

struct Lion : Rule {  // betas
  static constexpr size_t options = 5, states = 1;
  static constexpr auto kernel = &OptimKernels::lion;
  static unsigned state(const double*) { return 1; }
  static LionArgs args(const double* o, const Counts&) { return {step_args(o, true), o[3], o[4]}; }
  static double flops(const double*) { return 11; }
};

struct Muon : Rule {  // no maximize; momentum, nesterov, ns_coefficients, eps, ns_steps, adjust_lr_fn
  static constexpr size_t options = 10, states = 1;
  static unsigned state(const double*) { return 1; }
  static void run(const Call&);  // muon.cpp
  static double flops(const Call&);
};

}  // namespace tg

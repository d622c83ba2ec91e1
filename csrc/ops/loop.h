// The loop under every elementwise op: runs a contiguous kernel over strided, broadcast operands.
#pragma once
#include <span>

#include "kernels/kernel_table.h"
#include "tape/op.h"

namespace tg {

inline constexpr int kMaxOperands = 4;

// A kernel and its operands, each of which is broadcast to the shape of the output.
// The operands by address: a kernel may run without the GIL, and then no reference may be counted.
struct Elementwise {
  ElementwiseKernel kernel;
  size_t operands;
  const Tensor* in[kMaxOperands];  // null: not read
  double ns = 0;                   // what an element costs besides reading and writing it (ops/cost.h)
  bool asks_for_steps = false;     // one value and the same value many times give different bits
};

// out = kernel(in...)
void run_loop(const Elementwise& e, const Tensor& out);

// An op of that kind.
template <Elementwise (*elementwise)(const Call&)>
void run_elementwise(const Call& c, std::span<Tensor> out) {
  run_loop(elementwise(c), out[0]);
}
template <Elementwise (*elementwise)(const Call&)>
constexpr Op elementwise_op(const char* name, void (*infer)(const Call&, OutSpec*), void (*vjp)(Backward&) = nullptr,
                            unsigned save_a = 0, unsigned save_b = 0, unsigned save_c = 0) {
  Op op = {name, infer, nullptr, run_elementwise<elementwise>, vjp, {save_a, save_b, save_c}};
  op.elementwise = elementwise;
  return op;
}

// dst = src, cast and broadcast.
void run_copy(const Tensor& dst, const Tensor& src);

// t = 0; t is contiguous.
void fill_zero(const Tensor& t);

}  // namespace tg

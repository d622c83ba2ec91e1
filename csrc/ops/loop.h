// The loop under every elementwise op: runs a contiguous kernel over strided, broadcast operands.
#pragma once
#include <span>

#include "kernels/kernel_table.h"
#include "tensor/tensor.h"

namespace tg {

inline constexpr int kMaxOperands = 4;

// out = kernel(in...), each operand broadcast to out's shape. An operand the kernel does not read is null. `ns` is what
// an element costs besides reading and writing it (ops/cost.h).
// The operands by address: a kernel may run without the GIL, and then no reference may be counted.
void run_loop(ElementwiseKernel kernel, const Tensor& out, std::span<const Tensor* const> in, double ns = 0);
void run_loop(ElementwiseKernel kernel, const Tensor& out, std::span<const Tensor> in, double ns = 0);

// dst = src, cast and broadcast.
void run_copy(const Tensor& dst, const Tensor& src);

// t = 0; t is contiguous.
void fill_zero(const Tensor& t);

}  // namespace tg

// Activations that can be fused with the op before them: unary ops whose derivative needs nothing but their result.
#pragma once
#include "kernels/kernel_table.h"
#include "tape/op.h"

namespace tg {

struct Activation {
  UnaryKernels KernelTable::* kernels;
  Tensor (*gradient)(const Tensor& g, const Tensor& y);  // differentiable where gradients are wanted
  const Op *op, *backward;
};
extern const Activation kRelu, kTanh, kSigmoid;  // elementwise.cpp

}  // namespace tg

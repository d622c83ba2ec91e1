// Scans that gradients of other ops need.
#pragma once
#include "ops/ops.h"

namespace tg {

// The running product along `dim`, or from the end back.
Tensor running_product(const Tensor& x, int dim, bool from_end);
// x moved on by one along `dim`, in the direction of the scan; `fill` comes in.
Tensor moved_by_one(const Tensor& x, int dim, bool from_end, double fill);

}  // namespace tg

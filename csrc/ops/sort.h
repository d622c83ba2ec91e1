// What unique() takes from sort.cpp.
#pragma once
#include "ops/ops.h"

namespace tg {

// The order of a matrix's rows, compared element by element: int64, stable.
Tensor row_order(const Tensor& x);

}  // namespace tg

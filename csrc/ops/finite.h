// A stop in the middle of a captured step, where its loss is nan or infinite.
#pragma once
#include <stdexcept>

#include "tensor/tensor.h"

namespace tg {

struct NotFinite : std::runtime_error {
  explicit NotFinite(double v) : std::runtime_error("the value is " + std::to_string(v)), value(v) {}
  double value;
};

namespace ops {

// The one value of x as a scalar, outside the graph. Throws NotFinite before anything behind it runs.
Tensor require_finite(const Tensor& x);

}  // namespace ops
}  // namespace tg

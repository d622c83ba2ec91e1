// The activations with parameters. `inplace` is accepted; the input is never overwritten.
#include <stdexcept>

#include "ops/ops.h"

namespace tg::ops {
namespace {

Tensor constant(const Tensor& beside, double value) {
  return is_float(beside.dtype()) ? Tensor::scalar(value, beside.dtype()) : Tensor::number(value);
}
// Of the dtype of `beside`, integers too.
Tensor within(const Tensor& beside, double value) { return Tensor::scalar(value, beside.dtype()); }

}  // namespace

Tensor leaky_relu(const Tensor& input, double negative_slope, bool) {
  return parametric::leaky_relu(input, constant(input, negative_slope));
}

Tensor elu(const Tensor& input, double alpha, bool) {
  return parametric::elu(input, constant(input, alpha), constant(input, 1));
}

Tensor celu(const Tensor& input, double alpha, bool) {
  if (alpha == 0) throw std::invalid_argument("celu: alpha must not be 0");
  return parametric::elu(input, constant(input, alpha), constant(input, 1 / alpha));
}

Tensor hardtanh(const Tensor& input, double min_val, double max_val, bool) {
  if (!(min_val <= max_val)) {
    throw std::invalid_argument("hardtanh: min_val " + std::to_string(min_val) + " is above max_val " +
                                std::to_string(max_val));
  }
  const Tensor low = within(input, min_val), high = within(input, max_val);
  if (!is_float(input.dtype())) return maximum(minimum(input, high), low);
  return parametric::hardtanh(input, low, high);
}

Tensor relu6(const Tensor& input, bool) { return hardtanh(input, 0, 6); }

Tensor threshold(const Tensor& input, double threshold, double value, bool) {
  const Tensor limit = within(input, threshold), other = within(input, value);
  if (!is_float(input.dtype())) return where(le(input, limit), other, input);
  return parametric::threshold(input, limit, other);
}

}  // namespace tg::ops

// Anomaly mode: looks for nan behind every op, and behind every step of the reverse sweep.
#include "tape/anomaly.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "tape/extras.h"
#include "tape/profile.h"

namespace tg {
namespace {

template <class T>
bool any_nan(const T* data, const Dims& shape, const Dims& strides, int dim) {
  if (dim == shape.size()) return std::isnan(*data);
  for (int64_t i = 0; i < shape[dim]; ++i) {
    if (any_nan(data + i * strides[dim], shape, strides, dim + 1)) return true;
  }
  return false;
}

}  // namespace

bool anomaly_mode = false;
std::string (*anomaly_line)() = nullptr;

bool has_nan(const Tensor& t) {
  if (!t || t.numel() == 0) return false;
  if (t.dtype() == DType::Float32) return any_nan(t.data<float>(), t.shape(), t.strides(), 0);
  return t.dtype() == DType::Float64 && any_nan(t.data<double>(), t.shape(), t.strides(), 0);
}

bool NanCheck::begin(const Call& call) {
  return !sweep_mode && !call.op.overwrites && std::none_of(call.in.begin(), call.in.end(), has_nan);
}

void NanCheck::check(const Call& call, const Tensor& out) {
  if (!has_nan(out)) return;
  std::string operands;
  for (const Tensor& t : call.in) operands += (operands.empty() ? "" : ", ") + describe(t);
  throw std::runtime_error(std::string(call.op.name) + ": its result " + describe(out) + " is the first with nan, at " +
                           user_line() + "; its operands are " + operands + " without nan");
}

void check_gradients(Node& node, bool incoming_has_nan, std::span<const Tensor> gradients) {
  if (incoming_has_nan) return;
  for (size_t i = 0; i < gradients.size(); ++i) {
    if (!has_nan(gradients[i])) continue;
    const std::string line = node.extras ? node.extras->line : std::string();
    throw std::runtime_error(std::string(node.op->name) + ": in backward(), its gradient of input " +
                             std::to_string(i) + ", " + describe(gradients[i]) +
                             ", is the first with nan; the operation, with a result of shape " + to_string(node.shape) +
                             ", ran " + (line.empty() ? "outside of anomaly mode" : "at " + line));
  }
}

}  // namespace tg

// Losses that compare element with element, of those that are not written in Python. None broadcasts silently.
#include "ops/losses.h"

#include <stdexcept>

#include "ops/promotion.h"

namespace tg {

Reduction parse_reduction(const char* op, const std::string& s) {
  if (s == "mean") return Reduction::Mean;
  if (s == "sum") return Reduction::Sum;
  if (s == "none") return Reduction::None;
  throw std::invalid_argument(std::string(op) + ": reduction must be 'mean', 'sum' or 'none', got '" + s + "'");
}

Tensor reduce_all(const Tensor& losses, Reduction r) {
  return r == Reduction::None ? losses : r == Reduction::Mean ? ops::mean(losses) : ops::sum(losses);
}

namespace {

void check_same_shape(const char* op, const Tensor& input, const Tensor& target, const char* name = "target") {
  if (input.shape() == target.shape()) return;
  throw std::invalid_argument(std::string(op) + ": input " + to_string(input.shape()) + " and " + name + " " +
                              to_string(target.shape()) +
                              " differ in shape; broadcasting them would compare every element with every other: "
                              "reshape one of them");
}

// input - target, in a float dtype.
Tensor difference(const char* op, const Tensor& input, const Tensor& target) {
  check_same_shape(op, input, target);
  const DType dtype = compute_dtype(op, Domain::FLOAT, input, target);
  return ops::sub(cast(input, dtype), cast(target, dtype));
}

void check_weight(const char* op, const char* name, const Tensor& weight, const Tensor& input) {
  if (!weight || broadcasts_to(weight.shape(), input.shape())) return;
  throw std::invalid_argument(std::string(op) + ": " + name + " " + to_string(weight.shape()) +
                              " does not broadcast to the input's shape " + to_string(input.shape()));
}

// log(x), and -100 at 0.
Tensor finite_log(const Tensor& x) {
  const Tensor zero = ops::eq(x, Tensor::number(0.0));
  return ops::where(zero, Tensor::number(-100.0), ops::log(ops::where(zero, Tensor::number(1.0), x)));
}

Tensor from_one(const Tensor& x) { return ops::sub(Tensor::number(1.0), x); }

// The losses of the elements, as a functor has them or, where the target needs a gradient or its losses have weights of
// their own, by ops.
Tensor each_bce(const Tensor& x, const Tensor& t) {
  if (!t.requires_grad()) return ops::parametric::bce(x, t);
  return ops::neg(ops::add(ops::mul(t, finite_log(x)), ops::mul(from_one(t), finite_log(from_one(x)))));
}
Tensor each_bce_with_logits(const Tensor& x, const Tensor& t, const Tensor& pos_weight) {
  if (!t.requires_grad() && !pos_weight) return ops::parametric::bce_with_logits(x, t);
  Tensor positive = ops::softplus(ops::neg(x));
  if (pos_weight) positive = ops::mul(positive, ops::add(ops::mul(pos_weight, t), from_one(t)));
  return ops::add(ops::mul(from_one(t), x), positive);
}

}  // namespace

namespace ops {

Tensor mse_loss(const Tensor& input, const Tensor& target, const std::string& reduction, const Tensor& weight) {
  const Reduction r = parse_reduction("mse_loss", reduction);
  const Tensor each = square(difference("mse_loss", input, target));
  if (!weight) return reduce_all(each, r);
  check_same_shape("mse_loss", input, weight, "weight");
  const Tensor weighted = mul(each, weight);
  return r == Reduction::Mean ? div(sum(weighted), sum(weight)) : reduce_all(weighted, r);
}

Tensor smooth_l1_loss(const Tensor& input, const Tensor& target, const std::string& reduction, double beta) {
  const Reduction r = parse_reduction("smooth_l1_loss", reduction);
  if (!(beta >= 0)) {
    throw std::invalid_argument("smooth_l1_loss: beta must be at least 0, got " + std::to_string(beta));
  }
  const Tensor d = difference("smooth_l1_loss", input, target);
  return reduce_all(beta == 0 ? abs(d) : parametric::smooth_l1(d, Tensor::scalar(beta, d.dtype())), r);
}

Tensor huber_loss(const Tensor& input, const Tensor& target, const std::string& reduction, double delta,
                  const Tensor& weight) {
  const Reduction r = parse_reduction("huber_loss", reduction);
  if (!(delta > 0)) {
    throw std::invalid_argument("huber_loss: delta must be greater than 0, got " + std::to_string(delta));
  }
  const Tensor d = difference("huber_loss", input, target);
  if (weight) check_same_shape("huber_loss", input, weight, "weight");
  Tensor each = parametric::smooth_l1(d, Tensor::scalar(delta, d.dtype()));
  if (delta != 1) each = mul(each, Tensor::number(delta));
  return reduce_all(weight ? mul(each, weight) : each, r);
}

Tensor binary_cross_entropy(const Tensor& input, const Tensor& target, const Tensor& weight,
                            const std::string& reduction) {
  const char* const op = "binary_cross_entropy";
  const Reduction r = parse_reduction(op, reduction);
  check_same_shape(op, input, target);
  check_weight(op, "weight", weight, input);
  const DType dtype = compute_dtype(op, Domain::FLOAT, input, target);
  const Tensor each = each_bce(cast(input, dtype), cast(target, dtype));
  return reduce_all(weight ? mul(each, weight) : each, r);
}

Tensor binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target, const Tensor& weight,
                                        const std::string& reduction, const Tensor& pos_weight) {
  const char* const op = "binary_cross_entropy_with_logits";
  const Reduction r = parse_reduction(op, reduction);
  check_same_shape(op, input, target);
  check_weight(op, "weight", weight, input);
  check_weight(op, "pos_weight", pos_weight, input);
  const DType dtype = compute_dtype(op, Domain::FLOAT, input, target);
  const Tensor each = each_bce_with_logits(cast(input, dtype), cast(target, dtype), pos_weight);
  return reduce_all(weight ? mul(each, weight) : each, r);
}

}  // namespace ops
}  // namespace tg

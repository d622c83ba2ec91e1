// Elementwise ops made of others: tests for nan and closeness, logic, rounding to decimals, division with a rounding.
#include <cmath>
#include <stdexcept>

#include "ops/in_place.h"
#include "ops/ops.h"
#include "ops/promotion.h"
#include "tape/recorder.h"

namespace tg {
namespace {

Tensor truth(const Tensor& x) { return ops::to(x, DType::Bool); }
Tensor with_dtype_for_close(const Tensor& x) { return is_float(x.dtype()) ? x : cast(x, default_dtype()); }

double power_of_ten(const char* op, const Tensor& input, int64_t decimals) {
  if (is_integral(input.dtype())) fail_dtype(op, input, "is rounded to no decimals; decimals is for float tensors");
  return std::pow(10.0, static_cast<double>(std::abs(decimals)));
}

}  // namespace

namespace ops {

Tensor isnan(const Tensor& input) { return ne(input, input); }
Tensor isinf(const Tensor& input) {
  return is_float(input.dtype()) ? eq(abs(input), Tensor::number(HUGE_VAL)) : ne(input, input);
}
Tensor isfinite(const Tensor& input) {
  return is_float(input.dtype()) ? lt(abs(input), Tensor::number(HUGE_VAL)) : eq(input, input);
}

Tensor logical_not(const Tensor& input) { return eq(input, Tensor::scalar(int64_t{0}, input.dtype())); }
Tensor logical_and(const Tensor& input, const Tensor& other) { return bitwise_and(truth(input), truth(other)); }
Tensor logical_or(const Tensor& input, const Tensor& other) { return bitwise_or(truth(input), truth(other)); }
Tensor logical_xor(const Tensor& input, const Tensor& other) { return ne(truth(input), truth(other)); }
Tensor bitwise_not(const Tensor& input) {
  if (input.dtype() == DType::Bool) return logical_not(input);
  compute_dtype("bitwise_not", Domain::INTEGRAL, input);
  return bitwise_xor(input, Tensor::number(int64_t{-1}));
}

Tensor isclose(const Tensor& input, const Tensor& other, double rtol, double atol, bool equal_nan) {
  if (rtol < 0 || atol < 0) throw std::invalid_argument("rtol and atol must not be negative");
  if (input.dtype() != other.dtype() && !other->wrapped_number) {
    throw std::invalid_argument("both tensors must have one dtype, got " + describe(input) + " and " + describe(other));
  }
  Tensor close = eq(input, other);
  if (equal_nan) close = bitwise_or(close, bitwise_and(isnan(input), isnan(other)));
  const Tensor a = with_dtype_for_close(input), b = with_dtype_for_close(other);
  const Tensor allowed = add(mul(abs(b), Tensor::number(rtol)), Tensor::number(atol)), error = abs(sub(a, b));
  // An infinite error is never small, even where the allowed one is infinite.
  return bitwise_or(close, bitwise_and(isfinite(error), le(error, allowed)));
}
bool allclose(const Tensor& input, const Tensor& other, double rtol, double atol, bool equal_nan) {
  const Tensor close = all(isclose(input, other, rtol, atol, equal_nan));
  refuse_reading(close, "allclose()");
  return close.item_int64() != 0;
}
bool equal(const Tensor& input, const Tensor& other) {
  if (!(input.shape() == other.shape())) return false;
  const Tensor same = all(eq(input, other));
  refuse_reading(same, "equal()");
  return same.item_int64() != 0;
}

// nan gives way; of equal numbers the first is taken, with all of the gradient.
Tensor fmax(const Tensor& input, const Tensor& other) {
  return where(bitwise_or(ge(input, other), isnan(other)), input, other);
}
Tensor fmin(const Tensor& input, const Tensor& other) {
  return where(bitwise_or(le(input, other), isnan(other)), input, other);
}

Tensor frac(const Tensor& input) {
  if (!is_float(input.dtype())) fail_dtype("frac", input, "has no fractions");
  return sub(input, trunc(input));
}
Tensor logit(const Tensor& input, std::optional<double> eps) {
  const Tensor x = cast(input, compute_dtype("logit", Domain::FLOAT, input)), one = Tensor::number(1.0);
  const Tensor z = eps ? clamp(x, Tensor::number(*eps), Tensor::number(1 - *eps)) : x;
  return log(div(z, sub(one, z)));
}
Tensor round_with(const Tensor& input, int64_t decimals) {
  if (decimals == 0) return round(input);
  const Tensor power = Tensor::number(power_of_ten("round", input, decimals));
  return decimals > 0 ? div(round(mul(input, power)), power) : mul(round(div(input, power)), power);
}
Tensor round_with_(Tensor input, int64_t decimals) {
  return decimals == 0 ? round_(input) : write_into(input, "round", round_with(input, decimals));
}

Tensor div_with(const Tensor& input, const Tensor& other, const std::optional<std::string>& rounding_mode) {
  if (!rounding_mode) return div(input, other);
  if (rounding_mode == "floor") return floor_divide(input, other);
  if (rounding_mode != "trunc") {
    throw std::invalid_argument("div: rounding_mode must be None, 'trunc' or 'floor', got '" + *rounding_mode + "'");
  }
  if (is_float(compute_dtype("div", Domain::NUMERIC, input, other))) return trunc(div(input, other));
  return floor_divide(sub(input, fmod(input, other)), other);  // what is divided is a multiple
}
Tensor div_with_(Tensor input, const Tensor& other, const std::optional<std::string>& rounding_mode) {
  if (!rounding_mode) return div_(input, other);
  if (rounding_mode == "floor") return floor_divide_(input, other);
  return write_into(input, "div", div_with(input, other, rounding_mode));
}

OneOrMany where_or_nonzero(const Tensor& condition, const Tensor& input, const Tensor& other) {
  if (input && other) return where(condition, input, other);
  if (input || other) throw std::invalid_argument("where: give both input and other, or neither of them");
  return nonzero(condition, true);
}

}  // namespace ops
}  // namespace tg

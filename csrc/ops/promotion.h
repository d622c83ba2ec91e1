// Promotion: which dtype an op computes in, and the casts that bring its operands there.
#pragma once
#include <stdexcept>

#include "ops/ops.h"

namespace tg {

enum class Domain { FLOAT, NUMERIC, ALL, INTEGRAL };

[[noreturn]] inline void fail_dtype(const char* op, const Tensor& t, const std::string& why) {
  throw std::invalid_argument(std::string(op) + ": " + describe(t) + " " + why);
}

inline DType in_domain(const char* op, Domain domain, DType t) {
  if (domain == Domain::FLOAT && is_integral(t)) return default_dtype();
  if (domain == Domain::NUMERIC && t == DType::Bool) {
    throw std::invalid_argument(std::string(op) +
                                ": not defined for bool tensors; convert with .to(dtype) first, or "
                                "use the logical operators & | ^ ~");
  }
  if (domain == Domain::INTEGRAL && is_float(t)) {
    throw std::invalid_argument(std::string(op) + ": defined for bool and integer tensors only, got " + name(t));
  }
  return t;
}

inline DType compute_dtype(const char* op, Domain domain, const Tensor& x) { return in_domain(op, domain, x.dtype()); }
inline DType compute_dtype(const char* op, Domain domain, const Tensor& a, const Tensor& b) {
  const bool same = a.dtype() == b.dtype() && !a->wrapped_number && !b->wrapped_number;
  return in_domain(op, domain, same ? a.dtype() : result_type(a, b));
}

// A Python number becomes a constant of that dtype; a tensor is converted by an op, so that gradients flow back.
inline Tensor cast(const Tensor& t, DType dtype) {
  if (t.dtype() == dtype) return t;
  if (t->wrapped_number) {
    return is_float(dtype) || is_float(t.dtype()) ? Tensor::scalar(t.item_double(), dtype)
                                                  : Tensor::scalar(t.item_int64(), dtype);
  }
  return ops::to(t, dtype);
}

}  // namespace tg

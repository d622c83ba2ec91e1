// Elementwise ops of three or four operands: clamp, lerp, addcmul and what is made of it, sums with a factor, addcdiv.
#include <cmath>
#include <stdexcept>

#include "ops/in_place.h"
#include "ops/loop.h"
#include "ops/ops.h"
#include "ops/promotion.h"

namespace tg {
namespace {

constexpr unsigned kSaveD = kSaveC << 1;

using KernelRow = ElementwiseKernel (KernelTable::*)[kDTypeCount];
template <KernelRow Row>
Elementwise kernel_of_all(const Call& c) {
  Elementwise e = {(kernels().*Row)[static_cast<int>(c.in[0].dtype())], c.in.size(), {}};
  for (size_t k = 0; k < c.in.size(); ++k) e.in[k] = &c.in[k];
  return e;
}
void infer_all(const Call& c, OutSpec* out) {
  infer_like_first(c, out);
  for (const Tensor& t : c.in.subspan(1)) out->shape = broadcast_shapes(c.op.name, out->shape, t.shape());
}
DType common_dtype(const Tensor& a, const Tensor& b, const Tensor& c) {
  return promote(result_type(a, b), result_type(a, c));
}

// clamp(x, low, high): nothing flows where x is outside, or nan. clamp_grad(g, x, low, high) is what flows to x.
void clamp_grad_vjp(Backward& b) {
  if (b.needs(0)) b.set(0, execute(*b.node.op, {b.g, b.input(1), b.input(2), b.input(3)}));
}
constexpr Op kClampGrad = elementwise_op<kernel_of_all<&KernelTable::clamp_grad>>(
    "clamp_backward", infer_all, clamp_grad_vjp, kSaveB | kSaveC | kSaveD);
void clamp_vjp(Backward& b) {
  const Tensor x = b.input(0), low = b.input(1), high = b.input(2), zero = Tensor::number(0.0);
  if (b.needs(0)) b.set(0, execute(kClampGrad, {b.g, x, low, high}));
  if (b.needs(1)) b.set(1, ops::where(ops::bitwise_and(ops::lt(low, high), ops::lt(x, low)), b.g, zero));
  if (b.needs(2)) b.set(2, ops::where(ops::bitwise_or(ops::gt(x, high), ops::lt(high, low)), b.g, zero));
}
constexpr unsigned kSaveAll = kSaveA | kSaveB | kSaveC;
constexpr Op kClamp =
    elementwise_op<kernel_of_all<&KernelTable::clamp>>("clamp", infer_all, clamp_vjp, kSaveAll, kSaveAll, kSaveAll);

// `into`: the tensor to write to, or null for a new one.
Tensor run(const Op& op, const Tensor* into, std::initializer_list<Tensor> in) {
  return into ? write_into(*into, op, in) : execute(op, in);
}
Tensor result(const Op& op, const Tensor* into, const Tensor& y) { return into ? write_into(*into, op.name, y) : y; }

Tensor clamped(const Tensor* into, const Tensor& x, const Tensor& min, const Tensor& max) {
  if (!min && !max) throw std::invalid_argument("clamp: at least one of min and max must be given");
  const DType t = in_domain("clamp", Domain::NUMERIC, common_dtype(x, min ? min : max, max ? max : min));
  if (is_integral(t)) {  // no kernel of their own
    const Tensor raised = min ? ops::maximum(x, min) : x;
    return result(kClamp, into, max ? ops::minimum(raised, max) : raised);
  }
  const auto bound = [&](const Tensor& b, double none) { return b ? cast(b, t) : Tensor::scalar(none, t); };
  return run(kClamp, into, {cast(x, t), bound(min, -HUGE_VAL), bound(max, HUGE_VAL)});
}

// lerp(a, b, weight) = a + weight (b - a)
void lerp_vjp(Backward& b) {
  if (b.needs(0)) b.set(0, ops::sub(b.g, ops::mul(b.g, b.input(2))));
  if (b.needs(1)) b.set(1, ops::mul(b.g, b.input(2)));
  if (b.needs(2)) b.set(2, ops::mul(b.g, ops::sub(b.input(1), b.input(0))));
}
constexpr Op kLerp =
    elementwise_op<kernel_of_all<&KernelTable::lerp>>("lerp", infer_all, lerp_vjp, kSaveC, kSaveC, kSaveA | kSaveB);
Tensor interpolated(const Tensor* into, const Tensor& a, const Tensor& b, const Tensor& weight) {
  if (is_integral(a.dtype()) || is_integral(b.dtype())) {
    throw std::invalid_argument("lerp: defined for float tensors only, got " + describe(a) + " and " + describe(b));
  }
  const DType t = common_dtype(a, b, weight);
  return run(kLerp, into, {cast(a, t), cast(b, t), cast(weight, t)});
}

// addcmul(a, b, c, value) = a + value b c; value has no gradient.
void addcmul_vjp(Backward& b) {
  if (b.needs(0)) b.set(0, b.g);
  if (b.needs(1)) b.set(1, ops::mul(b.g, ops::mul(b.input(3), b.input(2))));
  if (b.needs(2)) b.set(2, ops::mul(b.g, ops::mul(b.input(3), b.input(1))));
}
constexpr Op kAddcmul = elementwise_op<kernel_of_all<&KernelTable::addcmul>>("addcmul", infer_all, addcmul_vjp, 0,
                                                                             kSaveC | kSaveD, kSaveB | kSaveD);

// A factor given beside tensors of dtype t.
Tensor factor(const std::string& argument, const Tensor& value, DType t) {
  if (!value || value.rank() != 0) {
    throw std::invalid_argument(argument + " must be a number, got " + (value ? describe(value) : "None"));
  }
  if (is_integral(t) && is_float(value.dtype())) {
    throw std::invalid_argument(argument + " must be an integer for tensors of dtype " + name(t));
  }
  return cast(value.detach(), t);
}
Tensor sum_with_product(const Tensor* into, DType t, const Tensor& a, const Tensor& b, const Tensor& c,
                        const Tensor& value) {
  if (t == DType::Bool) throw std::invalid_argument("not defined for bool tensors; convert with .to(dtype) first");
  if (is_integral(t)) return result(kAddcmul, into, ops::add(a, ops::mul(ops::mul(value, b), c)));
  return run(kAddcmul, into, {cast(a, t), cast(b, t), cast(c, t), value});
}
Tensor with_product(const Tensor* into, const Tensor& a, const Tensor& b, const Tensor& c, const Tensor& value) {
  const DType t = common_dtype(a, b, c);
  return sum_with_product(into, t, a, b, c, factor("value", value, t));
}
Tensor with_quotient(const Tensor* into, const Tensor& a, const Tensor& b, const Tensor& c, const Tensor& value) {
  if (is_integral(b.dtype()) && is_integral(c.dtype())) {
    throw std::invalid_argument("integers are not divided, got " + describe(b) + " and " + describe(c) +
                                "; convert with .float() first");
  }
  return with_product(into, a, ops::div(b, c), Tensor::number(int64_t{1}), value);
}
// a + sign alpha b
Tensor with_factor(int64_t sign, const Tensor* into, const Tensor& a, const Tensor& b, const Tensor& alpha) {
  const DType t = result_type(a, b);
  return sum_with_product(into, t, a, b, factor("alpha", alpha, t), Tensor::scalar(sign, t));
}
bool is_one(const Tensor& value) { return value && value->wrapped_number && value.item_double() == 1; }

}  // namespace

namespace ops {

Tensor clamp(const Tensor& x, const Tensor& min, const Tensor& max) { return clamped(nullptr, x, min, max); }
Tensor clamp_(Tensor x, const Tensor& min, const Tensor& max) { return clamped(&x, x, min, max); }
Tensor clamp_min(const Tensor& x, const Tensor& min) { return clamped(nullptr, x, min, {}); }
Tensor clamp_min_(Tensor x, const Tensor& min) { return clamped(&x, x, min, {}); }
Tensor clamp_max(const Tensor& x, const Tensor& max) { return clamped(nullptr, x, {}, max); }
Tensor clamp_max_(Tensor x, const Tensor& max) { return clamped(&x, x, {}, max); }

Tensor lerp(const Tensor& x, const Tensor& end, const Tensor& weight) { return interpolated(nullptr, x, end, weight); }
Tensor lerp_(Tensor x, const Tensor& end, const Tensor& weight) { return interpolated(&x, x, end, weight); }

Tensor addcmul(const Tensor& x, const Tensor& a, const Tensor& b, const Tensor& value) {
  return with_product(nullptr, x, a, b, value);
}
Tensor addcmul_(Tensor x, const Tensor& a, const Tensor& b, const Tensor& value) {
  return with_product(&x, x, a, b, value);
}
Tensor addcdiv(const Tensor& x, const Tensor& a, const Tensor& b, const Tensor& value) {
  return with_quotient(nullptr, x, a, b, value);
}
Tensor addcdiv_(Tensor x, const Tensor& a, const Tensor& b, const Tensor& value) {
  return with_quotient(&x, x, a, b, value);
}

Tensor add_with(const Tensor& a, const Tensor& b, const Tensor& alpha) {
  return is_one(alpha) ? add(a, b) : with_factor(1, nullptr, a, b, alpha);
}
Tensor add_with_(Tensor a, const Tensor& b, const Tensor& alpha) {
  return is_one(alpha) ? add_(a, b) : with_factor(1, &a, a, b, alpha);
}
Tensor sub_with(const Tensor& a, const Tensor& b, const Tensor& alpha) {
  return is_one(alpha) ? sub(a, b) : with_factor(-1, nullptr, a, b, alpha);
}
Tensor sub_with_(Tensor a, const Tensor& b, const Tensor& alpha) {
  return is_one(alpha) ? sub_(a, b) : with_factor(-1, &a, a, b, alpha);
}

}  // namespace ops
}  // namespace tg

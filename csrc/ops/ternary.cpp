// Elementwise ops of three or four operands: clamp, lerp, addcmul and what is made of it, sums with a factor, addcdiv.
#include <limits>
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
constexpr Op clamp_op(const char* name) {
  constexpr unsigned all = kSaveA | kSaveB | kSaveC;
  return elementwise_op<kernel_of_all<&KernelTable::clamp>>(name, infer_all, clamp_vjp, all, all, all);
}
constexpr Op kClamp = clamp_op("clamp"), kClampMin = clamp_op("clamp_min"), kClampMax = clamp_op("clamp_max");

// The bound that bounds nothing.
Tensor no_bound(DType t, bool upper) {
  if (is_float(t)) return Tensor::scalar(upper ? HUGE_VAL : -HUGE_VAL, t);
  return dispatch(t, [&]<class T>(T) {
    return Tensor::scalar(
        static_cast<int64_t>(upper ? std::numeric_limits<T>::max() : std::numeric_limits<T>::lowest()), t);
  });
}
// `into`: the tensor to write to, or null for a new one.
Tensor run(const Op& op, const Tensor* into, std::initializer_list<Tensor> in) {
  return into ? write_into(*into, op, in) : execute(op, in);
}

Tensor clamped(const Op& op, const Tensor* into, const Tensor& x, const Tensor& min, const Tensor& max) {
  if (!min && !max) throw std::invalid_argument(std::string(op.name) + ": at least one of min and max must be given");
  const DType t = in_domain(op.name, Domain::NUMERIC, common_dtype(x, min ? min : max, max ? max : min));
  return run(op, into, {cast(x, t), min ? cast(min, t) : no_bound(t, false), max ? cast(max, t) : no_bound(t, true)});
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
constexpr Op addcmul_op(const char* name) {
  return elementwise_op<kernel_of_all<&KernelTable::addcmul>>(name, infer_all, addcmul_vjp, 0, kSaveC | kSaveD,
                                                              kSaveB | kSaveD);
}
constexpr Op kAddcmul = addcmul_op("addcmul"), kAddcdiv = addcmul_op("addcdiv"), kAdd = addcmul_op("add"),
             kSub = addcmul_op("sub");

// A factor given beside tensors of dtype t.
Tensor factor(const char* op, const char* argument, const Tensor& value, DType t) {
  if (!value || value.rank() != 0) {
    throw std::invalid_argument(std::string(op) + ": " + argument + " must be a number, got " +
                                (value ? describe(value) : "None"));
  }
  if (is_integral(t) && is_float(value.dtype())) {
    throw std::invalid_argument(std::string(op) + ": " + argument + " must be an integer for tensors of dtype " +
                                name(t));
  }
  return cast(value.detach(), t);
}
Tensor with_product(const Op& op, const Tensor* into, const Tensor& a, const Tensor& b, const Tensor& c,
                    const Tensor& value) {
  const DType t = in_domain(op.name, Domain::NUMERIC, common_dtype(a, b, c));
  return run(op, into, {cast(a, t), cast(b, t), cast(c, t), factor(op.name, "value", value, t)});
}
Tensor with_quotient(const Tensor* into, const Tensor& a, const Tensor& b, const Tensor& c, const Tensor& value) {
  if (is_integral(b.dtype()) && is_integral(c.dtype())) {
    throw std::invalid_argument("addcdiv: integers are not divided, got " + describe(b) + " and " + describe(c) +
                                "; convert with .float() first");
  }
  return with_product(kAddcdiv, into, a, ops::div(b, c), Tensor::number(int64_t{1}), value);
}
// a + sign alpha b
Tensor with_factor(const Op& op, double sign, const Tensor* into, const Tensor& a, const Tensor& b,
                   const Tensor& alpha) {
  const DType t = in_domain(op.name, Domain::NUMERIC, result_type(a, b));
  return run(op, into, {cast(a, t), cast(b, t), factor(op.name, "alpha", alpha, t), Tensor::scalar(sign, t)});
}
bool is_one(const Tensor& value) { return value && value->wrapped_number && value.item_double() == 1; }

}  // namespace

namespace ops {

Tensor clamp(const Tensor& x, const Tensor& min, const Tensor& max) { return clamped(kClamp, nullptr, x, min, max); }
Tensor clamp_(Tensor x, const Tensor& min, const Tensor& max) { return clamped(kClamp, &x, x, min, max); }
Tensor clamp_min(const Tensor& x, const Tensor& min) { return clamped(kClampMin, nullptr, x, min, {}); }
Tensor clamp_min_(Tensor x, const Tensor& min) { return clamped(kClampMin, &x, x, min, {}); }
Tensor clamp_max(const Tensor& x, const Tensor& max) { return clamped(kClampMax, nullptr, x, {}, max); }
Tensor clamp_max_(Tensor x, const Tensor& max) { return clamped(kClampMax, &x, x, {}, max); }

Tensor lerp(const Tensor& x, const Tensor& end, const Tensor& weight) { return interpolated(nullptr, x, end, weight); }
Tensor lerp_(Tensor x, const Tensor& end, const Tensor& weight) { return interpolated(&x, x, end, weight); }

Tensor addcmul(const Tensor& x, const Tensor& a, const Tensor& b, const Tensor& value) {
  return with_product(kAddcmul, nullptr, x, a, b, value);
}
Tensor addcmul_(Tensor x, const Tensor& a, const Tensor& b, const Tensor& value) {
  return with_product(kAddcmul, &x, x, a, b, value);
}
Tensor addcdiv(const Tensor& x, const Tensor& a, const Tensor& b, const Tensor& value) {
  return with_quotient(nullptr, x, a, b, value);
}
Tensor addcdiv_(Tensor x, const Tensor& a, const Tensor& b, const Tensor& value) {
  return with_quotient(&x, x, a, b, value);
}

Tensor add_with(const Tensor& a, const Tensor& b, const Tensor& alpha) {
  return is_one(alpha) ? add(a, b) : with_factor(kAdd, 1, nullptr, a, b, alpha);
}
Tensor add_with_(Tensor a, const Tensor& b, const Tensor& alpha) {
  return is_one(alpha) ? add_(a, b) : with_factor(kAdd, 1, &a, a, b, alpha);
}
Tensor sub_with(const Tensor& a, const Tensor& b, const Tensor& alpha) {
  return is_one(alpha) ? sub(a, b) : with_factor(kSub, -1, nullptr, a, b, alpha);
}
Tensor sub_with_(Tensor a, const Tensor& b, const Tensor& alpha) {
  return is_one(alpha) ? sub_(a, b) : with_factor(kSub, -1, &a, a, b, alpha);
}

}  // namespace ops
}  // namespace tg

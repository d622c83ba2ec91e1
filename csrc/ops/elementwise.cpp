// Elementwise ops: every UNARY, BINARY and COMPARE row of ops.def becomes an Op, its gradient, and a C++ function.
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <type_traits>

#include "kernels/elementwise.inl.h"
#include "kernels/parametric.inl.h"
#include "ops/activation.h"
#include "ops/cost.h"
#include "ops/in_place.h"
#include "ops/loop.h"
#include "ops/ops.h"
#include "ops/promotion.h"

namespace tg {
namespace {

// A tensor in the clothes of a number: instantiating a functor's derivative with it writes the derivative in ops, so
// that it can be differentiated again.
struct Sym {
  Tensor t;
  Sym() = default;
  explicit Sym(Tensor x) : t(std::move(x)) {}
  explicit Sym(double x) : t(Tensor::number(x)) {}
};
#define SYM_OPERATOR(sign, op) \
  [[maybe_unused]] Sym operator sign(const Sym& a, const Sym& b) { return Sym(ops::op(a.t, b.t)); }
SYM_OPERATOR(+, add)
SYM_OPERATOR(-, sub)
SYM_OPERATOR(*, mul)
SYM_OPERATOR(/, div)
SYM_OPERATOR(==, eq)
SYM_OPERATOR(!=, ne)
SYM_OPERATOR(<, lt)
SYM_OPERATOR(<=, le)
SYM_OPERATOR(>, gt)
SYM_OPERATOR(>=, ge)
SYM_OPERATOR(&, bitwise_and)
SYM_OPERATOR(|, bitwise_or)
#undef SYM_OPERATOR
Sym operator-(const Sym& a) { return Sym(ops::neg(a.t)); }
[[maybe_unused]] Sym select(const Sym& mask, const Sym& a, const Sym& b) { return Sym(ops::where(mask.t, a.t, b.t)); }
#define UNARY(name, ...) \
  [[maybe_unused]] Sym name(const Sym& x) { return Sym(ops::name(x.t)); }
#define BINARY(name, ...) \
  [[maybe_unused]] Sym name(const Sym& a, const Sym& b) { return Sym(ops::name(a.t, b.t)); }
#include "ops/ops.def"

constexpr int at(DType t) { return static_cast<int>(t); }

void infer_broadcast(const Call& c, OutSpec* out) {
  *out = {broadcast_shapes(c.op.name, c.in[0].shape(), c.in[1].shape()), c.in[0].dtype()};
}

// The functors state their cost in float32; float64 takes twice as long.
double compute_ns(double float_ns, const Tensor& x) { return x.dtype() == DType::Float64 ? 2 * float_ns : float_ns; }

template <class F>
constexpr bool kIsPow = std::is_same_v<F, Pow>;  // whose kernels take another way for one exponent of 2

template <UnaryKernels KernelTable::* Kernels, class F>
Elementwise unary_kernel(const Call& c) {
  const Tensor& x = c.in[0];
  return {(kernels().*Kernels).forward[at(x.dtype())], 1, {&x}, compute_ns(kComputeNs<F>, x)};
}

template <BinaryKernels KernelTable::* Kernels, class F>
Elementwise binary_kernel(const Call& c) {
  const Tensor& a = c.in[0];
  return {(kernels().*Kernels).forward[at(a.dtype())], 2, {&a, &c.in[1]}, compute_ns(kComputeNs<F>, a), kIsPow<F>};
}

// A gradient op's inputs are g and then only the operands its functor needs; the kernel has a place for each.
template <unsigned Needs, size_t Places, class F>
Elementwise gradient_kernel(ElementwiseKernel kernel, const Call& c) {
  Elementwise e = {kernel, Places, {&c.in[0]}, compute_ns(kGradientNs<F>, c.in[0]), kIsPow<F>};
  size_t next = 1;
  constexpr unsigned bits[3] = {kNeedsA, Places == 4 ? kNeedsB : kNeedsY, kNeedsY};
  for (size_t p = 1; p < Places; ++p) {
    if (Needs & bits[p - 1]) e.in[p] = &c.in[next++];
  }
  return e;
}

template <UnaryKernels KernelTable::* Kernels, class F>
Elementwise unary_gradient_kernel(const Call& c) {
  return gradient_kernel<F::needs, 3, F>((kernels().*Kernels).grad[at(c.in[0].dtype())], c);
}

template <BinaryKernels KernelTable::* Kernels, class F, int Input>
Elementwise binary_gradient_kernel(const Call& c) {
  const BinaryKernels& k = kernels().*Kernels;
  const auto* table = Input == 0 ? k.grad_a : k.grad_b;
  constexpr unsigned needs = Input == 0 ? F::needs_a : F::needs_b;
  return gradient_kernel<needs, 4, F>(table[at(c.in[0].dtype())], c);
}

constexpr unsigned saved_bits(unsigned needs) {
  return (needs & kNeedsA ? kSaveA : 0u) | (needs & kNeedsB ? kSaveB : 0u) | (needs & kNeedsY ? kSaveOutput : 0u);
}

// The operands named by Needs, read back from the node.
template <unsigned Needs>
struct Operands {
  Tensor a, b, y;
  explicit Operands(const Backward& step) {
    if constexpr (Needs & kNeedsA) a = step.input(0);
    if constexpr (Needs & kNeedsB) b = step.input(1);
    if constexpr (Needs & kNeedsY) y = step.output();
  }
  Tensor execute_gradient(const Op& op, const Tensor& g) const {
    Tensor in[4] = {g};
    size_t n = 1;
    for (const Tensor& t : {a, b, y}) {
      if (t) in[n++] = t;
    }
    return execute(op, std::span<const Tensor>(in, n));
  }
};

// The gradient of one input: by the op with the kernel, or, where it may be differentiated again or has no kernel, by
// in_ops(g, operands).
template <unsigned Needs, const Op& Gradient, class F>
void set_gradient(Backward& step, int input, F in_ops) {
  if constexpr (Needs & kPassThrough) {
    step.set(input, step.g);
  } else if constexpr (Needs & kNoSlope) {
    step.set(input, ops::full(step.g.shape(), Tensor::number(0.0), step.g.dtype()));
  } else {
    const Operands<Needs> p(step);
    const bool by_ops = (Needs & kInOps) != 0 || grad_enabled();
    step.set(input, by_ops ? in_ops(Sym(step.g), p).t : p.execute_gradient(Gradient, step.g));
  }
}

// The functors' derivatives as functions of g and the operands; looked up only where there is one to call.
template <class F>
struct Slope {
  template <class P>
  Sym operator()(const Sym& g, const P& p) const {
    return F::grad(g, Sym(p.a), Sym(p.y));
  }
};
template <class F, int Input>
struct SlopeIn {
  template <class P>
  Sym operator()(const Sym& g, const P& p) const {
    if constexpr (Input == 0) return F::grad_a(g, Sym(p.a), Sym(p.b), Sym(p.y));
    if constexpr (Input == 1) return F::grad_b(g, Sym(p.a), Sym(p.b), Sym(p.y));
  }
};

template <class F, const Op& Gradient>
void unary_vjp(Backward& step) {
  set_gradient<F::needs, Gradient>(step, 0, Slope<F>());
}
template <class F, const Op& GradientA, const Op& GradientB>
void binary_vjp(Backward& step) {
  if (step.needs(0)) set_gradient<F::needs_a, GradientA>(step, 0, SlopeIn<F, 0>());
  if (step.needs(1)) set_gradient<F::needs_b, GradientB>(step, 1, SlopeIn<F, 1>());
}

template <class F>
concept DifferentiableUnary = requires { F::needs; };
template <class F>
concept DifferentiableBinary = requires { F::needs_a; };

// The Ops of a row. `name` is a type, so that the row's string can be part of a constant.
template <class Row>
struct UnaryOps {
  using F = typename Row::Functor;
  static constexpr Op backward =
      elementwise_op<unary_gradient_kernel<Row::kernels, F>>(Row::backward_name, infer_like_first);
  static constexpr Op op = elementwise_op<unary_kernel<Row::kernels, F>>(Row::name, infer_like_first,
                                                                         unary_vjp<F, backward>, saved_bits(F::needs));
};

template <class Row>
struct BinaryOps {
  using F = typename Row::Functor;
  static constexpr Op op = elementwise_op<binary_kernel<Row::kernels, F>>(Row::name, infer_broadcast);
};

template <class Row>
  requires DifferentiableBinary<typename Row::Functor>
struct BinaryOps<Row> {
  using F = typename Row::Functor;
  static constexpr Op backward_a =
      elementwise_op<binary_gradient_kernel<Row::kernels, F, 0>>(Row::backward_name, infer_like_first);
  static constexpr Op backward_b =
      elementwise_op<binary_gradient_kernel<Row::kernels, F, 1>>(Row::backward_name, infer_like_first);
  static constexpr Op op =
      elementwise_op<binary_kernel<Row::kernels, F>>(Row::name, infer_broadcast, binary_vjp<F, backward_a, backward_b>,
                                                     saved_bits(F::needs_a), saved_bits(F::needs_b));
};

// y = f(x; p, q), and its gradient in x from g, x, p, q.
template <UnaryKernels KernelTable::* Kernels, class F, bool Gradient>
Elementwise parametric_kernel(const Call& c) {
  const UnaryKernels& k = kernels().*Kernels;
  const Tensor& first = c.in[0];
  Elementwise e = {(Gradient ? k.grad : k.forward)[at(first.dtype())], c.in.size(), {}};
  e.ns = compute_ns(Gradient ? kGradientNs<F> : kComputeNs<F>, first);
  for (size_t i = 0; i < c.in.size(); ++i) e.in[i] = &c.in[i];
  return e;
}

template <class F, const Op& Gradient>
void parametric_vjp(Backward& step) {
  const Tensor in[4] = {step.g, step.input(0), step.input(1), F::numbers == 2 ? step.input(2) : Tensor()};
  step.set(0, grad_enabled() ? F::grad(Sym(in[0]), Sym(in[1]), Sym(in[2]), Sym(in[3])).t
                             : execute(Gradient, std::span<const Tensor>(in, 2 + F::numbers)));
}

template <class Row>
struct ParametricOps {
  using F = typename Row::Functor;
  static constexpr Op backward =
      elementwise_op<parametric_kernel<Row::kernels, F, true>>(Row::backward_name, infer_like_first);
  static constexpr Op op = elementwise_op<parametric_kernel<Row::kernels, F, false>>(
      Row::name, infer_like_first, parametric_vjp<F, backward>, kSaveA | kSaveB | (F::numbers == 2 ? kSaveC : 0u));
};

template <class Row>
Tensor parametric(const Tensor& x, const Tensor& p, const Tensor& q) {
  const DType dtype = compute_dtype(Row::name, Domain::FLOAT, x);
  const Tensor in[3] = {cast(x, dtype), cast(p, dtype), Row::Functor::numbers == 2 ? cast(q, dtype) : Tensor()};
  return execute(ParametricOps<Row>::op, std::span<const Tensor>(in, 1 + Row::Functor::numbers));
}

// Division of integers: run() looks for zeros among the divisors, which are contiguous.
template <Elementwise (*kernel)(const Call&)>
void run_integer_division(const Call& c, std::span<Tensor> out) {
  const Tensor& divisor = c.in[1];
  dispatch(divisor.dtype(), [&]<class T>(T) {
    const T* p = divisor.data<T>();
    if (out[0].numel() && std::find(p, p + divisor.numel(), T(0)) != p + divisor.numel()) {
      throw std::runtime_error(std::string(c.op.name) + ": division of integers by zero");
    }
  });
  run_loop(kernel(c), out[0]);
}
template <class Row>
const Op& integer_op() {
  if constexpr (requires { Row::Functor::divides; }) {
    static constexpr Op op = {.name = Row::name,
                              .infer = infer_broadcast,
                              .run = run_integer_division<binary_kernel<Row::kernels, typename Row::Functor>>,
                              .may_stop = true};
    return op;
  } else {
    return BinaryOps<Row>::op;
  }
}

Tensor unary(const Op& op, Domain domain, const Tensor& x) {
  const DType dtype = compute_dtype(op.name, domain, x);
  return execute(op, {cast(x, dtype)});
}

Tensor unary_in_place(const Op& op, Domain domain, const Tensor& x) {
  return write_into(x, op, {cast(x, compute_dtype(op.name, domain, x))});
}

// The op and its operands, in the dtype in which it is computed.
template <class Row>
struct Binary {
  DType dtype;
  const Op& op;
  Tensor a, b;
  Binary(Domain domain, const Tensor& x, const Tensor& y)
      : dtype(compute_dtype(Row::name, domain, x, y)),
        op(is_integral(dtype) ? integer_op<Row>() : BinaryOps<Row>::op),
        a(cast(x, dtype)),
        b(op.may_stop ? ops::contiguous(cast(y, dtype)) : cast(y, dtype)) {}
};

// x ** c for the exponents that have an op of their own, and 2 ** x; otherwise an empty tensor.
Tensor pow_shortcut(const Tensor& a, const Tensor& b) {
  if (a->wrapped_number && is_float(b.dtype()) && a.item_double() == 2) return ops::exp2(b);
  if (!b->wrapped_number) return {};
  const double c = b.item_double();
  if (is_integral(a.dtype()) && is_integral(b.dtype()) && c < 0) {
    throw std::invalid_argument("pow: integers cannot be raised to a negative integer power; got " + describe(a) +
                                " ** " + std::to_string(static_cast<int64_t>(c)) + "; convert with .float() first");
  }
  if (result_type(a, b) != a.dtype() || a.dtype() == DType::Bool) return {};
  if (c == 2) return ops::square(a);
  if (!is_float(a.dtype())) return {};
  if (c == 0.5) return ops::sqrt(a);
  if (c == -0.5) return ops::rsqrt(a);
  if (c == -1) return ops::reciprocal(a);
  return {};
}

template <CompareKernels KernelTable::* Kernels>
Elementwise compare_kernel(const Call& c) {
  return {(kernels().*Kernels).forward[at(c.in[0].dtype())], 2, {&c.in[0], &c.in[1]}};
}

void infer_compare(const Call& c, OutSpec* out) {
  *out = {broadcast_shapes(c.op.name, c.in[0].shape(), c.in[1].shape()), DType::Bool};
}

namespace rows {
#define UNARY(NAME, FUNCTOR, ...)                                              \
  struct NAME {                                                                \
    using Functor = FUNCTOR;                                                   \
    static constexpr const char* name = #NAME;                                 \
    static constexpr const char* backward_name = #NAME "_backward";            \
    static constexpr UnaryKernels KernelTable::* kernels = &KernelTable::NAME; \
  };
#define BINARY(NAME, FUNCTOR, ...)                                              \
  struct NAME {                                                                 \
    using Functor = FUNCTOR;                                                    \
    static constexpr const char* name = #NAME;                                  \
    static constexpr const char* backward_name = #NAME "_backward";             \
    static constexpr BinaryKernels KernelTable::* kernels = &KernelTable::NAME; \
  };
#define PARAMETRIC(NAME, FUNCTOR)                                              \
  struct NAME {                                                                \
    using Functor = FUNCTOR;                                                   \
    static constexpr const char* name = #NAME;                                 \
    static constexpr const char* backward_name = #NAME "_backward";            \
    static constexpr UnaryKernels KernelTable::* kernels = &KernelTable::NAME; \
  };
#include "ops/ops.def"
}  // namespace rows

template <class Row>
Tensor gradient_from_output(const Tensor& g, const Tensor& y) {
  static_assert(Row::Functor::needs == kNeedsY);
  if (grad_enabled()) return Row::Functor::grad(Sym(g), Sym(), Sym(y)).t;
  return execute(UnaryOps<Row>::backward, {g, y});
}
template <class Row>
constexpr Activation kActivation = {Row::kernels, gradient_from_output<Row>, &UnaryOps<Row>::op,
                                    &UnaryOps<Row>::backward};

}  // namespace

constexpr Activation kRelu = kActivation<rows::relu>;
constexpr Activation kTanh = kActivation<rows::tanh>;
constexpr Activation kSigmoid = kActivation<rows::sigmoid>;

namespace ops {

#define UNARY(NAME, FUNCTOR, DOMAIN, DOC)                               \
  Tensor NAME(const Tensor& x) {                                        \
    if (keeps<FUNCTOR>(at(x.dtype()))) return clone(x);                 \
    return unary(UnaryOps<rows::NAME>::op, Domain::DOMAIN, x);          \
  }                                                                     \
  Tensor NAME##_(Tensor x) {                                            \
    if (keeps<FUNCTOR>(at(x.dtype()))) return x;                        \
    return unary_in_place(UnaryOps<rows::NAME>::op, Domain::DOMAIN, x); \
  }
#define BINARY(NAME, FUNCTOR, DOMAIN, DOC)                         \
  Tensor NAME(const Tensor& a, const Tensor& b) {                  \
    if constexpr (std::is_same_v<FUNCTOR, Pow>) {                  \
      if (Tensor short_cut = pow_shortcut(a, b)) return short_cut; \
    }                                                              \
    const Binary<rows::NAME> run(Domain::DOMAIN, a, b);            \
    return execute(run.op, {run.a, run.b});                        \
  }                                                                \
  Tensor NAME##_(Tensor a, const Tensor& b) {                      \
    const Binary<rows::NAME> run(Domain::DOMAIN, a, b);            \
    return write_into(a, run.op, {run.a, run.b});                  \
  }
#define COMPARE(NAME, FUNCTOR, DOC)                                                                    \
  Tensor NAME(const Tensor& a, const Tensor& b) {                                                      \
    static constexpr Op op = elementwise_op<compare_kernel<&KernelTable::NAME>>(#NAME, infer_compare); \
    const DType dtype = compute_dtype(op.name, Domain::ALL, a, b);                                     \
    return execute(op, {cast(a, dtype), cast(b, dtype)});                                              \
  }
#define PARAMETRIC(NAME, ...)                                                  \
  Tensor parametric::NAME(const Tensor& x, const Tensor& p, const Tensor& q) { \
    return tg::parametric<rows::NAME>(x, p, q);                                \
  }
#include "ops/ops.def"

}  // namespace ops
}  // namespace tg

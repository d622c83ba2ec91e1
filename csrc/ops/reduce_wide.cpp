// prod and the Euclidean norm: reductions whose partial results are doubles, or integers modulo 2^64.
#include <cmath>

#include "ops/promotion.h"
#include "ops/reduce.h"
#include "ops/scan.h"

namespace tg {
namespace {

template <class T>
using Wide = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;

struct Product {
  static constexpr int identity = 1;
  template <class A>
  static A of(A x) {
    return x;
  }
  template <class A>
  static A join(A a, A b) {
    return a * b;
  }
};
struct Squares {
  static constexpr int identity = 0;
  static double of(double x) { return x * x; }
  static double join(double a, double b) { return a + b; }
};

template <class F, class T>
void rows(int64_t count, int64_t n, const void* x_, int64_t row_stride, void* out) {
  using A = Wide<T>;
  constexpr int64_t kLanes = 16;
  for (int64_t r = 0; r < count; ++r) {
    const T* x = static_cast<const T*>(x_) + r * row_stride;
    A lanes[kLanes];
    std::fill_n(lanes, kLanes, A{F::identity});
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      for (int64_t k = 0; k < kLanes; ++k) lanes[k] = F::join(lanes[k], F::of(static_cast<A>(x[i + k])));
    }
    for (; i < n; ++i) lanes[0] = F::join(lanes[0], F::of(static_cast<A>(x[i])));
    for (int64_t k = 1; k < kLanes; ++k) lanes[0] = F::join(lanes[0], lanes[k]);
    static_cast<A*>(out)[r] = lanes[0];
  }
}

template <class F, class T>
void columns(int64_t n, int64_t count, const void* x_, int64_t ld, void* out_) {
  using A = Wide<T>;
  A* out = static_cast<A*>(out_);
  std::fill_n(out, count, A{F::identity});
  for (int64_t i = 0; i < n; ++i) {
    const T* x = static_cast<const T*>(x_) + i * ld;
    for (int64_t j = 0; j < count; ++j) out[j] = F::join(out[j], F::of(static_cast<A>(x[j])));
  }
}

template <class F, class A>
void join(const Reduction&, const Pieces& p, const char* partial, char* out) {
  const auto* parts = reinterpret_cast<const A*>(partial);
  auto* results = reinterpret_cast<A*>(out);
  std::copy_n(parts, p.outputs, results);
  for (int64_t c = 1; c < p.chunks; ++c) {
    for (int64_t o = 0; o < p.outputs; ++o) results[o] = F::join(results[o], parts[c * p.outputs + o]);
  }
}

template <class F, class T>
auto row_kernel() {
  if constexpr (std::is_same_v<F, Squares>)
    return kernels().squares.rows[sizeof(T) == 8];
  else
    return rows<F, T>;
}

// finish(wide result): what becomes of each
template <class F, class T, class Finish>
void reduce(const Call& c, const Tensor& out, Finish&& finish) {
  using A = Wide<T>;
  constexpr int dtype = sizeof(T) == 4 ? kFloat32 : std::is_integral_v<T> ? kInt64 : kFloat64;
  ReduceKernels k = {};
  k.rows[dtype] = row_kernel<F, T>();
  k.cols[dtype] = columns<F, T>;
  const Tensor wide = Tensor::empty(out.shape(), DType::Float64);  // or integers of that size
  if (c.in[0].numel() == 0)
    std::fill_n(wide.data<A>(), out.numel(), A{F::identity});
  else
    run_reduction({k, dtype, sizeof(A), join<F, A>}, c.in[0], reduced_dims(c.attrs), wide);
  for (int64_t i = 0; i < out.numel(); ++i) out.data<T>()[i] = static_cast<T>(finish(wide.data<A>()[i]));
}

void run_prod(const Call& c, std::span<Tensor> out) {
  const auto same = [](auto x) { return x; };
  switch (out[0].dtype()) {
    case DType::Float32: return reduce<Product, float>(c, out[0], same);
    case DType::Float64: return reduce<Product, double>(c, out[0], same);
    default: return reduce<Product, int64_t>(c, out[0], same);
  }
}
// The product of the others, in front and behind; no division, as x may have zeros. In double, as the parts of an
// ordinary product may be out of the range of float.
void prod_vjp(Backward& b) {
  const Tensor x = ops::to(b.input(0), DType::Float64);
  const int dim = static_cast<int>(dims_in(reduced_dims(b.attrs()))[0]);
  const auto beside = [&](bool from_end) { return moved_by_one(running_product(x, dim, from_end), dim, from_end, 1); };
  const Tensor others = ops::to(ops::mul(beside(false), beside(true)), b.g.dtype());
  b.set(0, ops::mul(with_reduced_dims(b, b.g), others));
}
constexpr Op kProd = {"prod", infer_reduce, nullptr, run_prod, prod_vjp, {kSaveA}};

void run_norm(const Call& c, std::span<Tensor> out) {
  const auto root = [](double x) { return std::sqrt(x); };
  out[0].dtype() == DType::Float32 ? reduce<Squares, float>(c, out[0], root) : reduce<Squares, double>(c, out[0], root);
}
// g x / norm; where the norm is 0 the gradient is 0, PyTorch's convention.
void norm_vjp(Backward& b) {
  const Tensor y = b.output(), zero = Tensor::number(0.0), at_zero = ops::eq(y, zero);
  const Tensor share = ops::where(at_zero, zero, ops::div(b.g, ops::where(at_zero, Tensor::number(1.0), y)));
  b.set(0, ops::mul(b.input(0), with_reduced_dims(b, share)));
}

}  // namespace

constexpr Op kEuclideanNorm = {"norm", infer_reduce, nullptr, run_norm, norm_vjp, {kSaveA | kSaveOutput}};

namespace ops {

Tensor prod(const Tensor& input, MaybeDim dim, bool keepdim, MaybeDType dtype) {
  if (!dim && keepdim) throw std::invalid_argument("prod: keepdim needs a dim");
  const Tensor x = to_sum_dtype(input, dtype);
  const Tensor lines = x.rank() && dim ? x : reshape(x, {x.numel()});
  if (x.rank() == 0 && dim) normalize_dim("prod", *dim, 0);
  const Tensor y = reduce_dims(kProd, lines, as_dims(x.rank() ? dim.value_or(0) : 0), keepdim && x.rank());
  return dtype ? to(y, *dtype) : y;
}

}  // namespace ops
}  // namespace tg

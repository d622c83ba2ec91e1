// Reductions: sum, mean, amax, amin, max, min, argmax, argmin, any, all, var, std.
#include <cmath>
#include <limits>
#include <stdexcept>

#include "kernels/kernel_table.h"
#include "ops/promotion.h"
#include "ops/reduce.h"

namespace tg {

void infer_reduce(const Call& c, OutSpec* out) {
  Dims shape;
  for (int i = 0; i < c.in[0].rank(); ++i) {
    if (!(reduced_dims(c.attrs) >> i & 1))
      shape.push_back(c.in[0].size(i));
    else if (c.attrs.flag)
      shape.push_back(1);
  }
  *out = {shape, c.in[0].dtype()};
}

Tensor with_reduced_dims(const Backward& b, const Tensor& t) {
  if (b.attrs().flag) return t;
  Dims shape = b.input_shape(0);
  for (int i = 0; i < shape.size(); ++i) {
    if (reduced_dims(b.attrs()) >> i & 1) shape[i] = 1;
  }
  return ops::reshape(t, shape);
}

Dims dims_in(uint64_t mask) {
  Dims dims;
  for (int i = 0; mask >> i; ++i) {
    if (mask >> i & 1) dims.push_back(i);
  }
  return dims;
}

uint64_t dims_mask(const char* op, int rank, const ops::MaybeDims& dim) {
  if (!dim || dim->empty()) return rank ? ~uint64_t{0} >> (64 - rank) : 0;
  uint64_t mask = 0;
  for (int64_t d : *dim) {
    const uint64_t bit = uint64_t{1} << normalize_dim(op, d, rank);
    if (mask & bit) throw std::invalid_argument(std::string(op) + ": dim " + std::to_string(d) + " is given twice");
    mask |= bit;
  }
  return rank ? mask : 0;  // dim 0 of a scalar is none
}

Tensor reduce_dims(const Op& op, const Tensor& input, const ops::MaybeDims& dim, bool keepdim, double correction) {
  Attrs attrs;
  attrs.integer[0] = static_cast<int64_t>(dims_mask(op.name, input.rank(), dim));
  attrs.scalar[0] = correction;
  attrs.flag = keepdim;
  return execute(op, {input}, attrs);
}

Tensor to_sum_dtype(const Tensor& input, ops::MaybeDType dtype) {
  const Tensor x = dtype ? ops::to(input, *dtype) : input;
  return is_integral(x.dtype()) ? ops::to(x, DType::Int64) : x;
}

namespace {

// How many elements make one result.
int64_t reduced_count(const Dims& shape, const Attrs& a) {
  int64_t n = 1;
  for (int i = 0; i < shape.size(); ++i) n *= reduced_dims(a) >> i & 1 ? shape[i] : 1;
  return n;
}

int64_t item(const Tensor& t) { return static_cast<int64_t>(itemsize(t.dtype())); }

void reduce_values(const ReduceKernels& k, const Tensor& x, const Attrs& attrs, const Tensor& out,
                   const ElementSource* source = nullptr) {
  if (x.numel() == 0)  // a sum of nothing, or no result
    std::memset(out.data(), 0, static_cast<size_t>(out.numel()) * itemsize(x.dtype()));
  else
    run_reduction({k, static_cast<int>(x.dtype()), item(x), join_values, false, source}, x, reduced_dims(attrs), out);
}

template <ReduceKernels KernelTable::* Kernels>
void run_values(const Call& c, std::span<Tensor> out) {
  reduce_values(kernels().*Kernels, c.in[0], c.attrs, out[0]);
}

void sum_vjp(Backward& b) { b.set(0, ops::expand(with_reduced_dims(b, b.g), b.input_shape(0))); }

void divide_by_count(const Tensor& x, const Attrs& attrs, const Tensor& out) {
  const auto n = static_cast<double>(reduced_count(x.shape(), attrs));
  const auto scale = [&](auto* p) {
    using T = std::remove_pointer_t<decltype(p)>;
    for (int64_t i = 0; i < out.numel(); ++i) p[i] = static_cast<T>(p[i] / static_cast<T>(n));
  };
  out.dtype() == DType::Float32 ? scale(out.data<float>()) : scale(out.data<double>());
}
void run_mean(const Call& c, std::span<Tensor> out) {
  run_values<&KernelTable::sum>(c, out);
  divide_by_count(c.in[0], c.attrs, out[0]);
}
void mean_vjp(Backward& b) {
  const Tensor g = ops::div(
      b.g, Tensor::number(static_cast<double>(std::max<int64_t>(reduced_count(b.input_shape(0), b.attrs()), 1))));
  b.set(0, ops::expand(with_reduced_dims(b, g), b.input_shape(0)));
}

void infer_extreme(const Call& c, OutSpec* out) {
  infer_reduce(c, out);
  if (c.in[0].numel() == 0 && checked_numel(out->shape) > 0) {
    throw std::out_of_range(std::string(c.op.name) + ": no elements to reduce in " + describe(c.in[0]));
  }
}
void infer_extreme_index(const Call& c, OutSpec* out) {
  infer_extreme(c, out);
  out->dtype = DType::Int64;
}
// Elements that tie share the gradient evenly.
void extreme_vjp(Backward& b) {
  const Tensor x = b.input(0), y = with_reduced_dims(b, b.output());
  const Tensor ties = ops::to(ops::eq(x, y), b.g.dtype());
  const Tensor share = ops::div(with_reduced_dims(b, b.g), ops::sum(ties, dims_in(reduced_dims(b.attrs())), true));
  b.set(0, ops::mul(ties, share));
}
constexpr Op kAmax = {"amax",      infer_extreme,         nullptr, run_values<&KernelTable::max>,
                      extreme_vjp, {kSaveA | kSaveOutput}};
constexpr Op kAmin = {"amin",      infer_extreme,         nullptr, run_values<&KernelTable::min>,
                      extreme_vjp, {kSaveA | kSaveOutput}};

template <ReduceKernels KernelTable::* Kernels>
void run_index(const Call& c, std::span<Tensor> out) {
  const Tensor& x = c.in[0];
  if (x.numel() == 0) return;
  run_reduction({kernels().*Kernels, static_cast<int>(x.dtype()), sizeof(int64_t), join_positions, true}, x,
                reduced_dims(c.attrs), out[0]);
}
constexpr Op kArgmax = {"argmax", infer_extreme_index, nullptr, run_index<&KernelTable::argmax>, nullptr};
constexpr Op kArgmin = {"argmin", infer_extreme_index, nullptr, run_index<&KernelTable::argmin>, nullptr};

// The largest and the smallest of bool values, with values for nothing.
template <ReduceKernels KernelTable::* Kernels, bool of_nothing>
void run_bool(const Call& c, std::span<Tensor> out) {
  if (c.in[0].numel() == 0)
    std::memset(out[0].data(), of_nothing, static_cast<size_t>(out[0].numel()));
  else
    run_values<Kernels>(c, out);
}
constexpr Op kAny = {"any", infer_reduce, nullptr, run_bool<&KernelTable::max, false>, nullptr};
constexpr Op kAll = {"all", infer_reduce, nullptr, run_bool<&KernelTable::min, true>, nullptr};

Tensor as_bool(const Tensor& x) {
  return x.dtype() == DType::Bool ? x : ops::ne(x, Tensor::scalar(int64_t{0}, x.dtype()));
}

// var and std: attrs.scalar[0] is the correction.
double degrees_of_freedom(const Dims& shape, const Attrs& a) {
  return std::max(static_cast<double>(reduced_count(shape, a)) - a.scalar[0], 0.0);
}

template <bool root>
void run_moments(const Call& c, std::span<Tensor> out) {
  const Tensor& x = c.in[0];
  const double n = degrees_of_freedom(x.shape(), c.attrs);
  const int64_t outputs = out[0].numel();
  // A double complex number, so to speak: two doubles for each result, in the layout of `out`.
  Dims shape = out[0].shape();
  shape.push_back(2);
  const Tensor moments = Tensor::empty(shape, DType::Float64);
  const auto* m = moments.data<Moments>();
  const auto finish = [&](auto* y) {
    for (int64_t i = 0; i < outputs; ++i) {
      const double v = x.numel() ? m[i].squares / n : std::numeric_limits<double>::quiet_NaN();
      y[i] = static_cast<std::remove_pointer_t<decltype(y)>>(root ? std::sqrt(v) : v);
    }
  };
  if (x.numel()) {
    run_reduction({kernels().moments, static_cast<int>(x.dtype()), sizeof(Moments), join_moments}, x,
                  reduced_dims(c.attrs), moments);
  }
  x.dtype() == DType::Float32 ? finish(out[0].data<float>()) : finish(out[0].data<double>());
}
// d var / dx = 2 (x - mean) / (n - correction)
void set_moment_gradient(Backward& b, const Tensor& g) {
  const Tensor x = b.input(0);
  const double n = degrees_of_freedom(x.shape(), b.attrs());
  const Tensor centered = ops::sub(x, ops::mean(x, dims_in(reduced_dims(b.attrs())), true));
  b.set(0, ops::mul(centered, ops::mul(with_reduced_dims(b, g), Tensor::number(2 / n))));
}
void var_vjp(Backward& b) { set_moment_gradient(b, b.g); }
constexpr Op kVar = {"var", infer_reduce, nullptr, run_moments<false>, var_vjp, {kSaveA}};

// Where the variance is 0 the gradient of its root is 0, PyTorch's convention, and not inf * 0.
void std_vjp(Backward& b) {
  const Tensor y = b.output(), zero = Tensor::number(0.0);
  set_moment_gradient(b, ops::where(ops::eq(y, zero), zero, ops::div(b.g, ops::add(y, y))));
}
constexpr Op kStd = {"std", infer_reduce, nullptr, run_moments<true>, std_vjp, {kSaveA | kSaveOutput}};

ops::MinMax extreme(const char* name, const Op& reduce_op, const Op& index_op,
                    Tensor (*elementwise)(const Tensor&, const Tensor&), const Tensor& input,
                    const ops::DimOrOther& dim, bool keepdim, const Tensor& other) {
  if (other) return elementwise(input, other);
  if (const Tensor* t = std::get_if<Tensor>(&dim)) return elementwise(input, *t);
  if (std::holds_alternative<std::monostate>(dim)) {
    if (keepdim) throw std::invalid_argument(std::string(name) + ": keepdim needs a dim");
    return reduce_dims(reduce_op, input, {}, false);
  }
  const int64_t d = std::get<int64_t>(dim);
  const Tensor index = reduce_dims(index_op, input, Dims{d}, true);
  const Tensor values = input.rank() ? ops::gather(input, d, index) : input;
  if (keepdim || input.rank() == 0) return ops::ValuesIndices{values, index};
  return ops::ValuesIndices{ops::squeeze(values, Dims{d}), ops::squeeze(index, Dims{d})};
}

}  // namespace

constexpr Op kSum = {"sum", infer_reduce, nullptr, run_values<&KernelTable::sum>, sum_vjp};
constexpr Op kMean = {"mean", infer_reduce, nullptr, run_mean, mean_vjp};

bool sums_in_order(const Op& op, const Tensor& x, const Attrs& attrs) {
  return (&op == &kSum || &op == &kMean) && x.numel() > 0 && walks_in_order(x, reduced_dims(attrs));
}
void run_sum(const Op& op, const Tensor& x, const Attrs& attrs, const ElementSource& source, const Tensor& out) {
  reduce_values(kernels().sum, x, attrs, out, &source);
  if (&op == &kMean) divide_by_count(x, attrs, out);
}

namespace ops {

Tensor sum(const Tensor& input, const MaybeDims& dim, bool keepdim, MaybeDType dtype) {
  const Tensor total = reduce_dims(kSum, to_sum_dtype(input, dtype), dim, keepdim);
  return dtype ? to(total, *dtype) : total;
}

Tensor mean(const Tensor& input, const MaybeDims& dim, bool keepdim, MaybeDType dtype) {
  const Tensor x = dtype ? to(input, *dtype) : input;
  if (!is_float(x.dtype())) fail_dtype("mean", x, "has no float dtype; pass dtype= or convert with .float()");
  return reduce_dims(kMean, x, dim, keepdim);
}

Tensor amax(const Tensor& input, const MaybeDims& dim, bool keepdim) { return reduce_dims(kAmax, input, dim, keepdim); }
Tensor amin(const Tensor& input, const MaybeDims& dim, bool keepdim) { return reduce_dims(kAmin, input, dim, keepdim); }

MinMax max(const Tensor& input, const DimOrOther& dim, bool keepdim, const Tensor& other) {
  return extreme("max", kAmax, kArgmax, maximum, input, dim, keepdim, other);
}
MinMax min(const Tensor& input, const DimOrOther& dim, bool keepdim, const Tensor& other) {
  return extreme("min", kAmin, kArgmin, minimum, input, dim, keepdim, other);
}

Tensor argmax(const Tensor& input, MaybeDim dim, bool keepdim) {
  return reduce_dims(kArgmax, dim ? input : flatten(input), as_dims(dim), keepdim && dim);
}
Tensor argmin(const Tensor& input, MaybeDim dim, bool keepdim) {
  return reduce_dims(kArgmin, dim ? input : flatten(input), as_dims(dim), keepdim && dim);
}

Tensor any(const Tensor& input, const MaybeDims& dim, bool keepdim) {
  return reduce_dims(kAny, as_bool(input), dim, keepdim);
}
Tensor all(const Tensor& input, const MaybeDims& dim, bool keepdim) {
  return reduce_dims(kAll, as_bool(input), dim, keepdim);
}

Tensor var(const Tensor& input, const MomentDims& dim, bool unbiased, bool keepdim, MaybeNumber correction) {
  if (!is_float(input.dtype())) fail_dtype("var", input, "has no float dtype; convert with .float()");
  return reduce_dims(kVar, input, dim.dims, keepdim, correction.value_or(dim.unbiased.value_or(unbiased)));
}

Tensor std(const Tensor& input, const MomentDims& dim, bool unbiased, bool keepdim, MaybeNumber correction) {
  if (!is_float(input.dtype())) fail_dtype("std", input, "has no float dtype; convert with .float()");
  return reduce_dims(kStd, input, dim.dims, keepdim, correction.value_or(dim.unbiased.value_or(unbiased)));
}

Tensor sum_to(const Tensor& input, const Dims& shape) {
  Dims dims;
  const int lead = input.rank() - shape.size();
  for (int i = 0; i < input.rank(); ++i) {
    if (i < lead || (shape[i - lead] == 1 && input.size(i) != 1)) dims.push_back(i);
  }
  const Tensor out = dims.empty() ? input : sum(input, dims, true);
  return reshape(out, shape);
}

}  // namespace ops
}  // namespace tg

// Reductions and statistics made of other ops: norms, logsumexp, aminmax, var_mean, nansum, cov, unique and their kin.
#include <cmath>
#include <limits>

#include "ops/promotion.h"
#include "ops/reduce.h"
#include "ops/sort.h"
#include "tape/recorder.h"

namespace tg {
namespace {

using ops::TensorList;

constexpr double kInf = std::numeric_limits<double>::infinity();

Tensor zero() { return Tensor::number(0.0); }
Tensor one() { return Tensor::number(1.0); }

// The order of a norm by number; refuses names of others.
double norm_order(const ops::NormOrder& p) {
  if (const double* number = std::get_if<double>(&p)) return *number;
  const std::string* name = std::get_if<std::string>(&p);
  if (!name || *name == "fro") return 2;
  const std::string why = *name == "nuc" ? "the nuclear norm needs singular values, which are not supported"
                                         : "'" + *name + "' is no order";
  throw std::invalid_argument("norm: " + why + "; p is a number, inf, -inf or 'fro'");
}

// sum(|x|^p)^(1/p). Where |x| or the sum is 0 no gradient flows, and no power is taken whose derivative is infinite.
Tensor power_norm(const Tensor& x, double p, const ops::MaybeDims& dim, bool keepdim) {
  const Tensor is_zero = ops::eq(x, zero()), size = ops::where(is_zero, one(), ops::abs(x));
  const Tensor powers = ops::where(is_zero, Tensor::number(p > 0 ? 0 : kInf), ops::pow(size, Tensor::number(p)));
  const Tensor sum = ops::sum(powers, dim, keepdim), none = ops::eq(sum, zero());
  return ops::where(none, zero(), ops::pow(ops::where(none, one(), sum), Tensor::number(1 / p)));
}

// How many elements differ from 0, as a float; its gradient is 0.
Tensor zero_norm(const Tensor& x, const ops::MaybeDims& dim, bool keepdim) {
  return ops::sum(ops::where(ops::eq(x, zero()), ops::mul(x, zero()), one()), dim, keepdim);
}

void check_not_empty(const Tensor& x, const ops::MaybeDims& dim, double p) {
  const uint64_t mask = dims_mask("norm", x.rank(), dim);
  for (int d = 0; d < x.rank(); ++d) {
    if (mask >> d & 1 && x.size(d) == 0) {
      throw std::invalid_argument("norm: the norm of order " + std::to_string(p) +
                                  " of no elements does not exist: " + describe(x));
    }
  }
}

Tensor is_nan(const Tensor& x) { return ops::ne(x, x); }

void check_weights(const char* which, const Tensor& w, const Tensor& x, bool floats) {
  if (w.rank() > 1 || w.numel() != x.size(1) || is_float(w.dtype()) != floats || w.dtype() == DType::Bool) {
    fail_dtype("cov", w,
               std::string("as ") + which + " must be a tensor of " + (floats ? "floats" : "integers") +
                   ", one for each of the " + std::to_string(x.size(1)) + " observations");
  }
}

// The weights of the observations; empty: all 1. A negative one is refused where its value can be read.
Tensor cov_weights(const Tensor& x, const Tensor& fweights, const Tensor& aweights) {
  if (fweights) check_weights("fweights", fweights, x, false);
  if (aweights) check_weights("aweights", aweights, x, true);
  for (const Tensor& w : {fweights, aweights}) {
    if (!w || recorder || !w.numel()) continue;
    const GradMode no_grad(false);
    if (ops::any(ops::lt(w, zero())).item_int64()) fail_dtype("cov", w, "holds a negative weight");
  }
  if (fweights && aweights) return ops::mul(fweights, aweights);
  return fweights ? ops::to(fweights, x.dtype()) : aweights;
}

// Where elements, sorted or not, are the first of a run of equals: bool (n), by whether rows k and k + 1 differ.
Tensor run_starts(const Tensor& differ, int64_t n) {
  const Tensor first = ops::full({std::min<int64_t>(n, 1)}, Tensor::number(true), DType::Bool);
  return n ? ops::cat({first, differ}) : first;
}

// The first of each run, each element's run, how long they are. `order`: where the elements came from, if sorted.
TensorList runs(const Tensor& x, const Tensor& starts, const Tensor& order, bool inverse, bool counts,
                const Dims& shape) {
  const int64_t n = starts.numel();
  const Tensor at = ops::reshape(ops::argwhere(starts), {-1});
  TensorList parts{ops::index_select(x, 0, at)};
  if (inverse) {
    Tensor run = ops::sub(ops::cumsum(starts, 0), Tensor::number(int64_t{1}));
    if (order) {
      const Tensor sorted = run;
      run = Tensor::empty({n}, DType::Int64);
      ops::index_put_(run, {order}, sorted);
    }
    parts.push_back(ops::reshape(run, shape));
  }
  if (counts) {
    const Tensor ends = ops::cat({at, ops::full({1}, Tensor::number(n), DType::Int64)});
    parts.push_back(ops::sub(ops::slice(ends, 0, 1, at.numel(), 1), at));
  }
  return parts;
}

ops::OneOrMany one_or_many(TensorList&& parts) {
  if (parts.size() == 1) return parts[0];
  return std::move(parts);
}

// Neighbours that differ; nan differs from nan.
Tensor neighbours_differ(const Tensor& x) {
  const int64_t n = std::max<int64_t>(x.size(0) - 1, 0);
  const Tensor differ = ops::ne(ops::slice(x, 0, std::min<int64_t>(x.size(0), 1), n, 1), ops::slice(x, 0, 0, n, 1));
  return differ.rank() > 1 ? ops::any(differ, Dims{1}) : differ;
}

// unique() of slices along a dimension, as rows of a matrix.
TensorList unique_rows(const char* name, const Tensor& x, int64_t dim, bool sorted, bool inverse, bool counts) {
  const int d = normalize_dim(name, dim, x.rank());
  if (x.rank() == 0) fail_dtype(name, x, "has no dimension");
  const Tensor first = ops::movedim(x, {d}, {0});
  const int64_t n = first.size(0), width = n ? x.numel() / n : 0;
  if (n && !width) fail_dtype(name, x, "has slices without elements along dim " + std::to_string(d));
  Tensor rows = ops::reshape(first, {n, width}), order;
  if (sorted) {
    order = row_order(rows);
    rows = ops::index_select(rows, 0, order);
  }
  TensorList parts = runs(rows, run_starts(neighbours_differ(rows), n), order, inverse, counts, {n});
  Dims shape = first.shape();
  shape[0] = parts[0].size(0);
  parts[0] = ops::movedim(ops::reshape(parts[0], shape), {0}, {d});
  return parts;
}

}  // namespace

namespace ops {

Extremes aminmax(const Tensor& input, MaybeDim dim, bool keepdim) {
  if (input.numel() == 0 && (!dim || !input.rank() || !input.size(normalize_dim("aminmax", *dim, input.rank())))) {
    throw std::out_of_range("aminmax: no elements to reduce in " + describe(input));
  }
  if (dim) normalize_dim("aminmax", *dim, input.rank());
  return {amin(input, as_dims(dim), keepdim), amax(input, as_dims(dim), keepdim)};
}

Pair var_mean(const Tensor& input, const MomentDims& dim, bool unbiased, bool keepdim, MaybeNumber correction) {
  if (!is_float(input.dtype())) fail_dtype("var_mean", input, "has no float dtype; convert with .float()");
  dims_mask("var_mean", input.rank(), dim.dims);
  return {var(input, dim, unbiased, keepdim, correction), mean(input, dim.dims, keepdim)};
}
Pair std_mean(const Tensor& input, const MomentDims& dim, bool unbiased, bool keepdim, MaybeNumber correction) {
  if (!is_float(input.dtype())) fail_dtype("std_mean", input, "has no float dtype; convert with .float()");
  dims_mask("std_mean", input.rank(), dim.dims);
  return {std(input, dim, unbiased, keepdim, correction), mean(input, dim.dims, keepdim)};
}

Tensor norm(const Tensor& input, const NormOrder& order, const MaybeDims& dim, bool keepdim, MaybeDType dtype) {
  const Tensor x = dtype ? to(input, *dtype) : input;
  if (!is_float(x.dtype())) fail_dtype("norm", x, "has no float dtype; pass dtype= or convert with .float()");
  const double p = norm_order(order);
  if (p < 0 || std::isinf(p)) check_not_empty(x, dim, p);
  dims_mask("norm", x.rank(), dim);
  if (p == 2) return reduce_dims(kEuclideanNorm, x, dim, keepdim);
  if (p == 1) return sum(abs(x), dim, keepdim);
  if (p == 0) return zero_norm(x, dim, keepdim);
  if (std::isinf(p)) return p > 0 ? amax(abs(x), dim, keepdim) : amin(abs(x), dim, keepdim);
  return power_norm(x, p, dim, keepdim);
}

Tensor logsumexp(const Tensor& input, const Dims& dim, bool keepdim) {
  const Tensor x = is_float(input.dtype()) ? input : to(input, default_dtype());
  const uint64_t mask = dims_mask("logsumexp", x.rank(), dim);
  if (x.numel() == 0) return log(sum(exp(x), dim, keepdim));
  Tensor top;
  {
    const GradMode no_grad(false);
    top = amax(x, dim, true);
    top = where(eq(abs(top), Tensor::number(kInf)), zero(), top);
  }
  const Tensor y = add(log(sum(exp(sub(x, top)), dim, true)), top);
  return keepdim || !mask ? y : squeeze(y, dims_in(mask));
}

Tensor nansum(const Tensor& input, const MaybeDims& dim, bool keepdim, MaybeDType dtype) {
  const Tensor x = dtype ? to(input, *dtype) : input;
  dims_mask("nansum", x.rank(), dim);
  return sum(is_float(x.dtype()) ? where(is_nan(x), zero(), x) : x, dim, keepdim, dtype);
}
Tensor nanmean(const Tensor& input, const MaybeDims& dim, bool keepdim, MaybeDType dtype) {
  const Tensor x = dtype ? to(input, *dtype) : input;
  if (!is_float(x.dtype())) fail_dtype("nanmean", x, "has no float dtype; pass dtype= or convert with .float()");
  dims_mask("nanmean", x.rank(), dim);
  return div(nansum(x, dim, keepdim), sum(logical_not(is_nan(x)), dim, keepdim));
}

Tensor count_nonzero(const Tensor& input, const MaybeDims& dim) {
  dims_mask("count_nonzero", input.rank(), dim);
  return sum(ne(input, Tensor::scalar(int64_t{0}, input.dtype())), dim);
}

Tensor cov(const Tensor& input, int64_t correction, const Tensor& fweights, const Tensor& aweights) {
  if (input.rank() > 2) fail_dtype("cov", input, "must have at most two dimensions, (variables, observations)");
  if (input.dtype() == DType::Bool) fail_dtype("cov", input, "is not supported; convert with .float()");
  const Tensor given = is_float(input.dtype()) ? input : to(input, default_dtype());
  const Tensor x = given.rank() == 2 ? given : reshape(given, {1, given.numel()});
  const Tensor w = cov_weights(x, fweights, aweights);
  const auto n = static_cast<double>(x.size(1)), lost = static_cast<double>(correction);
  const Tensor total = w ? sum(w) : Tensor::number(n);
  const Tensor centered = sub(x, div(sum(w ? mul(x, w) : x, Dims{1}, true), total));
  const Tensor share = aweights ? div(sum(mul(w, aweights)), total) : one();
  const Tensor freedom =
      w ? maximum(sub(total, mul(Tensor::number(lost), share)), zero()) : Tensor::number(std::max(n - lost, 0.0));
  return squeeze(div(matmul(w ? mul(centered, w) : centered, t(centered)), freedom));
}

Tensor corrcoef(const Tensor& input) {
  if (input.rank() > 2) fail_dtype("corrcoef", input, "must have at most two dimensions, (variables, observations)");
  if (input.dtype() == DType::Bool) fail_dtype("corrcoef", input, "is not supported; convert with .float()");
  const Tensor c = cov(input);
  if (c.rank() == 0) return div(c, c);
  const int64_t n = c.size(0);
  const Tensor at = arange(int64_t{0}, n, 1, DType::Int64), deviation = sqrt(index(c, {at, at}));
  const Tensor y = div(div(c, unsqueeze(deviation, 1)), deviation), low = Tensor::number(-1.0);
  return where(gt(y, one()), one(), where(lt(y, low), low, y));
}

OneOrMany unique(const Tensor& input, bool, bool return_inverse, bool return_counts, MaybeDim dim) {
  const GradMode no_grad(false);
  if (dim) return one_or_many(unique_rows("unique", input, *dim, true, return_inverse, return_counts));
  const auto [values, order] = sort(reshape(input, {input.numel()}), 0, false, true);
  return one_or_many(runs(values, run_starts(neighbours_differ(values), values.numel()), order, return_inverse,
                          return_counts, input.shape()));
}
OneOrMany unique_consecutive(const Tensor& input, bool return_inverse, bool return_counts, MaybeDim dim) {
  const GradMode no_grad(false);
  if (dim) return one_or_many(unique_rows("unique_consecutive", input, *dim, false, return_inverse, return_counts));
  const Tensor x = reshape(input, {input.numel()});
  return one_or_many(
      runs(x, run_starts(neighbours_differ(x), x.numel()), {}, return_inverse, return_counts, input.shape()));
}

}  // namespace ops
}  // namespace tg

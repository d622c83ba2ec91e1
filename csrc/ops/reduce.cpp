// Reductions: sum, mean, amax, amin, max, min, argmax, argmin, any, all, var, std.
#include <stdexcept>

#include "kernels/kernel_table.h"
#include "ops/loop.h"
#include "ops/ops.h"
#include "ops/promotion.h"
#include "threads/parallel.h"

namespace tg {
namespace {

constexpr int64_t kGrain = 32768;  // elements per task

// A contiguous input seen as (outer, n, inner), reduced over n. attrs.integer = {first dim, number of dims},
// attrs.flag = keepdim.
struct Extent {
  int64_t outer = 1, n = 1, inner = 1;
  explicit Extent(const Call& c) {
    const Dims& shape = c.in[0].shape();
    const int64_t first = c.attrs.integer[0], last = first + c.attrs.integer[1];
    for (int i = 0; i < shape.size(); ++i) (i < first ? outer : i < last ? n : inner) *= shape[i];
  }
};

Dims reduced_shape(const Call& c) {
  Dims shape;
  const int64_t first = c.attrs.integer[0], last = first + c.attrs.integer[1];
  for (int i = 0; i < c.in[0].rank(); ++i) {
    if (i < first || i >= last)
      shape.push_back(c.in[0].size(i));
    else if (c.attrs.flag)
      shape.push_back(1);
  }
  return shape;
}

void infer_reduce(const Call& c, OutSpec* out) { *out = {reduced_shape(c), c.in[0].dtype()}; }

// Long reductions are cut into chunks whose size depends on the shape alone, so the bits do not depend on threads.
void reduce_rows(const ReduceKernels& k, int dtype, const Extent& e, const char* x, char* out, int64_t item) {
  if (e.n <= 2 * kGrain) {
    return parallel_for(e.outer, std::max<int64_t>(1, kGrain / e.n), [&](int64_t b, int64_t end) {
      k.rows[dtype](end - b, e.n, x + b * e.n * item, e.n, out + b * item);
    });
  }
  const int64_t chunks = (e.n + kGrain - 1) / kGrain, tasks = e.outer * chunks;
  const Tensor partial = Tensor::empty({tasks}, static_cast<DType>(dtype));
  parallel_for(tasks, 1, [&](int64_t b, int64_t end) {
    for (int64_t t = b; t < end; ++t) {
      const int64_t row = t / chunks, at = t % chunks * kGrain;
      k.rows[dtype](1, std::min(kGrain, e.n - at), x + (row * e.n + at) * item, e.n, partial.data<char>() + t * item);
    }
  });
  k.rows[dtype](e.outer, chunks, partial.data(), chunks, out);
}

void reduce_cols(const ReduceKernels& k, int dtype, const Extent& e, const char* x, char* out, int64_t item) {
  const int64_t matrix = e.n * e.inner;
  if (e.outer > 1 || matrix <= 2 * kGrain) {
    return parallel_for(e.outer, std::max<int64_t>(1, kGrain / matrix), [&](int64_t b, int64_t end) {
      for (int64_t i = b; i < end; ++i) {
        k.cols[dtype](e.n, e.inner, x + i * matrix * item, e.inner, out + i * e.inner * item);
      }
    });
  }
  if (e.n < 2 * e.inner) {  // wide: cut the columns
    const int64_t grain = std::max<int64_t>(64, kGrain / e.n / 64 * 64);
    return parallel_for(e.inner, grain, [&](int64_t b, int64_t end) {
      k.cols[dtype](e.n, end - b, x + b * item, e.inner, out + b * item);
    });
  }
  const int64_t rows = std::max<int64_t>(1, kGrain / e.inner), chunks = (e.n + rows - 1) / rows;
  const Tensor partial = Tensor::empty({chunks, e.inner}, static_cast<DType>(dtype));
  parallel_for(chunks, 1, [&](int64_t b, int64_t end) {
    for (int64_t t = b; t < end; ++t) {
      k.cols[dtype](std::min(rows, e.n - t * rows), e.inner, x + t * rows * e.inner * item, e.inner,
                    partial.data<char>() + t * e.inner * item);
    }
  });
  k.cols[dtype](chunks, e.inner, partial.data(), e.inner, out);
}

void reduce(const ReduceKernels& k, const Call& c, const Tensor& out) {
  const Extent e(c);
  const int dtype = static_cast<int>(c.in[0].dtype());
  const auto item = static_cast<int64_t>(itemsize(c.in[0].dtype()));
  if (e.outer * e.inner == 0) return;
  if (e.inner == 1)
    reduce_rows(k, dtype, e, c.in[0].data<char>(), out.data<char>(), item);
  else
    reduce_cols(k, dtype, e, c.in[0].data<char>(), out.data<char>(), item);
}

void run_sum(const Call& c, std::span<Tensor> out) {
  if (c.in[0].numel() == 0)
    std::memset(out[0].data(), 0, static_cast<size_t>(out[0].numel()) * itemsize(out[0].dtype()));
  else
    reduce(kernels().sum, c, out[0]);
}

// The incoming gradient with the reduced dimensions back, as size 1.
Tensor with_reduced_dims(const Backward& b, const Tensor& t) {
  const Attrs& a = b.attrs();
  if (a.flag) return t;
  Dims shape = t.shape();
  for (int64_t i = 0; i < a.integer[1]; ++i) shape.insert(static_cast<int>(a.integer[0]), 1);
  return ops::reshape(t, shape);
}

int64_t reduced_count(const Backward& b) {
  int64_t n = 1;
  for (int64_t i = 0; i < b.attrs().integer[1]; ++i) n *= b.input_shape(0)[static_cast<int>(b.attrs().integer[0] + i)];
  return n;
}

void sum_vjp(Backward& b) { b.set(0, ops::expand(with_reduced_dims(b, b.g), b.input_shape(0))); }
constexpr Op kSum = {"sum", infer_reduce, nullptr, run_sum, sum_vjp};

void run_mean(const Call& c, std::span<Tensor> out) {
  run_sum(c, out);
  const auto n = static_cast<double>(Extent(c).n);
  const auto scale = [&](auto* p) {
    using T = std::remove_pointer_t<decltype(p)>;
    for (int64_t i = 0; i < out[0].numel(); ++i) p[i] = static_cast<T>(p[i] / static_cast<T>(n));
  };
  out[0].dtype() == DType::Float32 ? scale(out[0].data<float>()) : scale(out[0].data<double>());
}
void mean_vjp(Backward& b) {
  const Tensor g = ops::div(b.g, Tensor::number(static_cast<double>(std::max<int64_t>(reduced_count(b), 1))));
  b.set(0, ops::expand(with_reduced_dims(b, g), b.input_shape(0)));
}
constexpr Op kMean = {"mean", infer_reduce, nullptr, run_mean, mean_vjp};

void infer_extreme(const Call& c, OutSpec* out) {
  const Extent e(c);
  if (e.n == 0 && e.outer * e.inner > 0) {
    throw std::out_of_range(std::string(c.op.name) + ": no elements to reduce in " + describe(c.in[0]));
  }
  infer_reduce(c, out);
}
void infer_extreme_index(const Call& c, OutSpec* out) {
  infer_extreme(c, out);
  out->dtype = DType::Int64;
}
template <ReduceKernels KernelTable::* Kernels>
void run_extreme(const Call& c, std::span<Tensor> out) {
  reduce(kernels().*Kernels, c, out[0]);
}
// Elements that tie share the gradient evenly.
void extreme_vjp(Backward& b) {
  const Tensor x = b.input(0), y = with_reduced_dims(b, b.output());
  const Tensor ties = ops::to(ops::eq(x, y), b.g.dtype());
  Dims dims;
  for (int64_t i = 0; i < b.attrs().integer[1]; ++i) dims.push_back(b.attrs().integer[0] + i);
  const Tensor share = ops::div(with_reduced_dims(b, b.g), ops::sum(ties, dims, true));
  b.set(0, ops::mul(ties, share));
}
constexpr Op kAmax = {"amax",      infer_extreme,         nullptr, run_extreme<&KernelTable::max>,
                      extreme_vjp, {kSaveA | kSaveOutput}};
constexpr Op kAmin = {"amin",      infer_extreme,         nullptr, run_extreme<&KernelTable::min>,
                      extreme_vjp, {kSaveA | kSaveOutput}};

// Positions cannot be combined from chunks by the same kernel, so only whole rows are shared among the threads.
template <ReduceKernels KernelTable::* Kernels>
void run_index(const Call& c, std::span<Tensor> out) {
  const Extent e(c);
  const ReduceKernels& k = kernels().*Kernels;
  const int dtype = static_cast<int>(c.in[0].dtype());
  const auto item = static_cast<int64_t>(itemsize(c.in[0].dtype()));
  if (e.outer * e.inner == 0) return;
  const int64_t matrix = e.n * e.inner;
  parallel_for(e.outer, std::max<int64_t>(1, kGrain / matrix), [&](int64_t b, int64_t end) {
    const char* x = c.in[0].data<char>() + b * matrix * item;
    int64_t* y = out[0].data<int64_t>() + b * e.inner;
    if (e.inner == 1) return k.rows[dtype](end - b, e.n, x, e.n, y);
    for (int64_t i = b; i < end; ++i, x += matrix * item, y += e.inner) k.cols[dtype](e.n, e.inner, x, e.inner, y);
  });
}
constexpr Op kArgmax = {"argmax", infer_extreme_index, nullptr, run_index<&KernelTable::argmax>, nullptr};
constexpr Op kArgmin = {"argmin", infer_extreme_index, nullptr, run_index<&KernelTable::argmin>, nullptr};

// The square root of a variance. Where that is 0 its gradient is 0, PyTorch's convention, and not inf * 0.
void run_root(const Call& c, std::span<Tensor> out) {
  run_loop(kernels().sqrt.forward[static_cast<int>(c.in[0].dtype())], out[0], c.in);
}
void root_vjp(Backward& b) {
  const Tensor y = b.output(), zero = Tensor::number(0.0);
  b.set(0, ops::where(ops::eq(y, zero), zero, ops::div(b.g, ops::add(y, y))));
}
constexpr Op kRoot = {"std", infer_like_first, nullptr, run_root, root_vjp, {kSaveOutput}};

// Brings the reduced dimensions together, at the end where they are apart, and runs `op` over them.
Tensor reduce_dims(const Op& op, const Tensor& input, const ops::MaybeDims& dim, bool keepdim) {
  const int rank = input.rank();
  uint64_t mask = 0;
  if (dim && !dim->empty()) {
    for (int64_t d : *dim) {
      const uint64_t bit = uint64_t{1} << normalize_dim(op.name, d, rank);
      if (mask & bit)
        throw std::invalid_argument(std::string(op.name) + ": dim " + std::to_string(d) + " is given twice");
      mask |= bit;
    }
  } else {
    mask = ~uint64_t{0};
  }
  Dims kept, order, kept_shape;
  int first = rank, last = -1;
  for (int i = 0; i < rank; ++i) {
    const bool reduced = mask >> i & 1;
    if (!reduced)
      kept.push_back(i);
    else
      first = std::min(first, i), last = i;
    if (!reduced)
      kept_shape.push_back(input.size(i));
    else if (keepdim)
      kept_shape.push_back(1);
  }
  const int count = rank - kept.size();
  Attrs attrs;
  attrs.integer[0] = count ? first : 0;
  attrs.integer[1] = count;
  attrs.flag = keepdim;
  if (last - first + 1 == count || count == 0) return execute(op, {ops::contiguous(input)}, attrs);
  order = kept;
  for (int i = 0; i < rank; ++i) {
    if (mask >> i & 1) order.push_back(i);
  }
  attrs.integer[0] = kept.size();
  attrs.flag = false;
  const Tensor out = execute(op, {ops::contiguous(ops::permute(input, order))}, attrs);
  return keepdim ? ops::reshape(out, kept_shape) : out;
}

ops::MaybeDims as_dims(ops::MaybeDim dim) { return dim ? ops::MaybeDims(Dims{*dim}) : ops::MaybeDims(); }

// Narrow integers are added up in int64: modulo their own size the sum is the same.
Tensor to_sum_dtype(const Tensor& input, ops::MaybeDType dtype) {
  const Tensor x = dtype ? ops::to(input, *dtype) : input;
  return is_integral(x.dtype()) ? ops::to(x, DType::Int64) : x;
}

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

Tensor any(const Tensor& input, MaybeDim dim, bool keepdim) {
  const Tensor x = ne(input, Tensor::scalar(int64_t{0}, input.dtype()));
  return ne(reduce_dims(kSum, to(x, DType::Int64), as_dims(dim), keepdim), Tensor::number(int64_t{0}));
}
Tensor all(const Tensor& input, MaybeDim dim, bool keepdim) {
  const Tensor x = eq(input, Tensor::scalar(int64_t{0}, input.dtype()));
  return eq(reduce_dims(kSum, to(x, DType::Int64), as_dims(dim), keepdim), Tensor::number(int64_t{0}));
}

Tensor var(const Tensor& input, const MaybeDims& dim, bool unbiased, bool keepdim, MaybeDim correction) {
  if (!is_float(input.dtype())) fail_dtype("var", input, "has no float dtype; convert with .float()");
  const Tensor centered = sub(input, mean(input, dim, true));
  const Tensor total = sum(square(centered), dim, keepdim);
  const int64_t n = total.numel() ? input.numel() / total.numel() : 0;
  const double divisor = static_cast<double>(n) - static_cast<double>(correction.value_or(unbiased ? 1 : 0));
  return div(total, Tensor::number(std::max(divisor, 0.0)));
}

Tensor std(const Tensor& input, const MaybeDims& dim, bool unbiased, bool keepdim, MaybeDim correction) {
  return execute(kRoot, {var(input, dim, unbiased, keepdim, correction)});
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

// Scans along a dimension: cumsum, cumprod, cummax, cummin, and the linear recurrence behind the gradient of a product.
#include "ops/scan.h"

#include "kernels/kernel_table.h"
#include "ops/promotion.h"
#include "ops/reduce.h"
#include "threads/parallel.h"

namespace tg {
namespace {

constexpr int64_t kGrain = 16384;  // elements per task
constexpr int64_t kChunk = 65536;  // a long row is summed in chunks of this size, whoever sums them
constexpr int64_t kColumns = 256;  // side by side, whose states are kept at hand

// Floats are added up and multiplied in double, integers modulo 2^64.
template <class T>
using Wide = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;

// All operands are contiguous and of one shape of at least one dimension: attrs.integer[0] = the dimension;
// attrs.flag: from its end towards its start.
struct Lines {
  int64_t outer = 1, n, inner = 1;
  explicit Lines(const Call& c) {
    const Dims& shape = c.in[0].shape();
    const int dim = static_cast<int>(c.attrs.integer[0]);
    n = shape[dim];
    for (int d = 0; d < shape.size(); ++d) (d < dim ? outer : inner) *= d == dim ? 1 : shape[d];
  }
};

// y[at] = the line's state, which goes through state = step(state, at) from one element to the next.
template <class State, class T, class Step>
void scan(const Call& c, State start, T* y, Step step) {
  const Lines l(c);
  if (c.in[0].numel() == 0) return;
  const bool from_end = c.attrs.flag;
  const int64_t width = std::min(l.inner, kColumns), blocks = (l.inner + width - 1) / width;
  const int64_t first = from_end ? (l.n - 1) * l.inner : 0, next = from_end ? -l.inner : l.inner;
  parallel_for(l.outer * blocks, std::max<int64_t>(1, kGrain / (l.n * width)), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t column = t % blocks * width, columns = std::min(width, l.inner - column);
      int64_t at = t / blocks * l.n * l.inner + column + first;
      if (columns == 1) {
        State state = start;
        for (int64_t k = 0; k < l.n; ++k, at += next) y[at] = static_cast<T>(state = step(state, at));
        continue;
      }
      State states[kColumns];
      std::fill_n(states, columns, start);
      for (int64_t k = 0; k < l.n; ++k, at += next) {
        for (int64_t j = 0; j < columns; ++j) y[at + j] = static_cast<T>(states[j] = step(states[j], at + j));
      }
    }
  });
}

// The sum of a row's chunk, and, with y, offset + each of its partial sums. Groups of eight are summed apart from the
// sum so far: one addition in eight has to wait for the last. direction: 1 or -1.
template <int64_t direction, class T>
Wide<T> sum_chunk(int64_t n, const T* x, T* y, Wide<T> offset) {
  using A = Wide<T>;
  constexpr int64_t kGroup = 8;
  A total{};
  int64_t i = 0;
  for (; i + kGroup <= n; i += kGroup) {
    A sums[kGroup] = {static_cast<A>(x[direction * i])};
    for (int64_t k = 1; k < kGroup; ++k) sums[k] = sums[k - 1] + static_cast<A>(x[direction * (i + k)]);
    const A before = offset + total;
    for (int64_t k = 0; y && k < kGroup; ++k) y[direction * (i + k)] = static_cast<T>(before + sums[k]);
    total += sums[kGroup - 1];
  }
  for (; i < n; ++i) {
    total += static_cast<A>(x[direction * i]);
    if (y) y[direction * i] = static_cast<T>(offset + total);
  }
  return total;
}

// Rows of n elements side by side. The offsets of a row's chunks are the same whether one thread takes them one after
// the other, or all sum theirs first.
template <int64_t direction, class T>
void sum_rows(int64_t rows, int64_t n, const T* x, T* y) {
  const int64_t chunks = (n + kChunk - 1) / kChunk, first = direction > 0 ? 0 : n - 1;
  const auto sum = [&](int64_t r, int64_t c, T* out, Wide<T> offset) {
    const int64_t at = r * n + first + direction * c * kChunk;
    return sum_chunk<direction>(std::min(kChunk, n - c * kChunk), x + at, out ? out + at : out, offset);
  };
  if (rows >= num_threads() || chunks == 1) {
    parallel_for(rows, std::max<int64_t>(1, kGrain / n), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        Wide<T> offset{};
        for (int64_t c = 0; c < chunks; ++c) offset += sum(r, c, y, offset);
      }
    });
    return;
  }
  const Tensor memory = Tensor::empty({rows, chunks}, DType::Float64);  // or integers of that size
  auto* offsets = memory.data<Wide<T>>();
  parallel_for(rows * chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) offsets[t] = sum(t / chunks, t % chunks, nullptr, {});
  });
  for (int64_t r = 0; r < rows; ++r) {
    Wide<T> offset{};
    for (int64_t t = r * chunks; t < (r + 1) * chunks; ++t) offset += std::exchange(offsets[t], offset);
  }
  parallel_for(rows * chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) sum(t / chunks, t % chunks, y, offsets[t]);
  });
}

template <class F>
void dispatch_summed(const Tensor& x, F&& f) {  // the dtypes of sums and products
  x.dtype() == DType::Float32 ? f(float{}) : x.dtype() == DType::Float64 ? f(double{}) : f(int64_t{});
}

void run_cumsum(const Call& c, std::span<Tensor> out) {
  const Lines l(c);
  if (out[0].numel() == 0) return;
  dispatch_summed(out[0], [&](auto tag) {
    using T = decltype(tag);
    const T* x = c.in[0].data<T>();
    T* y = out[0].data<T>();
    if (l.inner == 1) return c.attrs.flag ? sum_rows<-1>(l.outer, l.n, x, y) : sum_rows<1>(l.outer, l.n, x, y);
    scan(c, Wide<T>{}, y, [x](Wide<T> sum, int64_t at) { return sum + static_cast<Wide<T>>(x[at]); });
  });
}

void run_cumprod(const Call& c, std::span<Tensor> out) {
  dispatch_summed(out[0], [&](auto tag) {
    using T = decltype(tag);
    const T* x = c.in[0].data<T>();
    scan(c, Wide<T>{1}, out[0].data<T>(),
         [x](Wide<T> product, int64_t at) { return product * static_cast<Wide<T>>(x[at]); });
  });
}

// recurrence(a, b): y_k = a_k y_(k-1) + b_k, and y = 0 before the first
void run_recurrence(const Call& c, std::span<Tensor> out) {
  const auto solve = [&](auto tag) {
    using T = decltype(tag);
    const T *a = c.in[0].data<T>(), *b = c.in[1].data<T>();
    scan(c, 0.0, out[0].data<T>(), [a, b](double y, int64_t at) { return double(a[at]) * y + double(b[at]); });
  };
  out[0].dtype() == DType::Float32 ? solve(float{}) : solve(double{});
}

// cummax and cummin: the positions along the dimension of the last of the best so far; nan beats all.
void infer_positions(const Call& c, OutSpec* out) { *out = {c.in[0].shape(), DType::Int64}; }
template <bool largest>
void run_best(const Call& c, std::span<Tensor> out) {
  const Lines l(c);
  int64_t* y = out[0].data<int64_t>();
  dispatch_stored(c.in[0].dtype(), [&](auto tag) {
    using T = decltype(tag);
    const T* x = c.in[0].data<T>();
    scan(c, int64_t{-1}, y, [x](int64_t best, int64_t at) {
      if (best < 0 || x[at] != x[at]) return at;
      return (largest ? x[at] >= x[best] : x[at] <= x[best]) ? at : best;
    });
  });
  for (int64_t i = 0; i < out[0].numel(); ++i) y[i] = y[i] / l.inner % l.n;
}

int dim_of(const Backward& b) { return static_cast<int>(b.attrs().integer[0]); }

Attrs scan_attrs(int dim, bool from_end) {
  Attrs attrs;
  attrs.integer[0] = dim;
  attrs.flag = from_end;
  return attrs;
}

Tensor running_sum(const Tensor& x, int dim, bool from_end);
Tensor recurrence(const Tensor& a, const Tensor& b, int dim, bool from_end);

void cumsum_vjp(Backward& b) { b.set(0, running_sum(b.g, dim_of(b), !b.attrs().flag)); }

// A product that goes through x_k is what stands before x_k, times x_k, times the rest. No division: x may have zeros.
void cumprod_vjp(Backward& b) {
  const int dim = dim_of(b);
  const bool from_end = b.attrs().flag;
  const Tensor before = moved_by_one(b.output(), dim, from_end, 1);
  const Tensor next = moved_by_one(b.input(0), dim, !from_end, 0);
  b.set(0, ops::mul(before, recurrence(next, b.g, dim, !from_end)));
}

void recurrence_vjp(Backward& b) {
  const int dim = dim_of(b);
  const bool from_end = b.attrs().flag;
  const Tensor h = recurrence(moved_by_one(b.input(0), dim, !from_end, 0), b.g, dim, !from_end);
  if (b.needs(0)) b.set(0, ops::mul(h, moved_by_one(b.output(), dim, from_end, 0)));
  b.set(1, h);
}

constexpr Op kCumsum = {"cumsum", infer_like_first, nullptr, run_cumsum, cumsum_vjp};
constexpr Op kCumprod = {"cumprod", infer_like_first, nullptr, run_cumprod, cumprod_vjp, {kSaveA | kSaveOutput}};
constexpr Op kRecurrence = {"recurrence",   infer_like_first, nullptr,
                            run_recurrence, recurrence_vjp,   {kSaveA | kSaveOutput, kSaveA}};
constexpr Op kCummax = {"cummax", infer_positions, nullptr, run_best<true>, nullptr};
constexpr Op kCummin = {"cummin", infer_positions, nullptr, run_best<false>, nullptr};

Tensor running_sum(const Tensor& x, int dim, bool from_end) {
  return execute(kCumsum, {ops::contiguous(x)}, scan_attrs(dim, from_end));
}
Tensor recurrence(const Tensor& a, const Tensor& b, int dim, bool from_end) {
  return execute(kRecurrence, {ops::contiguous(a), ops::contiguous(b)}, scan_attrs(dim, from_end));
}

Tensor scan_op(const Op& op, const Tensor& x, int64_t dim_) {
  const int dim = normalize_dim(op.name, dim_, x.rank());
  const Tensor lines = x.rank() ? ops::contiguous(x) : ops::reshape(x, {1});
  const Tensor y = execute(op, {lines}, scan_attrs(dim, false));
  return x.rank() ? y : ops::reshape(y, {});
}

ops::ValuesIndices best_so_far(const Op& op, const Tensor& x, int64_t dim) {
  const Tensor positions = scan_op(op, x, dim);
  return {ops::gather(x, dim, positions), positions};
}

}  // namespace

Tensor running_product(const Tensor& x, int dim, bool from_end) {
  return execute(kCumprod, {ops::contiguous(x)}, scan_attrs(dim, from_end));
}

Tensor moved_by_one(const Tensor& x, int dim, bool from_end, double fill) {
  const int64_t n = x.size(dim);
  if (n == 0) return x;
  Dims one = x.shape();
  one[dim] = 1;
  const Tensor in = ops::full(one, Tensor::number(fill), x.dtype());
  return from_end ? ops::cat({ops::slice(x, dim, 1, n - 1, 1), in}, dim)
                  : ops::cat({in, ops::slice(x, dim, 0, n - 1, 1)}, dim);
}

namespace ops {

Tensor cumsum(const Tensor& input, int64_t dim, MaybeDType dtype) {
  const Tensor y = scan_op(kCumsum, to_sum_dtype(input, dtype), dim);
  return dtype ? to(y, *dtype) : y;
}
Tensor cumprod(const Tensor& input, int64_t dim, MaybeDType dtype) {
  const Tensor y = scan_op(kCumprod, to_sum_dtype(input, dtype), dim);
  return dtype ? to(y, *dtype) : y;
}
ValuesIndices cummax(const Tensor& input, int64_t dim) { return best_so_far(kCummax, input, dim); }
ValuesIndices cummin(const Tensor& input, int64_t dim) { return best_so_far(kCummin, input, dim); }

}  // namespace ops
}  // namespace tg

// Counting and searching: bincount, histc, searchsorted, bucketize.
#include <cmath>

#include "ops/index.h"
#include "ops/loop.h"
#include "ops/promotion.h"
#include "tape/recorder.h"

namespace tg {
namespace {

// bincount(x int64, and weights if given): attrs.integer[0] = minlength. One after the other, in the order of x.
void infer_bincount(const Call& c, OutSpec* out) {
  const Tensor& x = c.in[0];
  refuse_reading(x, "bincount(), whose result has a size that depends on it");
  int64_t size = c.attrs.integer[0];
  for (int64_t i = 0; i < x.numel(); ++i) {
    const int64_t value = x.data<int64_t>()[i];
    if (value < 0) {
      throw std::invalid_argument("bincount: the elements must not be negative, got " + std::to_string(value));
    }
    size = std::max(size, value + 1);
  }
  *out = {{size}, c.in.size() > 1 ? c.in[1].dtype() : DType::Int64};
}
void run_bincount(const Call& c, std::span<Tensor> out) {
  const auto* x = c.in[0].data<int64_t>();
  const int64_t n = c.in[0].numel(), size = out[0].numel();
  const auto count = [&](auto* y, auto weight) {
    for (int64_t i = 0; i < n; ++i) {
      if (static_cast<uint64_t>(x[i]) < static_cast<uint64_t>(size)) y[x[i]] += weight(i);  // others may write to x
    }
  };
  fill_zero(out[0]);
  switch (out[0].dtype()) {
    case DType::Float32: return count(out[0].data<float>(), [w = c.in[1].data<float>()](int64_t i) { return w[i]; });
    case DType::Float64: return count(out[0].data<double>(), [w = c.in[1].data<double>()](int64_t i) { return w[i]; });
    default: return count(out[0].data<int64_t>(), [](int64_t) { return int64_t{1}; });
  }
}
constexpr Op kBincount = {"bincount", infer_bincount, nullptr, run_bincount, nullptr};

// histc(x contiguous): attrs.integer[0] = bins, attrs.scalar = the range; where its ends are equal, that of the values
void infer_histc(const Call& c, OutSpec* out) { *out = {{c.attrs.integer[0]}, c.in[0].dtype()}; }
template <class T>
void count_bins(const Tensor& x_, double low_, double high_, const Tensor& out) {
  const T* x = x_.data<T>();
  const int64_t n = x_.numel(), bins = out.numel();
  T low = static_cast<T>(low_), high = static_cast<T>(high_);
  if (low == high && n > 0) {
    low = high = x[0];
    bool nan = false;
    for (int64_t i = 0; i < n; ++i) low = std::min(low, x[i]), high = std::max(high, x[i]), nan |= x[i] != x[i];
    if (nan || !std::isfinite(low) || !std::isfinite(high)) {
      throw std::invalid_argument("histc: the input " + describe(x_) +
                                  " holds nan or infinity, so min and max must be given");
    }
  }
  if (low == high) --low, ++high;
  std::vector<int64_t> counts(static_cast<size_t>(bins), 0);
  for (int64_t i = 0; i < n; ++i) {
    if (!(x[i] >= low && x[i] <= high)) continue;
    const auto bin = static_cast<int64_t>((x[i] - low) * static_cast<T>(bins) / (high - low));
    ++counts[static_cast<size_t>(std::min(bin, bins - 1))];
  }
  for (int64_t i = 0; i < bins; ++i) out.data<T>()[i] = static_cast<T>(counts[static_cast<size_t>(i)]);
}
void run_histc(const Call& c, std::span<Tensor> out) {
  const double *range = c.attrs.scalar, low = range[0], high = range[1];
  c.in[0].dtype() == DType::Float32 ? count_bins<float>(c.in[0], low, high, out[0])
                                    : count_bins<double>(c.in[0], low, high, out[0]);
}
constexpr Op kHistc = {.name = "histc", .infer = infer_histc, .run = run_histc, .may_stop = true};

// searchsorted(sequence, x), of one dtype, contiguous: attrs.flag = right, attrs.dtype = of the result
void infer_search(const Call& c, OutSpec* out) { *out = {c.in[1].shape(), c.attrs.dtype}; }
template <class T, class Int>
void search(const Call& c, Int* out) {
  const T *sequence = c.in[0].data<T>(), *x = c.in[1].data<T>();
  const int64_t n = c.in[0].shape().back(), rows = c.in[0].rank() == 1 ? 1 : c.in[0].numel() / std::max<int64_t>(n, 1);
  const int64_t each = rows ? c.in[1].numel() / rows : 0;
  const bool right = c.attrs.flag;
  parallel_for(
      c.in[1].numel(), 2048,
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const T *row = sequence + i / each * n, *at = row;
          // Written so that nan goes behind all others, where sort() puts it.
          for (int64_t left = n; left > 0;) {
            const int64_t half = left / 2;
            const bool before = right ? !(at[half] > x[i]) : !(at[half] >= x[i]);
            at = before ? at + half + 1 : at;
            left = before ? left - half - 1 : half;
          }
          out[i] = static_cast<Int>(at - row);
        }
      },
      2 + 2 * std::log2(static_cast<double>(n + 1)));
}
void run_search(const Call& c, std::span<Tensor> out) {
  if (c.in[0].numel() == 0) return fill_zero(out[0]);
  dispatch_stored(c.in[0].dtype(), [&](auto tag) {
    using T = decltype(tag);
    c.attrs.dtype == DType::Int64 ? search<T>(c, out[0].data<int64_t>()) : search<T>(c, out[0].data<int32_t>());
  });
}
constexpr Op kSearch = {"searchsorted", infer_search, nullptr, run_search, nullptr};

void check_lines(const Tensor& sequence, const Tensor& x) {
  const int rank = sequence.rank();
  bool fits = rank == 1 || (rank > 1 && x.rank() == rank);
  for (int d = 0; fits && rank > 1 && d < rank - 1; ++d) fits = sequence.size(d) == x.size(d);
  if (fits) return;
  fail_dtype("searchsorted", x,
             "does not fit the sorted sequence " + describe(sequence) +
                 ", which must have one dimension, or those of the input but for the size of the last");
}

bool from_right(bool right, const std::optional<std::string>& side) {
  if (!side) return right;
  if (*side != "left" && *side != "right") {
    throw std::invalid_argument("searchsorted: side must be 'left' or 'right', got '" + *side + "'");
  }
  if (right && *side == "left") throw std::invalid_argument("searchsorted: right=True contradicts side='left'");
  return *side == "right";
}

}  // namespace

namespace ops {

Tensor bincount(const Tensor& input, const Tensor& weights, int64_t minlength) {
  if (input.rank() != 1 || is_float(input.dtype()) || input.dtype() == DType::Bool) {
    fail_dtype("bincount", input, "must be a tensor of integers with one dimension");
  }
  if (minlength < 0) throw std::invalid_argument("bincount: minlength must be >= 0, got " + std::to_string(minlength));
  std::vector<Tensor> in = {contiguous(to(input, DType::Int64))};
  if (weights) {
    if (!(weights.shape() == input.shape())) {
      fail_dtype("bincount", weights, "as weights must have the shape of the input " + describe(input));
    }
    in.push_back(contiguous(to(weights, weights.dtype() == DType::Float32 ? DType::Float32 : DType::Float64)));
  }
  Attrs attrs;
  attrs.integer[0] = minlength;
  return execute(kBincount, in, attrs);
}

Tensor histc(const Tensor& input, int64_t bins, double min, double max) {
  if (!is_float(input.dtype())) fail_dtype("histc", input, "has no float dtype; convert with .float()");
  if (bins < 1) throw std::invalid_argument("histc: bins must be > 0, got " + std::to_string(bins));
  if (!std::isfinite(min) || !std::isfinite(max) || min > max) {
    throw std::invalid_argument("histc: min and max must be finite and in this order, got " + std::to_string(min) +
                                " and " + std::to_string(max));
  }
  Attrs attrs;
  attrs.integer[0] = bins;
  attrs.scalar[0] = min, attrs.scalar[1] = max;
  return execute(kHistc, {contiguous(input)}, attrs);
}

Tensor searchsorted(const Tensor& sorted_sequence, const Tensor& input, bool out_int32, bool right,
                    const std::optional<std::string>& side, const Tensor& sorter) {
  const DType dtype = compute_dtype("searchsorted", Domain::ALL, sorted_sequence, input);
  const Tensor sequence = sorter ? gather(sorted_sequence, -1, sorter) : sorted_sequence;
  check_lines(sequence, input);
  Attrs attrs;
  attrs.flag = from_right(right, side);
  attrs.dtype = out_int32 ? DType::Int32 : DType::Int64;
  return execute(kSearch, {contiguous(cast(sequence, dtype)), contiguous(cast(input, dtype))}, attrs);
}

Tensor bucketize(const Tensor& input, const Tensor& boundaries, bool out_int32, bool right) {
  if (boundaries.rank() != 1) fail_dtype("bucketize", boundaries, "as boundaries must have one dimension");
  return searchsorted(boundaries, input, out_int32, right);
}

}  // namespace ops
}  // namespace tg

// gather and nonzero.
#include <array>
#include <atomic>

#include "ops/index.h"
#include "ops/loop.h"
#include "ops/ops.h"
#include "tape/recorder.h"

namespace tg {
namespace {

// gather(x, index): attrs.integer[0] = dim.

// One row of the index, along its last dimension: its first element, and where it starts in x but for what the index
// says; element j adds j * along + index[j] * step.
struct GatherRow {
  int64_t at, base;
};

// How an index runs through x (contiguous).
class Walk {
 public:
  Walk(const Tensor& index, int dim, const Dims& shape)
      : index_(index.data<int64_t>()), sizes_(index.shape()), strides_(contiguous_strides(shape)) {
    size_ = shape[dim];
    step_ = strides_[dim];
    last_ = sizes_.size() - 1;
    along_ = dim == last_ ? 0 : 1;
    strides_[dim] = 0;
    length_ = sizes_[last_];
    rows_ = length_ ? index.numel() / length_ : 0;
  }
  int64_t rows() const { return rows_; }
  int64_t length() const { return length_; }
  bool along_last() const { return along_ == 0; }

  // body(position in the index, position in x) for columns [from, to) of rows [begin, end). What is out of range counts
  // as 0 and is remembered.
  template <class F>
  void run(int64_t begin, int64_t end, int64_t from, int64_t to, F&& body) {
    std::array<int64_t, Dims::kMaxRank> at;
    int64_t base = 0;
    for (int64_t d = last_ - 1, rest = begin; d >= 0; --d) {
      const auto i = static_cast<int>(d);
      at[static_cast<size_t>(d)] = rest % sizes_[i];
      rest /= sizes_[i];
      base += at[static_cast<size_t>(d)] * strides_[i];
    }
    const int64_t size = size_, step = step_, along = along_,
                  length = length_;  // the body's stores may not alias these
    bool bad = false;
    for (int64_t r = begin; r < end; ++r) {
      const int64_t* const index = index_ + r * length;
      for (int64_t j = from; j < to; ++j) {
        const bool outside = static_cast<uint64_t>(index[j]) >= static_cast<uint64_t>(size);
        bad |= outside;
        body(r * length + j, base + j * along + (outside ? 0 : index[j]) * step);
      }
      for (int d = last_ - 1; d >= 0; --d) {
        base += strides_[d];
        if (++at[static_cast<size_t>(d)] < sizes_[d]) break;
        base -= sizes_[d] * strides_[d];
        at[static_cast<size_t>(d)] = 0;
      }
    }
    if (bad) bad_.store(true, std::memory_order_relaxed);
  }

  // Throws for the first index that was out of range.
  void check() const {
    if (!bad_.load(std::memory_order_relaxed)) return;
    for (int64_t i = 0; i < rows_ * length_; ++i) {
      if (index_[i] < 0) fail_negative("gather", index_[i]);
      checked_index("gather", index_[i], size_);
    }
  }

 private:
  const int64_t* index_;
  Dims sizes_, strides_;
  int64_t size_, step_, along_, rows_, length_;
  int last_;
  std::atomic<bool> bad_{false};
};

void infer_gather(const Call& c, OutSpec* out) { *out = {c.in[1].shape(), c.in[0].dtype()}; }
void run_gather(const Call& c, std::span<Tensor> out) {
  const Tensor& x = c.in[0];
  Walk walk(c.in[1], static_cast<int>(c.attrs.integer[0]), x.shape());
  if (out[0].numel() == 0) return;
  const auto copy = [&](auto tag) {
    using T = decltype(tag);
    const T* const from = x.data<T>();
    T* const to = out[0].data<T>();
    const int64_t safe = x.numel() > 0;  // an empty x has no element 0 to read
    parallel_for(walk.rows(), std::max<int64_t>(1, kIndexGrain / walk.length()), [&](int64_t begin, int64_t end) {
      walk.run(begin, end, 0, walk.length() * safe, [&](int64_t i, int64_t at) { to[i] = from[at]; });
    });
  };
  const size_t item = itemsize(x.dtype());
  item == 1 ? copy(uint8_t{}) : item == 4 ? copy(uint32_t{}) : copy(uint64_t{});
  if (x.numel() == 0) checked_index("gather", *c.in[1].data<int64_t>(), 0);
  walk.check();
}

// gather_backward(g, index): zeros of attrs.dims, g added where the index points, in its order
void infer_gather_backward(const Call& c, OutSpec* out) { *out = {c.attrs.dims, c.in[0].dtype()}; }
void run_gather_backward(const Call& c, std::span<Tensor> out) {
  const Tensor& y = out[0];
  Walk walk(c.in[1], static_cast<int>(c.attrs.integer[0]), y.shape());
  fill_zero(y);
  if (c.in[1].numel() == 0) return;
  const auto add = [&](auto tag) {
    using T = decltype(tag);
    const T* const g = c.in[0].data<T>();
    T* const to = y.data<T>();
    const auto one = [&](int64_t i, int64_t at) { to[at] += g[i]; };
    if (walk.along_last()) {  // every row of the index has a row of its own
      parallel_for(walk.rows(), std::max<int64_t>(1, kIndexGrain / walk.length()),
                   [&](int64_t begin, int64_t end) { walk.run(begin, end, 0, walk.length(), one); });
    } else {
      parallel_for(
          walk.length(), column_grain(walk.length(), c.in[1].numel(), sizeof(T)),
          [&](int64_t from, int64_t to_column) { walk.run(0, walk.rows(), from, to_column, one); },
          double(walk.rows()));
    }
  };
  y.dtype() == DType::Float32 ? add(float{}) : add(double{});
  walk.check();
}
void gather_backward_vjp(Backward& b) { b.set(0, ops::gather(b.g, b.attrs().integer[0], b.input(1))); }
constexpr Op kGatherBackward = {"gather_backward",   infer_gather_backward, nullptr,
                                run_gather_backward, gather_backward_vjp,   {kSaveB}};
void gather_vjp(Backward& b) {
  Attrs attrs = b.attrs();
  attrs.dims = b.input_shape(0);
  b.set(0, execute(kGatherBackward, {ops::contiguous(b.g), b.input(1)}, attrs));
}
constexpr Op kGather = {.name = "gather",
                        .infer = infer_gather,
                        .run = run_gather,
                        .vjp = gather_vjp,
                        .saves = {kSaveB},
                        .flops = no_flops,
                        .bytes = taken_bytes};

// nonzero(x contiguous): the shape depends on the values
constexpr int64_t kCountGrain = 65536;

template <class T>
int64_t count_nonzero(const T* x, int64_t n) {
  int64_t total = 0;
  for (int64_t at = 0; at < n; at += 128) {  // short runs, counted in the narrowest integer: they vectorise
    const int64_t m = std::min<int64_t>(128, n - at);
    std::conditional_t<sizeof(T) == 1, uint8_t, int32_t> run = 0;
    for (int64_t i = 0; i < m; ++i) run = static_cast<decltype(run)>(run + (x[at + i] != T{}));
    total += run;
  }
  return total;
}

// starts[k]: how many there are in front of chunk k; the last entry: in all.
std::vector<int64_t> chunk_starts(const Tensor& x) {
  std::vector<int64_t> starts(static_cast<size_t>((x.numel() + kCountGrain - 1) / kCountGrain) + 1, 0);
  dispatch_stored(x.dtype(), [&](auto tag) {
    const auto* p = x.data<decltype(tag)>();
    parallel_for(x.numel(), kCountGrain, [&](int64_t begin, int64_t end) {
      starts[static_cast<size_t>(begin / kCountGrain) + 1] = count_nonzero(p + begin, end - begin);
    });
  });
  for (size_t k = 1; k < starts.size(); ++k) starts[k] += starts[k - 1];
  return starts;
}

void infer_nonzero(const Call& c, OutSpec* out) {
  refuse_reading(c.in[0], "nonzero() (or by indexing with a mask), whose result has a size that depends on it");
  *out = {{chunk_starts(c.in[0]).back(), c.in[0].rank()}, DType::Int64};
}
void run_nonzero(const Call& c, std::span<Tensor> out) {
  const Tensor& x = c.in[0];
  const int64_t rank = x.rank();
  if (rank == 0 || out[0].numel() == 0) return;
  const std::vector<int64_t> starts = chunk_starts(x);
  const int64_t room = out[0].size(0);  // another thread may write to x meanwhile
  dispatch_stored(x.dtype(), [&](auto tag) {
    const auto* p = x.data<decltype(tag)>();
    parallel_for(x.numel(), kCountGrain, [&](int64_t begin, int64_t end) {
      const auto chunk = static_cast<size_t>(begin / kCountGrain);
      const int64_t first = std::min(starts[chunk], room), count = std::min(starts[chunk + 1], room) - first;
      int64_t* const to = out[0].data<int64_t>() + first * rank;
      // Every position is written and only kept, by stepping on, where there is something: no branch to mispredict.
      int64_t found = 0;
      for (int64_t i = begin; i < end && found < count; ++i) {
        to[found * rank] = i;
        found += p[i] != decltype(tag){};
      }
      if (rank == 1) return;
      for (int64_t k = 0; k < found; ++k) {
        int64_t rest = to[k * rank];
        for (int d = x.rank() - 1; d >= 0; --d) {
          to[k * rank + d] = rest % x.size(d);
          rest /= x.size(d);
        }
      }
    });
  });
}
constexpr Op kNonzero = {"nonzero", infer_nonzero, nullptr, run_nonzero, nullptr};

}  // namespace

namespace ops {

Tensor gather(const Tensor& input, int64_t dim, const Tensor& index_) {
  const int d = normalize_dim("gather", dim, input.rank());
  bool fits = index_.rank() == input.rank() && is_integral(index_.dtype()) && index_.dtype() != DType::Bool;
  for (int i = 0; fits && i < input.rank(); ++i) fits = i == d || index_.size(i) <= input.size(i);
  if (!fits) {
    throw std::invalid_argument("gather: index " + describe(index_) +
                                " must be an integer tensor of as many dimensions "
                                "as the input " +
                                describe(input) + ", not larger but in dim " + std::to_string(d));
  }
  if (input.rank() == 0) return reshape(gather(reshape(input, {1}), 0, reshape(index_, {1})), {});
  Attrs attrs;
  attrs.integer[0] = d;
  return execute(kGather, {contiguous(input), contiguous(to(index_, DType::Int64))}, attrs);
}

Tensor nonzero(const Tensor& input) { return execute(kNonzero, {contiguous(input)}); }

}  // namespace ops
}  // namespace tg

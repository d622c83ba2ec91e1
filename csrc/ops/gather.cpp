// gather and nonzero.
#include "ops/index_walk.h"
#include "tape/recorder.h"

namespace tg {
namespace {

// gather(x contiguous, index): attrs.integer[0] = dim.
void infer_gather(const Call& c, OutSpec* out) { *out = {c.in[1].shape(), c.in[0].dtype()}; }
void run_gather(const Call& c, std::span<Tensor> out) {
  const Tensor& x = c.in[0];
  Walk walk("gather", c.in[1], static_cast<int>(c.attrs.integer[0]), x.shape(), x.strides());
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

void gather_vjp(Backward& b) { b.set(0, gather_backward(b.g, b.attrs().integer[0], b.input(1), b.input_shape(0))); }
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

void check_walk(const char* op, const Tensor& x, int dim, const Tensor& index) {
  bool fits = index.rank() == x.rank() && is_index(index);
  for (int i = 0; fits && i < x.rank(); ++i) fits = i == dim || index.size(i) <= x.size(i);
  if (fits) return;
  throw std::invalid_argument(std::string(op) + ": index " + describe(index) +
                              " must be an int64 or int32 tensor of as many dimensions as the input " + describe(x) +
                              ", not larger but in dim " + std::to_string(dim));
}

namespace ops {

Tensor gather(const Tensor& input, int64_t dim, const Tensor& index_) {
  const int d = normalize_dim("gather", dim, input.rank());
  check_walk("gather", input, d, index_);
  Attrs attrs;
  attrs.integer[0] = d;
  return execute(kGather, {contiguous(input), contiguous(to(index_, DType::Int64))}, attrs);
}

Tensor argwhere(const Tensor& input) { return execute(kNonzero, {contiguous(input)}); }

OneOrMany nonzero(const Tensor& input, bool as_tuple) {
  if (!as_tuple) return argwhere(input);
  const Tensor positions = argwhere(input.rank() ? input : reshape(input, {1}));
  TensorList columns;
  for (int i = 0; i < positions.size(1); ++i) columns.push_back(select(positions, 1, i));
  return columns;
}

}  // namespace ops
}  // namespace tg

// Reading by index tensors: index, index_select, and what they share with writing.
#include <atomic>

#include "ops/index.h"

namespace tg {
namespace {

constexpr unsigned kSaveIndices = (1u << 29) - 2;  // every input but the first

}  // namespace

bool all_within(const Tensor& index, int64_t size) {
  std::atomic<bool> within{true};
  const int64_t* const i = index.data<int64_t>();
  parallel_for(index.numel(), 4 * kIndexGrain, [&](int64_t begin, int64_t end) {
    bool outside = false;
    for (int64_t k = begin; k < end; ++k) outside |= static_cast<uint64_t>(i[k]) >= static_cast<uint64_t>(size);
    if (outside) within.store(false, std::memory_order_relaxed);
  });
  return within.load(std::memory_order_relaxed);
}

Positions::Positions(const char* op, std::span<const Tensor> indices, const Dims& sizes, const Dims& strides)
    : count(indices[0].numel()), at(indices[0].data<int64_t>()) {
  if (indices.size() == 1 && strides[0] == 1 && all_within(indices[0], sizes[0])) return;
  own.resize(static_cast<size_t>(count), 0);
  for (size_t d = 0; d < indices.size(); ++d) {
    const int64_t size = sizes[static_cast<int>(d)], stride = strides[static_cast<int>(d)];
    const int64_t* index = indices[d].data<int64_t>();
    for (size_t i = 0; i < own.size(); ++i) own[i] += checked_index(op, index[i], size) * stride;
  }
  at = own.data();
}

void check_not_negative(const char* op, const Tensor& index) {
  const int64_t* const i = index.data<int64_t>();
  for (int64_t k = 0; k < index.numel(); ++k) {
    if (i[k] < 0) fail_negative(op, i[k]);
  }
}

namespace {

// x as (outer, rows, inner), where `rows` are the k indexed dimensions, which stand behind `lead` others.
struct Blocks {
  Blocks(const Dims& shape, int64_t lead, size_t k)
      : sizes(shape.data() + lead, static_cast<int>(k)),
        strides(contiguous_strides(sizes)),
        outer(product(std::span(shape).first(static_cast<size_t>(lead)))),
        rows(product(sizes)),
        inner(product(std::span(shape).subspan(static_cast<size_t>(lead) + k))) {}
  Dims sizes, strides;
  int64_t outer, rows, inner;
};

// index(x contiguous, i0, i1, ...): the k index tensors have one shape and select in k dimensions of x from
// attrs.integer[0] on; attrs.flag: they may not count from the end
void infer_index(const Call& c, OutSpec* out) {
  const Tensor& x = c.in[0];
  const int lead = static_cast<int>(c.attrs.integer[0]);
  Dims shape(x.shape().data(), lead);
  for (int64_t d : c.in[1].shape()) shape.push_back(d);
  for (int d = lead + static_cast<int>(c.in.size()) - 1; d < x.rank(); ++d) shape.push_back(x.size(d));
  *out = {shape, x.dtype()};
}

// Rows of `inner` elements each, from (outer, rows, inner) to (outer, positions, inner).
template <class T>
void take_rows(const Blocks& b, const Positions& p, int64_t inner, const T* x, T* y) {
  constexpr int64_t kAhead = 2, kLines = 4 * 64 / sizeof(T);  // rows asked for early: their starts, the rest follows
  parallel_for(b.outer * p.count, std::max<int64_t>(1, kIndexGrain / inner), [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end;) {
      const int64_t first = at % p.count, n = std::min(p.count - first, end - at);
      const T* const from = x + at / p.count * b.rows * inner;
      const int64_t* const row = p.at + first;
      T* const to = y + at * inner;
      if (inner == 1) {
        for (int64_t i = 0; i < n; ++i) to[i] = from[row[i]];
      } else {
        for (int64_t i = 0; i < n; ++i) {
          if (i + kAhead < n) {
            const T* const next = from + row[i + kAhead] * inner;
            for (int64_t j = 0; j < std::min(inner, kLines); j += 64 / sizeof(T)) __builtin_prefetch(next + j);
          }
          std::memcpy(to + i * inner, from + row[i] * inner, static_cast<size_t>(inner) * sizeof(T));
        }
      }
      at += n;
    }
  });
}
void run_index(const Call& c, std::span<Tensor> out) {
  const Tensor &x = c.in[0], &y = out[0];
  const Blocks b(x.shape(), c.attrs.integer[0], c.in.size() - 1);
  if (c.attrs.flag) check_not_negative("index_select", c.in[1]);
  const Positions p("index", c.in.subspan(1), b.sizes, b.strides);
  if (y.numel() == 0) return;
  const size_t item = itemsize(x.dtype());
  item == 1   ? take_rows(b, p, b.inner, x.data<uint8_t>(), y.data<uint8_t>())
  : item == 4 ? take_rows(b, p, b.inner, x.data<uint32_t>(), y.data<uint32_t>())
              : take_rows(b, p, b.inner, x.data<uint64_t>(), y.data<uint64_t>());
}

void index_vjp(Backward& b) {
  std::vector<Tensor> indices;
  for (int i = 1; i < b.node.inputs; ++i) indices.push_back(b.input(i));
  b.set(0, index_backward(b.g, indices, b.attrs().integer[0], b.input_shape(0)));
}
constexpr Op kIndex = {.name = "index",
                       .infer = infer_index,
                       .run = run_index,
                       .vjp = index_vjp,
                       .saves = {kSaveIndices},
                       .flops = no_flops,
                       .bytes = taken_bytes};

}  // namespace

Tensor index_at(const Tensor& x, std::span<const Tensor> indices, int64_t lead, bool from_start) {
  std::vector<Tensor> in = {ops::contiguous(x)};
  in.insert(in.end(), indices.begin(), indices.end());
  Attrs attrs;
  attrs.integer[0] = lead;
  attrs.flag = from_start;
  return execute(kIndex, in, attrs);
}

void check_mask(const Tensor& input, const Tensor& mask, int64_t dim) {
  for (int i = 0; i < mask.rank(); ++i) {
    if (dim + i < input.rank() && mask.size(i) == input.size(static_cast<int>(dim + i))) continue;
    throw std::out_of_range("index: a bool mask of shape " + to_string(mask.shape()) + " does not match the shape " +
                            to_string(input.shape()) + " at dimension " + std::to_string(dim));
  }
}

namespace {

void add_mask(Selection& s, const Tensor& input, const Tensor& mask, int64_t& dim) {
  check_mask(input, mask, dim);
  const Tensor positions = ops::argwhere(mask);
  for (int i = 0; i < mask.rank(); ++i) {
    s.indices.push_back(ops::select(positions, 1, i));
    s.dims.push_back(dim++);
  }
}

}  // namespace

Selection make_selection(const Tensor& input, const ops::TensorList& given) {
  Selection s;
  int64_t dim = 0;
  for (const Tensor& t : given) {
    if (!t) {
      ++dim;
    } else if (t.dtype() == DType::Bool) {
      add_mask(s, input, t, dim);
    } else if (is_float(t.dtype())) {
      throw std::out_of_range("index: tensors used as indices must be integers or bool, got " + describe(t));
    } else if (t.dtype() == DType::UInt8) {
      throw std::out_of_range("index: " + describe(t) +
                              " is a mask to PyTorch and a list of positions to NumPy; convert it with .bool() or "
                              ".long()");
    } else {
      s.indices.push_back(ops::to(t, DType::Int64));
      s.dims.push_back(dim++);
    }
  }
  if (dim > input.rank()) {
    throw std::out_of_range("index: too many indices (" + std::to_string(dim) + ") for a tensor of shape " +
                            to_string(input.shape()));
  }
  for (const Tensor& t : s.indices) s.shape = broadcast_shapes("index", s.shape, t.shape());
  for (Tensor& t : s.indices) t = ops::contiguous(t.shape() == s.shape ? t : ops::expand(t, s.shape));
  for (size_t i = 1; i < s.dims.size(); ++i) s.adjacent &= s.dims[i] == s.dims[i - 1] + 1;
  return s;
}

Selection select_along(const char* op, int dim, const Tensor& index) {
  if (index.rank() > 1 || !is_index(index)) {
    throw std::invalid_argument(std::string(op) + ": index must be a 1-d int64 or int32 tensor, got " +
                                describe(index));
  }
  Selection s;
  s.indices = {ops::contiguous(ops::to(ops::reshape(index, {index.numel()}), DType::Int64))};
  s.dims = {dim};
  s.shape = {index.numel()};
  return s;
}

Dims dims_first(std::span<const int64_t> dims, int rank) {
  Dims order{dims};
  for (int d = 0; d < rank; ++d) {
    if (std::find(dims.begin(), dims.end(), d) == dims.end()) order.push_back(d);
  }
  return order;
}

bool is_single_mask(const ops::TensorList& indices) {
  return indices.size() == 1 && indices[0] && indices[0].dtype() == DType::Bool && indices[0].rank() > 0;
}

namespace ops {

Tensor index(const Tensor& input, const TensorList& indices) {
  if (is_single_mask(indices) && indices[0].rank() > 1) {  // the same with those dimensions, and the mask, made flat
    check_mask(input, indices[0], 0);
    Dims shape = {indices[0].numel()};
    for (int d = indices[0].rank(); d < input.rank(); ++d) shape.push_back(input.size(d));
    return index(reshape(input, shape), {reshape(indices[0], {indices[0].numel()})});
  }
  const Selection s = make_selection(input, indices);
  return index_at(s.adjacent ? input : permute(input, dims_first(s.dims, input.rank())), s.indices, s.lead());
}

Tensor index_select(const Tensor& input, int64_t dim, const Tensor& index_) {
  const int d = normalize_dim("index_select", dim, input.rank());
  const Selection s = select_along("index_select", d, index_);
  if (input.rank()) return index_at(input, s.indices, d, true);
  if (!(s.shape == Dims{1})) {
    throw std::invalid_argument("index_select: of a 0-d tensor one index selects, got " + describe(index_));
  }
  return reshape(index_at(reshape(input, {1}), s.indices, 0, true), {});
}

}  // namespace ops
}  // namespace tg

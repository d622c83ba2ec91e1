// Indexing by tensors: index, index_put_, index_select, gather, nonzero.
#include <stdexcept>

#include "ops/loop.h"
#include "ops/ops.h"
#include "ops/promotion.h"
#include "threads/parallel.h"

namespace tg {
namespace {

constexpr unsigned kSaveIndices = (1u << 29) - 2;  // every input but the first

int64_t checked_index(const char* op, int64_t i, int64_t size) {
  if (i < -size || i >= size) {
    throw std::out_of_range(std::string(op) + ": index " + std::to_string(i) +
                            " is out of range for a dimension of "
                            "size " +
                            std::to_string(size));
  }
  return i < 0 ? i + size : i;
}

[[noreturn]] void fail_negative(const char* op, int64_t i) {
  throw std::out_of_range(std::string(op) + ": index " + std::to_string(i) +
                          " is negative; only x[...] counts from the end");
}

// One flat position per index tuple; the indexed dimensions are the leading ones of `sizes`.
std::vector<int64_t> flat_positions(const char* op, std::span<const Tensor> indices, const Dims& sizes,
                                    const Dims& strides) {
  std::vector<int64_t> flat(static_cast<size_t>(indices[0].numel()), 0);
  for (size_t d = 0; d < indices.size(); ++d) {
    const int64_t size = sizes[static_cast<int>(d)], stride = strides[static_cast<int>(d)];
    const int64_t* index = indices[d].data<int64_t>();
    for (size_t i = 0; i < flat.size(); ++i) flat[i] += checked_index(op, index[i], size) * stride;
  }
  return flat;
}

int64_t product(const Dims& d, int from) {
  int64_t n = 1;
  for (int i = from; i < d.size(); ++i) n *= d[i];
  return n;
}

// index(x contiguous, i0, i1, ...): the k index tensors have one shape and select in x's first k dimensions
void infer_index(const Call& c, OutSpec* out) {
  Dims shape = c.in[1].shape();
  for (int d = static_cast<int>(c.in.size()) - 1; d < c.in[0].rank(); ++d) shape.push_back(c.in[0].size(d));
  *out = {shape, c.in[0].dtype()};
}

void run_index(const Call& c, std::span<Tensor> out) {
  const Tensor& x = c.in[0];
  const auto indices = c.in.subspan(1);
  const auto flat = flat_positions("index", indices, x.shape(), x.strides());
  const int64_t inner = product(x.shape(), static_cast<int>(indices.size()));
  const auto item = itemsize(x.dtype());
  const size_t block = static_cast<size_t>(inner) * item;
  parallel_for(static_cast<int64_t>(flat.size()), std::max<int64_t>(1, 16384 / std::max<int64_t>(1, inner)),
               [&](int64_t begin, int64_t end) {
                 char* to = out[0].data<char>() + static_cast<size_t>(begin) * block;
                 for (int64_t i = begin; i < end; ++i, to += block) {
                   std::memcpy(to, x.data<char>() + flat[static_cast<size_t>(i)] * static_cast<int64_t>(item), block);
                 }
               });
}

// index_backward(g, i0, ...): zeros of attrs.dims, g added at the indices, in order
void infer_scatter(const Call& c, OutSpec* out) { *out = {c.attrs.dims, c.in[0].dtype()}; }
template <class T>
void add_blocks(const std::vector<int64_t>& flat, const T* g, int64_t inner, T* out) {
  for (size_t i = 0; i < flat.size(); ++i) {
    for (int64_t j = 0; j < inner; ++j) out[flat[i] + j] += g[static_cast<int64_t>(i) * inner + j];
  }
}
void run_index_backward(const Call& c, std::span<Tensor> out) {
  const Tensor& y = out[0];
  std::memset(y.data(), 0, static_cast<size_t>(y.numel()) * itemsize(y.dtype()));
  const auto flat = flat_positions("index_backward", c.in.subspan(1), y.shape(), y.strides());
  const int64_t inner = product(y.shape(), static_cast<int>(c.in.size()) - 1);
  if (y.dtype() == DType::Float32)
    add_blocks(flat, c.in[0].data<float>(), inner, y.data<float>());
  else
    add_blocks(flat, c.in[0].data<double>(), inner, y.data<double>());
}
extern const Op kIndexBackward;
Tensor index_op(const Tensor& x, std::span<const Tensor> indices);
std::vector<Tensor> saved_indices(const Backward& b) {
  std::vector<Tensor> indices;
  for (int i = 1; i < b.node.inputs; ++i) indices.push_back(b.input(i));
  return indices;
}
void index_backward_vjp(Backward& b) { b.set(0, index_op(b.g, saved_indices(b))); }
const Op kIndexBackward = {"index_backward",   infer_scatter,      nullptr,
                           run_index_backward, index_backward_vjp, {kSaveIndices}};
void index_vjp(Backward& b) {
  std::vector<Tensor> in = saved_indices(b);
  in.insert(in.begin(), ops::contiguous(b.g));
  Attrs attrs;
  attrs.dims = b.input_shape(0);
  b.set(0, execute(kIndexBackward, in, attrs));
}
constexpr Op kIndex = {"index", infer_index, nullptr, run_index, index_vjp, {kSaveIndices}};
Tensor index_op(const Tensor& x, std::span<const Tensor> indices) {
  std::vector<Tensor> in = {ops::contiguous(x)};
  in.insert(in.end(), indices.begin(), indices.end());
  return execute(kIndex, in);
}

// index_put_(self, value, i0, ...): attrs.list holds self's dimensions, the indexed ones first
void run_index_put(const Call& c, std::span<Tensor> out) {
  Dims shape, strides;
  for (int64_t d : c.attrs.list) {
    shape.push_back(out[0].size(static_cast<int>(d)));
    strides.push_back(out[0].strides()[static_cast<int>(d)]);
  }
  const auto indices = c.in.subspan(2);
  const auto flat = flat_positions("index_put_", indices, shape, strides);
  const int k = static_cast<int>(indices.size());
  const Dims rest(shape.data() + k, shape.size() - k), rest_strides(strides.data() + k, strides.size() - k);
  const int64_t inner = product(rest, 0), item = static_cast<int64_t>(itemsize(out[0].dtype()));
  const char* value = c.in[1].data<char>();
  if (is_contiguous(rest, rest_strides)) {
    for (size_t i = 0; i < flat.size(); ++i, value += inner * item) {
      std::memcpy(out[0].data<char>() + flat[i] * item, value, static_cast<size_t>(inner * item));
    }
    return;
  }
  const Dims value_strides = contiguous_strides(rest);
  for (size_t i = 0; i < flat.size(); ++i) {
    run_copy(out[0].alias(rest, rest_strides, flat[i]),
             c.in[1].alias(rest, value_strides, static_cast<int64_t>(i) * inner));
  }
}
// Keeps the GIL: the views it makes count references of a tensor that other threads may hold.
constexpr Op kIndexPut = {"index_put_", nullptr, nullptr, run_index_put, nullptr, {0}, 1, true, keep_gil};

// gather(x, index): attrs.integer[0] = dim. Positions in x of the elements that index names, in index's order.
template <class F>
void for_gathered(const Tensor& index, int dim, const Dims& shape, const Dims& strides, F&& body) {
  int64_t at[Dims::kMaxRank] = {};
  int64_t base = 0;
  const int64_t* ix = index.data<int64_t>();
  for (int64_t i = 0; i < index.numel(); ++i) {
    if (ix[i] < 0) fail_negative("gather", ix[i]);
    body(i, base + checked_index("gather", ix[i], shape[dim]) * strides[dim]);
    for (int d = index.rank() - 1; d >= 0; --d) {
      const int64_t step = d == dim ? 0 : strides[d];
      base += step;
      if (++at[d] < index.size(d)) break;
      base -= at[d] * step;
      at[d] = 0;
    }
  }
}

void infer_gather(const Call& c, OutSpec* out) { *out = {c.in[1].shape(), c.in[0].dtype()}; }
void run_gather(const Call& c, std::span<Tensor> out) {
  const Tensor& x = c.in[0];
  const int dim = static_cast<int>(c.attrs.integer[0]);
  dispatch_stored(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    for_gathered(c.in[1], dim, x.shape(), x.strides(),
                 [&](int64_t i, int64_t from) { out[0].data<T>()[i] = x.data<T>()[from]; });
  });
}
void run_gather_backward(const Call& c, std::span<Tensor> out) {
  const Tensor& y = out[0];
  const int dim = static_cast<int>(c.attrs.integer[0]);
  std::memset(y.data(), 0, static_cast<size_t>(y.numel()) * itemsize(y.dtype()));
  const auto add = [&](auto* to, const auto* g) {
    for_gathered(c.in[1], dim, y.shape(), y.strides(), [&](int64_t i, int64_t at) { to[at] += g[i]; });
  };
  if (y.dtype() == DType::Float32)
    add(y.data<float>(), c.in[0].data<float>());
  else
    add(y.data<double>(), c.in[0].data<double>());
}
void gather_backward_vjp(Backward& b) { b.set(0, ops::gather(b.g, b.attrs().integer[0], b.input(1))); }
constexpr Op kGatherBackward = {"gather_backward",   infer_scatter,       nullptr,
                                run_gather_backward, gather_backward_vjp, {kSaveB}};
void gather_vjp(Backward& b) {
  Attrs attrs = b.attrs();
  attrs.dims = b.input_shape(0);
  b.set(0, execute(kGatherBackward, {ops::contiguous(b.g), b.input(1)}, attrs));
}
constexpr Op kGather = {"gather", infer_gather, nullptr, run_gather, gather_vjp, {kSaveB}};

// nonzero(x contiguous): the shape depends on the values
int64_t count_nonzero(const Tensor& x) {
  int64_t n = 0;
  dispatch_stored(x.dtype(), [&](auto tag) {
    for (int64_t i = 0; i < x.numel(); ++i) n += x.data<decltype(tag)>()[i] != decltype(tag){};
  });
  return n;
}
void infer_nonzero(const Call& c, OutSpec* out) { *out = {{count_nonzero(c.in[0]), c.in[0].rank()}, DType::Int64}; }
void run_nonzero(const Call& c, std::span<Tensor> out) {
  const Tensor& x = c.in[0];
  int64_t* to = out[0].data<int64_t>();
  dispatch_stored(x.dtype(), [&](auto tag) {
    for (int64_t i = 0; i < x.numel(); ++i) {
      if (x.data<decltype(tag)>()[i] == decltype(tag){}) continue;
      int64_t rest = i;
      for (int d = x.rank() - 1; d >= 0; --d) {
        to[d] = rest % x.size(d);
        rest /= x.size(d);
      }
      to += x.rank();
    }
  });
}
constexpr Op kNonzero = {"nonzero", infer_nonzero, nullptr, run_nonzero, nullptr};

// Index tensors of one shape, for the dimensions `dims` of the input; a bool mask stands for the positions it marks.
struct Selection {
  std::vector<Tensor> indices;
  std::vector<int64_t> dims;
  bool adjacent = true;
  Dims shape;
};

void add_mask(Selection& s, const Tensor& input, const Tensor& mask, int64_t& dim) {
  for (int i = 0; i < mask.rank(); ++i) {
    if (dim + i < input.rank() && mask.size(i) == input.size(static_cast<int>(dim + i))) continue;
    throw std::out_of_range("index: a bool mask of shape " + to_string(mask.shape()) + " does not match the shape " +
                            to_string(input.shape()) + " at dimension " + std::to_string(dim));
  }
  const Tensor positions = ops::nonzero(mask);
  for (int i = 0; i < mask.rank(); ++i) {
    s.indices.push_back(ops::select(positions, 1, i));
    s.dims.push_back(dim++);
  }
}

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
  for (Tensor& t : s.indices) t = ops::contiguous(ops::expand(t, s.shape));
  for (size_t i = 1; i < s.dims.size(); ++i) s.adjacent &= s.dims[i] == s.dims[i - 1] + 1;
  return s;
}

// The input's dimensions with the indexed ones first.
Dims indexed_first(const Selection& s, int rank) {
  Dims order{std::span<const int64_t>(s.dims)};
  for (int d = 0; d < rank; ++d) {
    if (std::find(s.dims.begin(), s.dims.end(), d) == s.dims.end()) order.push_back(d);
  }
  return order;
}

// NumPy's rule: neighbouring indexed dimensions are replaced where they stand, others move to the front. This is the
// permutation from (selected, rest...) to that layout.
Dims result_order(const Selection& s, int rank) {
  const int k = s.shape.size(), rest = rank - static_cast<int>(s.dims.size());
  const int lead = s.adjacent ? static_cast<int>(s.dims[0]) : 0;
  Dims order;
  for (int i = 0; i < lead; ++i) order.push_back(k + i);
  for (int i = 0; i < k; ++i) order.push_back(i);
  for (int i = lead; i < rest; ++i) order.push_back(k + i);
  return order;
}

bool is_identity(const Dims& order) {
  for (int i = 0; i < order.size(); ++i) {
    if (order[i] != i) return false;
  }
  return true;
}

}  // namespace

namespace ops {

Tensor index(const Tensor& input, const TensorList& indices) {
  const Selection s = make_selection(input, indices);
  const Dims first = indexed_first(s, input.rank()), order = result_order(s, input.rank());
  const Tensor y = index_op(is_identity(first) ? input : permute(input, first), s.indices);
  return is_identity(order) ? y : permute(y, order);
}

void index_put_(const Tensor& self, const TensorList& indices, const Tensor& value) {
  const Selection s = make_selection(self, indices);
  if (grad_enabled() && (self.requires_grad() || value.requires_grad())) {
    throw std::runtime_error(
        "index_put_: assigning through tensor indices is not recorded for the gradient; do it under "
        "no_grad(), or build the value with where() or gather()");
  }
  const Dims first = indexed_first(s, self.rank()), order = result_order(s, self.rank());
  Dims shape = s.shape, target = order, inverse = order;
  for (int i = static_cast<int>(s.dims.size()); i < first.size(); ++i) {
    shape.push_back(self.size(static_cast<int>(first[i])));
  }
  for (int i = 0; i < order.size(); ++i) {
    target[i] = shape[static_cast<int>(order[i])];
    inverse[static_cast<int>(order[i])] = i;
  }
  if (!broadcasts_to(value.shape(), target)) {
    throw std::invalid_argument("index_put_: a value of shape " + to_string(value.shape()) +
                                " does not broadcast to the selected shape " + to_string(target));
  }
  Attrs attrs;
  attrs.list.assign(first.begin(), first.end());
  std::vector<Tensor> in = {self, clone(permute(expand(cast(value, self.dtype()), target), inverse))};
  in.insert(in.end(), s.indices.begin(), s.indices.end());
  execute_in_place(kIndexPut, in, attrs);
}

Tensor index_select(const Tensor& input, int64_t dim, const Tensor& index_) {
  const int d = normalize_dim("index_select", dim, input.rank());
  if (index_.rank() > 1 || is_float(index_.dtype()) || index_.dtype() == DType::Bool) {
    throw std::invalid_argument("index_select: index must be a 1-d integer tensor, got " + describe(index_));
  }
  TensorList indices(static_cast<size_t>(d) + 1);
  indices.back() = contiguous(to(index_.rank() ? index_ : unsqueeze(index_, 0), DType::Int64));
  for (int64_t i = 0; i < index_.numel(); ++i) {
    if (indices.back().data<int64_t>()[i] < 0) fail_negative("index_select", indices.back().data<int64_t>()[i]);
  }
  return index(input, indices);
}

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

// Indexing by tensors: index, index_put_, index_select.
#include <atomic>

#include "ops/index.h"
#include "ops/loop.h"
#include "ops/ops.h"
#include "ops/promotion.h"

namespace tg {
namespace {

constexpr unsigned kSaveIndices = (1u << 29) - 2;  // every input but the first

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

// One position per index tuple, checked: the sum of index * stride over the indexed dimensions. One index with stride 1
// and no negative entries is its own list of positions.
struct Positions {
  Positions(const char* op, std::span<const Tensor> indices, const Dims& sizes, const Dims& strides)
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
  int64_t operator[](int64_t i) const { return at[i]; }

  int64_t count;
  const int64_t* at;
  std::vector<int64_t> own;
};

void check_not_negative(const char* op, const Tensor& index) {
  const int64_t* const i = index.data<int64_t>();
  for (int64_t k = 0; k < index.numel(); ++k) {
    if (i[k] < 0) fail_negative(op, i[k]);
  }
}

int64_t product(std::span<const int64_t> d) {
  int64_t n = 1;
  for (int64_t size : d) n *= size;
  return n;
}

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

// index_backward(g, i0, ...): zeros of attrs.dims, g added at the indices. However the work is cut, every element gets
// its terms in the order of the index.
void infer_index_backward(const Call& c, OutSpec* out) { *out = {c.attrs.dims, c.in[0].dtype()}; }
template <class T>
void add_rows(const Blocks& b, const Positions& p, const T* g, T* y) {
  const int64_t inner = b.inner, work = p.count * inner;
  constexpr double kAddNs = 0.5;  // of a term
  // Columns [from, to) of the terms for rows [first, last).
  const auto add = [&](const T* g_, T* y_, int64_t from, int64_t to, int64_t first, int64_t last) {
    for (int64_t i = 0; i < p.count; ++i) {
      const int64_t row = p[i];
      if (row < first || row >= last) continue;
      if (inner == 1) {
        y_[row] += g_[i];
        continue;
      }
      for (int64_t j = from; j < to; ++j) y_[row * inner + j] += g_[i * inner + j];
    }
  };
  const int64_t columns = column_grain(inner, work, sizeof(T));
  if (b.outer > 1) {
    parallel_for(b.outer, std::max<int64_t>(1, kIndexGrain / std::max<int64_t>(work, 1)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t o = begin; o < end; ++o) add(g + o * work, y + o * b.rows * inner, 0, inner, 0, b.rows);
                 });
  } else if (columns < inner || work <= kIndexGrain) {
    parallel_for(
        inner, columns, [&](int64_t from, int64_t to) { add(g, y, from, to, 0, b.rows); }, kAddNs * double(p.count));
  } else {
    parallel_for(
        b.rows, (b.rows - 1) / num_threads() + 1,
        [&](int64_t first, int64_t last) { add(g, y, 0, inner, first, last); }, kAddNs * double(work) / double(b.rows));
  }
}
void run_index_backward(const Call& c, std::span<Tensor> out) {
  const Tensor& y = out[0];
  const Blocks b(y.shape(), c.attrs.integer[0], c.in.size() - 1);
  const Positions p("index_backward", c.in.subspan(1), b.sizes, b.strides);
  fill_zero(y);
  if (y.numel() == 0) return;
  if (y.dtype() == DType::Float32)
    add_rows(b, p, c.in[0].data<float>(), y.data<float>());
  else
    add_rows(b, p, c.in[0].data<double>(), y.data<double>());
}
extern const Op kIndexBackward;
Tensor index_op(const Tensor& x, std::span<const Tensor> indices, int64_t lead, bool from_start = false);
std::vector<Tensor> saved_indices(const Backward& b) {
  std::vector<Tensor> indices;
  for (int i = 1; i < b.node.inputs; ++i) indices.push_back(b.input(i));
  return indices;
}
void index_backward_vjp(Backward& b) { b.set(0, index_op(b.g, saved_indices(b), b.attrs().integer[0])); }
const Op kIndexBackward = {"index_backward",   infer_index_backward, nullptr,
                           run_index_backward, index_backward_vjp,   {kSaveIndices}};
void index_vjp(Backward& b) {
  std::vector<Tensor> in = saved_indices(b);
  in.insert(in.begin(), ops::contiguous(b.g));
  Attrs attrs;
  attrs.integer[0] = b.attrs().integer[0];
  attrs.dims = b.input_shape(0);
  b.set(0, execute(kIndexBackward, in, attrs));
}
constexpr Op kIndex = {.name = "index",
                       .infer = infer_index,
                       .run = run_index,
                       .vjp = index_vjp,
                       .saves = {kSaveIndices},
                       .flops = no_flops,
                       .bytes = taken_bytes};
Tensor index_op(const Tensor& x, std::span<const Tensor> indices, int64_t lead, bool from_start) {
  std::vector<Tensor> in = {ops::contiguous(x)};
  in.insert(in.end(), indices.begin(), indices.end());
  Attrs attrs;
  attrs.integer[0] = lead;
  attrs.flag = from_start;
  return execute(kIndex, in, attrs);
}

// index_put_(self, value, i0, ...): attrs.list holds self's dimensions, the indexed ones first
void run_index_put(const Call& c, std::span<Tensor> out) {
  Dims shape, strides;
  for (int64_t d : c.attrs.list) {
    shape.push_back(out[0].size(static_cast<int>(d)));
    strides.push_back(out[0].strides()[static_cast<int>(d)]);
  }
  const auto indices = c.in.subspan(2);
  const int k = static_cast<int>(indices.size());
  const Dims rest(shape.data() + k, shape.size() - k), rest_strides(strides.data() + k, strides.size() - k);
  const Positions p("index_put_", indices, shape, strides);
  const int64_t inner = product(rest), item = static_cast<int64_t>(itemsize(out[0].dtype()));
  const char* value = c.in[1].data<char>();
  if (is_contiguous(rest, rest_strides)) {
    for (int64_t i = 0; i < p.count; ++i, value += inner * item) {
      std::memcpy(out[0].data<char>() + p[i] * item, value, static_cast<size_t>(inner * item));
    }
    return;
  }
  const Dims value_strides = contiguous_strides(rest);
  for (int64_t i = 0; i < p.count; ++i) {
    run_copy(out[0].alias(rest, rest_strides, p[i]), c.in[1].alias(rest, value_strides, i * inner));
  }
}
// Keeps the GIL: the views it makes count references of a tensor that other threads may hold.
double put_bytes(const Call& c, std::span<const Tensor>) {
  double sum = bytes_of(c.in[1]);
  for (const Tensor& t : c.in.subspan(1)) sum += bytes_of(t);
  return sum;
}
constexpr Op kIndexPut = {.name = "index_put_",
                          .run = run_index_put,
                          .in_place = true,
                          .keep_gil = true,
                          .flops = no_flops,
                          .bytes = put_bytes};

// masked_fill_(self, mask, value): the one value where the mask is true
Elementwise masked_fill_kernel(const Call& c) {
  return {kernels().where[static_cast<int>(c.in[0].dtype())], 3, {&c.in[1], &c.in[2], &c.in[0]}};
}
constexpr Op kMaskedFill = [] {
  Op op = elementwise_op<masked_fill_kernel>("index_put_", nullptr);
  op.in_place = true;
  return op;
}();

// t, or a copy of it where it shares memory with what is to be written.
Tensor apart_from(const Tensor& self, const Tensor& t) {
  return t->storage.get() == self->storage.get() ? ops::clone(t) : t;
}

// Index tensors of one shape, for the dimensions `dims` of the input; a bool mask stands for the positions it marks.
struct Selection {
  std::vector<Tensor> indices;
  std::vector<int64_t> dims;
  bool adjacent = true;
  Dims shape;
};

void check_mask(const Tensor& input, const Tensor& mask, int64_t dim) {
  for (int i = 0; i < mask.rank(); ++i) {
    if (dim + i < input.rank() && mask.size(i) == input.size(static_cast<int>(dim + i))) continue;
    throw std::out_of_range("index: a bool mask of shape " + to_string(mask.shape()) + " does not match the shape " +
                            to_string(input.shape()) + " at dimension " + std::to_string(dim));
  }
}

void add_mask(Selection& s, const Tensor& input, const Tensor& mask, int64_t& dim) {
  check_mask(input, mask, dim);
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
  for (Tensor& t : s.indices) t = ops::contiguous(t.shape() == s.shape ? t : ops::expand(t, s.shape));
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

bool is_single_mask(const ops::TensorList& indices) {
  return indices.size() == 1 && indices[0] && indices[0].dtype() == DType::Bool && indices[0].rank() > 0;
}

}  // namespace

namespace ops {

Tensor index(const Tensor& input, const TensorList& indices) {
  if (is_single_mask(indices) && indices[0].rank() > 1) {  // the same with those dimensions, and the mask, made flat
    check_mask(input, indices[0], 0);
    Dims shape = {indices[0].numel()};
    for (int d = indices[0].rank(); d < input.rank(); ++d) shape.push_back(input.size(d));
    return index(reshape(input, shape), {reshape(indices[0], {indices[0].numel()})});
  }
  const Selection s = make_selection(input, indices);
  return s.adjacent ? index_op(input, s.indices, s.dims[0])
                    : index_op(permute(input, indexed_first(s, input.rank())), s.indices, 0);
}

void index_put_(const Tensor& self, const TensorList& indices, const Tensor& value) {
  if (grad_enabled() && (self.requires_grad() || value.requires_grad())) {
    throw std::runtime_error(
        "index_put_: assigning through tensor indices is not recorded for the gradient; do it under "
        "no_grad(), or build the value with where() or gather()");
  }
  if (is_single_mask(indices) && value.rank() == 0) {
    check_mask(self, indices[0], 0);
    Dims shape = indices[0].shape();
    while (shape.size() < self.rank()) shape.push_back(1);
    execute_in_place(kMaskedFill,
                     {self, apart_from(self, reshape(indices[0], shape)), apart_from(self, cast(value, self.dtype()))});
    return;
  }
  const Selection s = make_selection(self, indices);
  const Dims first = indexed_first(s, self.rank()), order = result_order(s, self.rank());
  Dims shape = s.shape, target = order, inverse = Dims::filled(order.size(), 0);
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
  const Tensor source = permute(expand(cast(value, self.dtype()), target), inverse);
  std::vector<Tensor> in = {self, contiguous(apart_from(self, source))};
  in.insert(in.end(), s.indices.begin(), s.indices.end());
  execute_in_place(kIndexPut, in, attrs);
}

Tensor index_select(const Tensor& input, int64_t dim, const Tensor& index_) {
  const int d = normalize_dim("index_select", dim, input.rank());
  if (index_.rank() > 1 || is_float(index_.dtype()) || index_.dtype() == DType::Bool) {
    throw std::invalid_argument("index_select: index must be a 1-d integer tensor, got " + describe(index_));
  }
  TensorList indices(static_cast<size_t>(d) + 1);
  indices.back() = index_.rank() ? index_ : unsqueeze(index_, 0);
  return index_op(input, make_selection(input, indices).indices, d, true);
}

}  // namespace ops
}  // namespace tg

// Writing by index tensors: index_put, index_add, index_copy and index_fill, and the gradient of reading.
#include "ops/index.h"
#include "ops/loop.h"
#include "ops/promotion.h"

namespace tg {
namespace {

// index_put_(self, value contiguous, i0, i1, ...): attrs.dims = the indexed dimensions, attrs.integer[0] = how many of
// self's dimensions stay in front of the index's own; attrs.integer[1]: value is added to what is there; attrs.flag: no
// index may count from the end. Value has the shape (lead..., index..., rest...).
constexpr unsigned kSaveIndices = (1u << 29) - 4;  // every input but the first two

// Where element i of some dimensions lies from their first one: a multiple of i where that is so, else from a table.
struct Offsets {
  Offsets(const Dims& shape, const Dims& strides) : count(product(shape)) {
    for (int d = 0; d < shape.size(); ++d) {
      if (shape[d] != 1) step = strides[d];
    }
    int64_t next = step;
    for (int d = shape.size() - 1; d >= 0; --d) {
      if (shape[d] != 1 && strides[d] != next) {
        fill(shape, strides);
        return;
      }
      next *= shape[d];
    }
  }
  int64_t operator[](int64_t i) const { return table.empty() ? i * step : table[static_cast<size_t>(i)]; }
  bool dense() const { return count == 1 || (table.empty() && step == 1); }

  int64_t count, step = 1;
  std::vector<int64_t> table;

 private:
  void fill(const Dims& shape, const Dims& strides) {
    table.assign(static_cast<size_t>(count), 0);
    for (int64_t i = 0; i < count; ++i) {
      int64_t rest = i;
      for (int d = shape.size() - 1; d >= 0; rest /= shape[d--]) {
        table[static_cast<size_t>(i)] += rest % shape[d] * strides[d];
      }
    }
  }
};

// Of self's dimensions [from, to) those in `dims`, or the others; a 0-d tensor counts as one of a single element.
struct Part {
  Part(const Tensor& self, int64_t from, int64_t to, const Dims& dims, bool wanted) {
    for (int64_t d = from; d < to; ++d) {
      if ((std::find(dims.begin(), dims.end(), d) != dims.end()) != wanted) continue;
      shape.push_back(self.rank() ? self.size(static_cast<int>(d)) : 1);
      strides.push_back(self.rank() ? self.strides()[static_cast<int>(d)] : 1);
      span += (shape.back() - 1) * strides.back();
    }
  }
  Dims shape, strides;
  int64_t span = 1;
};

// The elements of self that are written: at outer[o] + positions[i] + inner[j], positions below span.
struct Targets {
  Targets(const char* op, const Tensor& self, std::span<const Tensor> indices, const Dims& dims, int64_t lead)
      : Targets(op, indices, {self, 0, lead, dims, false}, {self, 0, std::max(self.rank(), 1), dims, true},
                {self, lead, self.rank(), dims, false}) {}
  Targets(const char* op, std::span<const Tensor> indices, const Part& before, const Part& indexed, const Part& rest)
      : outer(before.shape, before.strides),
        inner(rest.shape, rest.strides),
        positions(op, indices, indexed.shape, indexed.strides),
        span(indexed.span) {}

  Offsets outer, inner;
  Positions positions;
  int64_t span;
};

// put(element, value) for every element and its value. However the work is cut, one element gets its values in the
// order of the index.
template <class T, class Put>
void put_all(const Targets& t, T* self, const T* value, Put&& put) {
  constexpr double kPutNs = 0.5;
  const int64_t count = t.positions.count, inner = t.inner.count, work = count * inner;
  // Columns [from, to) of what goes to positions [first, last), for one o.
  const auto rows = [&](int64_t o, int64_t from, int64_t to, int64_t first, int64_t last) {
    const T* v = value + o * work;
    T* const y = self + t.outer[o];
    for (int64_t i = 0; i < count; ++i, v += inner) {
      const int64_t at = t.positions[i];
      if (at < first || at >= last) continue;
      if (inner == 1) {
        put(y[at], v[0]);
      } else if (t.inner.dense()) {
        for (int64_t j = from; j < to; ++j) put(y[at + j], v[j]);
      } else {
        for (int64_t j = from; j < to; ++j) put(y[at + t.inner[j]], v[j]);
      }
    }
  };
  const int64_t columns = column_grain(inner, work, sizeof(T));
  if (t.outer.count > 1) {
    parallel_for(t.outer.count, std::max<int64_t>(1, kIndexGrain / std::max<int64_t>(work, 1)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t o = begin; o < end; ++o) rows(o, 0, inner, 0, t.span);
                 });
  } else if (columns < inner || work <= kIndexGrain) {
    parallel_for(
        inner, columns, [&](int64_t from, int64_t to) { rows(0, from, to, 0, t.span); }, kPutNs * double(count));
  } else {
    parallel_for(
        t.span, (t.span - 1) / num_threads() + 1, [&](int64_t first, int64_t last) { rows(0, 0, inner, first, last); },
        kPutNs * double(work) / double(t.span));
  }
}

void add_all(const Targets& t, const Tensor& self, const Tensor& value) {
  dispatch(self.dtype(), [&](auto tag) {
    using T = decltype(tag);
    put_all(t, self.data<T>(), value.data<T>(), Add{});
  });
}

void run_index_put(const Call& c, std::span<Tensor> out) {
  const Tensor& self = out[0];
  const auto indices = c.in.subspan(2);
  if (c.attrs.flag) check_not_negative(c.op.name, indices[0]);
  const Targets t(c.op.name, self, indices, c.attrs.dims, c.attrs.integer[0]);
  if (c.in[1].numel() == 0) return;
  if (c.attrs.integer[1]) return add_all(t, self, c.in[1]);
  const auto copy = [&](auto tag) {
    using T = decltype(tag);
    put_all(t, self.data<T>(), c.in[1].data<T>(), [](T& y, T v) { y = v; });
  };
  const size_t item = itemsize(self.dtype());
  item == 1 ? copy(uint8_t{}) : item == 4 ? copy(uint32_t{}) : copy(uint64_t{});
}
double put_bytes(const Call& c, std::span<const Tensor>) {
  double sum = bytes_of(c.in[1]);
  for (const Tensor& t : c.in.subspan(1)) sum += bytes_of(t);
  return sum;
}

void put(const Op& op, const Tensor& self, const Tensor& value, std::span<const Tensor> indices, const Attrs& attrs) {
  std::vector<Tensor> in = {self, value};
  for (const Tensor& i : indices) in.push_back(apart_from(self, i));
  execute_in_place(op, in, attrs);
}
void index_put_vjp(Backward& b) {
  const Attrs& a = b.attrs();
  std::vector<Tensor> indices;
  for (int i = 2; i < b.node.inputs; ++i) indices.push_back(b.input(i));
  const int rank = b.g.rank(), lead = static_cast<int>(a.integer[0]);
  bool in_front = true;
  for (int i = 0; i < a.dims.size(); ++i) in_front &= a.dims[i] == lead + i;
  const Tensor g = rank == 0 ? ops::reshape(b.g, {1}) : in_front ? b.g : ops::permute(b.g, dims_first(a.dims, rank));
  const Tensor picked = index_at(g, indices, lead);
  if (b.needs(1)) b.set(1, picked);
  if (!b.needs(0)) return;
  if (a.integer[1]) return b.set(0, b.g);
  const Tensor rest = ops::clone(b.g);
  put(*b.node.op, rest, ops::full(picked.shape(), Tensor::number(0.0), rest.dtype()), indices, a);
  b.set(0, rest);
}
constexpr Op put_op(const char* name) {
  return {.name = name,
          .run = run_index_put,
          .vjp = index_put_vjp,
          .saves = {kSaveIndices, kSaveIndices},
          .in_place = true,
          .may_stop = true,
          .flops = no_flops,
          .bytes = put_bytes};
}
constexpr Op kIndexPut = put_op("index_put_"), kIndexAdd = put_op("index_add_"), kIndexCopy = put_op("index_copy_"),
             kIndexFill = put_op("index_fill_");

// index_backward(g, i0, ...): zeros of attrs.dims, g added at the indices, which select from dimension
// attrs.integer[0] on.
void infer_index_backward(const Call& c, OutSpec* out) { *out = {c.attrs.dims, c.in[0].dtype()}; }
void run_index_backward(const Call& c, std::span<Tensor> out) {
  const auto indices = c.in.subspan(1);
  Dims dims;
  for (size_t i = 0; i < indices.size(); ++i) dims.push_back(c.attrs.integer[0] + static_cast<int64_t>(i));
  const Targets t("index_backward", out[0], indices, dims, c.attrs.integer[0]);
  fill_zero(out[0]);
  if (c.in[0].numel() && out[0].numel()) add_all(t, out[0], c.in[0]);
}
void index_backward_vjp(Backward& b) {
  std::vector<Tensor> indices;
  for (int i = 1; i < b.node.inputs; ++i) indices.push_back(b.input(i));
  b.set(0, index_at(b.g, indices, b.attrs().integer[0]));
}
constexpr Op kIndexBackward = {"index_backward",   infer_index_backward, nullptr,
                               run_index_backward, index_backward_vjp,   {(1u << 29) - 2}};

// The shape of what a selection writes, and value in that shape and in self's dtype.
Tensor spread(const char* op, const Tensor& self, const Selection& s, const Tensor& source) {
  Dims target(self.shape().data(), s.lead());
  for (int64_t d : s.shape) target.push_back(d);
  for (int d = s.lead(); d < self.rank(); ++d) {
    if (std::find(s.dims.begin(), s.dims.end(), d) == s.dims.end()) target.push_back(self.size(d));
  }
  const Tensor value = without_lead(source, target.size());
  if (!broadcasts_to(value.shape(), target)) {
    throw std::invalid_argument(std::string(op) + ": a value of shape " + to_string(value.shape()) +
                                " does not broadcast to the selected shape " + to_string(target));
  }
  return ops::contiguous(apart_from(self, ops::expand(cast(value, self.dtype()), target)));
}
void write(const Op& op, const Tensor& self, const Selection& s, const Tensor& value, bool add, bool from_start) {
  Attrs attrs;
  attrs.dims = Dims(std::span<const int64_t>(s.dims));
  attrs.integer[0] = s.lead();
  attrs.integer[1] = add;
  attrs.flag = from_start;
  put(op, self, spread(op.name, self, s, value), s.indices, attrs);
}

// A source for index_add_ and index_copy_: self's shape, but for the dimension that the index runs along.
Selection select_source(const char* op, const Tensor& self, int dim, const Tensor& index, const Tensor& source) {
  check_same_dtype(op, self, source);
  Selection s = select_along(op, dim, index);
  Dims expected = self.shape();
  if (self.rank()) expected[dim] = s.shape[0];
  if (!(source.shape() == expected) || (self.rank() == 0 && s.shape[0] != 1)) {
    throw std::invalid_argument(std::string(op) + ": for index " + to_string(index.shape()) + " along dim " +
                                std::to_string(dim) + " of " + describe(self) + " the source must have the shape " +
                                to_string(expected) + ", got " + to_string(source.shape()));
  }
  return s;
}

}  // namespace

Tensor index_backward(const Tensor& g, std::span<const Tensor> indices, int64_t lead, const Dims& shape) {
  std::vector<Tensor> in = {ops::contiguous(g)};
  in.insert(in.end(), indices.begin(), indices.end());
  Attrs attrs;
  attrs.integer[0] = lead;
  attrs.dims = shape;
  return execute(kIndexBackward, in, attrs);
}

namespace ops {

Tensor index_put_(Tensor self, const TensorList& indices, const Tensor& values, bool accumulate) {
  if (indices.empty()) throw std::invalid_argument("index_put_: expected at least one index tensor");
  if (is_single_mask(indices) && values.rank() == 0 && !accumulate) {
    check_mask(self, indices[0], 0);
    Dims shape = indices[0].shape();
    while (shape.size() < self.rank()) shape.push_back(1);
    return masked_fill_(self, reshape(indices[0], shape), values);
  }
  write(kIndexPut, self, make_selection(self, indices), values, accumulate, false);
  return self;
}

Tensor index_add_(Tensor self, int64_t dim, const Tensor& index_, const Tensor& source, const Tensor& alpha) {
  const int d = normalize_dim("index_add_", dim, self.rank());
  const Selection s = select_source("index_add_", self, d, index_, source);
  const bool plain = alpha->wrapped_number && alpha.item_double() == 1;
  write(kIndexAdd, self, s, plain ? source : mul(source, cast(alpha, source.dtype())), true, true);
  return self;
}

Tensor index_copy_(Tensor self, int64_t dim, const Tensor& index_, const Tensor& source) {
  const int d = normalize_dim("index_copy_", dim, self.rank());
  write(kIndexCopy, self, select_source("index_copy_", self, d, index_, source), source, false, true);
  return self;
}

Tensor index_fill_(Tensor self, int64_t dim, const Tensor& index_, const Tensor& value) {
  const int d = normalize_dim("index_fill_", dim, self.rank());
  if (value.rank()) {
    throw std::invalid_argument("index_fill_: value must be a number or 0-d tensor, got " + describe(value));
  }
  write(kIndexFill, self, select_along("index_fill_", d, index_), value, false, false);
  return self;
}

Tensor index_put(const Tensor& input, const TensorList& indices, const Tensor& values, bool accumulate) {
  check_same_dtype("index_put", input, values);
  return index_put_(clone(input), indices, values, accumulate);
}
Tensor index_add(const Tensor& input, int64_t dim, const Tensor& index_, const Tensor& source, const Tensor& alpha) {
  return index_add_(clone(input), dim, index_, source, alpha);
}
Tensor index_copy(const Tensor& input, int64_t dim, const Tensor& index_, const Tensor& source) {
  return index_copy_(clone(input), dim, index_, source);
}
Tensor index_fill(const Tensor& input, int64_t dim, const Tensor& index_, const Tensor& value) {
  return index_fill_(clone(input), dim, index_, value);
}

}  // namespace ops
}  // namespace tg

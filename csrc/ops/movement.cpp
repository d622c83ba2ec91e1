// Ops that move elements or only look at them differently: reshape, permute, expand, slice, select, cat, stack.
#include <algorithm>
#include <stdexcept>

#include "ops/loop.h"
#include "ops/ops.h"
#include "ops/place.h"
#include "ops/promotion.h"
#include "threads/parallel.h"

namespace tg {
namespace {

// reshape as a view: attrs.dims the shape, attrs.dims2 the strides
Tensor view_reshape(const Call& c) { return c.in[0].alias(c.attrs.dims, c.attrs.dims2); }
void reshape_vjp(Backward& b) { b.set(0, ops::reshape(b.g, b.input_shape(0))); }
constexpr Op kReshape = {"reshape", nullptr, view_reshape, nullptr, reshape_vjp};

// permute: attrs.dims
Tensor view_permute(const Call& c) {
  Dims shape = c.attrs.dims, strides = c.attrs.dims;
  for (int i = 0; i < shape.size(); ++i) {
    const int from = static_cast<int>(c.attrs.dims[i]);
    shape[i] = c.in[0].size(from);
    strides[i] = c.in[0].strides()[from];
  }
  return c.in[0].alias(shape, strides);
}
void permute_vjp(Backward& b) {
  const Dims& dims = b.attrs().dims;
  Dims inverse = dims;
  for (int i = 0; i < dims.size(); ++i) inverse[static_cast<int>(dims[i])] = i;
  b.set(0, ops::permute(b.g, inverse));
}
constexpr Op kPermute = {"permute", nullptr, view_permute, nullptr, permute_vjp};

// expand: attrs.dims the shape; the sweep sums the gradient down again
Tensor view_expand(const Call& c) {
  return c.in[0].alias(c.attrs.dims, broadcast_strides(c.in[0].shape(), c.in[0].strides(), c.attrs.dims));
}
void expand_vjp(Backward& b) { b.set(0, b.g); }
constexpr Op kExpand = {"expand", nullptr, view_expand, nullptr, expand_vjp};

// slice: attrs.integer = {dim, start}, attrs.dims = {length, step}
Tensor view_slice(const Call& c) {
  const int dim = static_cast<int>(c.attrs.integer[0]);
  Dims shape = c.in[0].shape(), strides = c.in[0].strides();
  const int64_t offset = c.attrs.dims[0] ? c.attrs.integer[1] * strides[dim] : 0;
  shape[dim] = c.attrs.dims[0];
  strides[dim] *= c.attrs.dims[1];
  return c.in[0].alias(shape, strides, offset);
}
// slice_backward: zeros of attrs.dims2 with g in the slice's place
void infer_slice_backward(const Call& c, OutSpec* out) { *out = {c.attrs.dims2, c.in[0].dtype()}; }
void run_slice_backward(const Call& c, std::span<Tensor> out) { run_place(c, view_slice, out[0]); }
void slice_backward_vjp(Backward& b) {
  const Attrs& a = b.attrs();
  b.set(0, ops::slice(b.g, a.integer[0], a.integer[1], a.dims[0], a.dims[1]));
}
constexpr Op kSliceBackward = {.name = "slice_backward",
                               .infer = infer_slice_backward,
                               .run = run_slice_backward,
                               .vjp = slice_backward_vjp,
                               .flops = no_flops};
void slice_vjp(Backward& b) { add_part(b, kSliceBackward, view_slice, b.g, b.attrs()); }
constexpr Op kSlice = {"slice", nullptr, view_slice, nullptr, slice_vjp};

// select: attrs.integer = {dim, index}
Tensor view_select(const Call& c) {
  const int dim = static_cast<int>(c.attrs.integer[0]);
  Dims shape = c.in[0].shape(), strides = c.in[0].strides();
  const int64_t offset = c.attrs.integer[1] * strides[dim];
  shape.erase(dim);
  strides.erase(dim);
  return c.in[0].alias(shape, strides, offset);
}
void select_vjp(Backward& b) {
  Attrs attrs = b.attrs();
  attrs.dims = {1, 1};
  add_part(b, kSliceBackward, view_slice, ops::unsqueeze(b.g, attrs.integer[0]), attrs);
}
constexpr Op kSelect = {"select", nullptr, view_select, nullptr, select_vjp};

// cat: attrs.integer[0] = dim
void infer_cat(const Call& c, OutSpec* out) {
  const int dim = static_cast<int>(c.attrs.integer[0]);
  Dims shape = c.in[0].shape();
  shape[dim] = 0;
  for (const Tensor& t : c.in) {
    if (__builtin_add_overflow(shape[dim], t.size(dim), &shape[dim])) {
      throw std::invalid_argument("cat: the result has more elements than can be addressed");
    }
  }
  *out = {shape, c.in[0].dtype()};
}
// Inputs of one element per outer position: out[o * n + k] = in[k][o].
template <class T>
void interleave(std::span<const Tensor> in, int64_t outer, T* to) {
  const auto n = static_cast<int64_t>(in.size());
  parallel_for(outer, std::max<int64_t>(1, 8192 / n), [&](int64_t begin, int64_t end) {
    for (int64_t k = 0; k < n; ++k) {
      const T* const from = in[static_cast<size_t>(k)].data<T>();
      for (int64_t o = begin; o < end; ++o) to[o * n + k] = from[o];
    }
  });
}
// Contiguous inputs: a row of the output holds a run of bytes from each. The output is cut by bytes, wherever a row
// ends.
void join_rows(std::span<const Tensor> in, std::span<const int64_t> runs, int64_t row, const Tensor& out) {
  const int64_t bytes = out.numel() * static_cast<int64_t>(itemsize(out.dtype()));
  const int64_t grain = std::clamp<int64_t>(bytes / 16, 128 << 10, 1 << 20);  // long copies stream better
  parallel_for(bytes, grain, [&](int64_t begin, int64_t end) {
    int64_t o = begin / row, skip = begin % row;
    size_t k = 0;
    for (; skip >= runs[k]; ++k) skip -= runs[k];
    for (int64_t at = begin; at < end;) {
      const int64_t n = std::min(runs[k] - skip, end - at);
      std::memcpy(out.data<char>() + at, in[k].data<char>() + o * runs[k] + skip, static_cast<size_t>(n));
      at += n;
      skip = 0;
      if (++k == runs.size()) k = 0, ++o;
    }
  });
}
void run_cat(const Call& c, std::span<Tensor> out) {
  const int dim = static_cast<int>(c.attrs.integer[0]);
  const Tensor& y = out[0];
  if (y.numel() == 0) return;
  const auto item = static_cast<int64_t>(itemsize(y.dtype()));
  bool plain = true;
  std::vector<int64_t> runs;
  for (const Tensor& t : c.in) {
    plain &= t.contiguous();
    runs.push_back(t.size(dim) * y.strides()[dim] * item);
  }
  if (!plain) {
    int64_t at = 0;
    for (const Tensor& t : c.in) {
      run_copy(y.alias(t.shape(), y.strides(), at * y.strides()[dim]), t);
      at += t.size(dim);
    }
    return;
  }
  const int64_t row = y.size(dim) * y.strides()[dim] * item;
  const bool single = std::all_of(runs.begin(), runs.end(), [&](int64_t run) { return run == item; });
  if (!single)
    join_rows(c.in, runs, row, y);
  else if (item == 4)
    interleave(c.in, y.numel() / y.size(dim), y.data<uint32_t>());
  else if (item == 8)
    interleave(c.in, y.numel() / y.size(dim), y.data<uint64_t>());
  else
    interleave(c.in, y.numel() / y.size(dim), y.data<uint8_t>());
}
void cat_vjp(Backward& b) {
  const int64_t dim = b.attrs().integer[0];
  int64_t at = 0;
  for (int i = 0; i < b.node.inputs; ++i) {
    const int64_t length = b.attrs().list[static_cast<size_t>(i)];
    if (b.needs(i)) b.set(i, ops::slice(b.g, dim, at, length, 1));
    at += length;
  }
}
constexpr Op kCat = {.name = "cat", .infer = infer_cat, .run = run_cat, .vjp = cat_vjp, .flops = no_flops};

// Replaces one -1 by what the element count leaves for it.
Dims infer_size(const Tensor& input, const Dims& shape) {
  Dims out = shape;
  int64_t known = 1;
  int unknown = -1;
  for (int i = 0; i < out.size(); ++i) {
    if (out[i] == -1 && unknown < 0)
      unknown = i;
    else if (out[i] < 0)
      throw std::invalid_argument("reshape: invalid size in shape " + to_string(shape));
    else if (__builtin_mul_overflow(known, out[i], &known))
      known = -1;
  }
  const bool fits = unknown < 0 ? known == input.numel() : known > 0 && input.numel() % known == 0;
  if (!fits) {
    throw std::invalid_argument("reshape: shape " + to_string(shape) + " is not possible for " + describe(input) +
                                " of " + std::to_string(input.numel()) + " elements");
  }
  if (unknown >= 0) out[unknown] = input.numel() / known;
  return out;
}

Tensor as_view(const Tensor& input, const Dims& shape, const Dims& strides) {
  Attrs attrs;
  attrs.dims = shape;
  attrs.dims2 = strides;
  return execute(kReshape, {input}, attrs);
}

}  // namespace

namespace ops {

Tensor reshape(const Tensor& input, const Dims& shape) {
  const Dims size = infer_size(input, shape);
  Dims strides;
  if (view_strides(input.shape(), input.strides(), size, &strides)) return as_view(input, size, strides);
  return as_view(clone(input), size, contiguous_strides(size));
}

Tensor view(const Tensor& input, const Dims& shape) {
  const Dims size = infer_size(input, shape);
  Dims strides;
  if (!view_strides(input.shape(), input.strides(), size, &strides)) {
    throw std::runtime_error("view: " + describe(input) + " with strides " + to_string(input.strides()) +
                             " cannot be seen as " + to_string(size) + " without a copy; use reshape()");
  }
  return as_view(input, size, strides);
}

Tensor permute(const Tensor& input, const Dims& dims) {
  if (dims.size() != input.rank()) {
    throw std::invalid_argument("permute: " + std::to_string(dims.size()) + " dims given for " + describe(input));
  }
  Attrs attrs;
  attrs.dims = dims;
  uint64_t seen = 0;
  for (int64_t& d : attrs.dims) {
    d = normalize_dim("permute", d, input.rank());
    if (seen >> d & 1) throw std::invalid_argument("permute: dim " + std::to_string(d) + " is given twice");
    seen |= uint64_t{1} << d;
  }
  return execute(kPermute, {input}, attrs);
}

Tensor transpose(const Tensor& input, int64_t dim0, int64_t dim1) {
  const int a = normalize_dim("transpose", dim0, input.rank()), b = normalize_dim("transpose", dim1, input.rank());
  Dims dims;
  for (int i = 0; i < input.rank(); ++i) dims.push_back(i == a ? b : i == b ? a : i);
  return permute(input, dims);
}

Tensor t(const Tensor& input) {
  if (input.rank() > 2) throw std::invalid_argument("t: expected at most 2 dimensions, got " + describe(input));
  return input.rank() < 2 ? input : transpose(input, 0, 1);
}

Tensor squeeze(const Tensor& input, const MaybeDims& dim) {
  uint64_t wanted = ~uint64_t{0};
  if (dim) {
    wanted = 0;
    for (int64_t d : *dim) wanted |= uint64_t{1} << normalize_dim("squeeze", d, input.rank());
  }
  Dims shape, strides;
  for (int i = 0; i < input.rank(); ++i) {
    if (input.size(i) == 1 && (wanted >> i & 1)) continue;
    shape.push_back(input.size(i));
    strides.push_back(input.strides()[i]);
  }
  return as_view(input, shape, strides);
}

Tensor unsqueeze(const Tensor& input, int64_t dim) {
  const int d = normalize_dim("unsqueeze", dim, input.rank() + 1);
  Dims shape = input.shape(), strides = input.strides();
  strides.insert(d, d < input.rank() ? strides[d] * shape[d] : 1);
  shape.insert(d, 1);
  return as_view(input, shape, strides);
}

Tensor flatten(const Tensor& input, int64_t start_dim, int64_t end_dim) {
  const int a = normalize_dim("flatten", start_dim, input.rank()), b = normalize_dim("flatten", end_dim, input.rank());
  if (a > b) throw std::invalid_argument("flatten: start_dim must come before end_dim");
  Dims shape;
  for (int i = 0; i < a; ++i) shape.push_back(input.size(i));
  int64_t joined = 1;
  for (int i = a; i <= b && i < input.rank(); ++i) joined *= input.size(i);
  shape.push_back(joined);
  for (int i = b + 1; i < input.rank(); ++i) shape.push_back(input.size(i));
  return reshape(input, shape);
}

Tensor expand(const Tensor& input, const Dims& size) {
  Attrs attrs;
  attrs.dims = size;
  const int lead = size.size() - input.rank();
  for (int i = std::max(lead, 0); i < size.size(); ++i) {
    if (size[i] == -1) attrs.dims[i] = input.size(i - lead);
  }
  if (lead < 0 || !broadcasts_to(input.shape(), attrs.dims)) {
    throw std::invalid_argument("expand: " + describe(input) + " does not broadcast to " + to_string(size));
  }
  checked_numel(attrs.dims);
  return execute(kExpand, {input}, attrs);
}

Tensor slice(const Tensor& input, int64_t dim, int64_t start, int64_t length, int64_t step) {
  Attrs attrs;
  attrs.integer[0] = dim;
  attrs.integer[1] = start;
  attrs.dims = {length, length > 1 ? step : 1};  // a step beyond the end could overflow the stride
  return execute(kSlice, {input}, attrs);
}

Tensor select(const Tensor& input, int64_t dim, int64_t index) {
  if (input.rank() == 0) throw std::out_of_range("select: a 0-d tensor cannot be indexed; use item()");
  const int d = normalize_dim("select", dim, input.rank());
  const int64_t n = input.size(d);
  if (index < -n || index >= n) {
    throw std::out_of_range("index " + std::to_string(index) + " is out of range for dimension " + std::to_string(d) +
                            " of size " + std::to_string(n) + " of a tensor of shape " + to_string(input.shape()));
  }
  Attrs attrs;
  attrs.integer[0] = d;
  attrs.integer[1] = index < 0 ? index + n : index;
  return execute(kSelect, {input}, attrs);
}

Tensor cat(const TensorList& tensors, int64_t dim) {
  if (tensors.empty()) throw std::invalid_argument("cat: expected at least one tensor");
  // tensor([]) is a start to which tensors of any rank may be joined: only its dtype counts.
  const auto is_start = [](const Tensor& t) { return t.rank() == 1 && t.numel() == 0; };
  const auto shaped = std::find_if_not(tensors.begin(), tensors.end(), is_start);
  const Tensor& first = shaped == tensors.end() ? tensors[0] : *shaped;
  Attrs attrs;
  const int d = normalize_dim("cat", dim, first.rank());
  DType dtype = first.dtype();
  for (const Tensor& t : tensors) {
    bool fits = t.rank() == first.rank() && t.rank() > 0;
    for (int i = 0; fits && i < t.rank(); ++i) fits = i == d || t.size(i) == first.size(i);
    if (!fits && !is_start(t)) {
      throw std::invalid_argument("cat: shapes must agree in every dimension but " + std::to_string(d) +
                                  " and have "
                                  "at least one; got " +
                                  to_string(first.shape()) + " and " + to_string(t.shape()));
    }
    dtype = promote(dtype, t.dtype());
  }
  TensorList in;
  attrs.integer[0] = d;
  for (const Tensor& t : tensors) {
    if (is_start(t) && first.rank() != 1) continue;
    in.push_back(cast(t, dtype));
    attrs.list.push_back(t.size(d));
  }
  return execute(kCat, in, attrs);
}

Tensor stack(const TensorList& tensors, int64_t dim) {
  if (tensors.empty()) throw std::invalid_argument("stack: expected at least one tensor");
  TensorList in;
  for (const Tensor& t : tensors) {
    if (!(t.shape() == tensors[0].shape())) {
      throw std::invalid_argument("stack: all shapes must be equal; got " + to_string(tensors[0].shape()) + " and " +
                                  to_string(t.shape()));
    }
    in.push_back(unsqueeze(t, dim));
  }
  return cat(in, normalize_dim("stack", dim, tensors[0].rank() + 1));
}

}  // namespace ops
}  // namespace tg

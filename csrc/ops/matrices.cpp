// Parts of matrices: diagonals, triangles and their indices.
#include <stdexcept>

#include "ops/loop.h"
#include "ops/ops.h"
#include "ops/place.h"
#include "threads/parallel.h"

namespace tg {
namespace {

// diagonal: attrs.integer[0] = offset, attrs.dims = {dim1, dim2}; the diagonal becomes the last dimension
Tensor view_diagonal(const Call& c) {
  const int rows = static_cast<int>(c.attrs.dims[0]), cols = static_cast<int>(c.attrs.dims[1]);
  const int64_t offset = c.attrs.integer[0];
  Dims shape = c.in[0].shape(), strides = c.in[0].strides();
  const int64_t length = std::max<int64_t>(
      0, offset < 0 ? std::min(shape[rows] + offset, shape[cols]) : std::min(shape[rows], shape[cols] - offset));
  const int64_t step = strides[rows] + strides[cols];
  const int64_t start = length == 0 ? 0 : offset < 0 ? -offset * strides[rows] : offset * strides[cols];
  for (int d : {std::max(rows, cols), std::min(rows, cols)}) shape.erase(d), strides.erase(d);
  shape.push_back(length);
  strides.push_back(step);
  return c.in[0].alias(shape, strides, start);
}
// diag_embed: zeros of attrs.dims2 with the input on that diagonal
void infer_embed(const Call& c, OutSpec* out) { *out = {c.attrs.dims2, c.in[0].dtype()}; }
void run_embed(const Call& c, std::span<Tensor> out) { run_place(c, view_diagonal, out[0]); }
void embed_vjp(Backward& b) {
  const Attrs& a = b.attrs();
  b.set(0, ops::diagonal(b.g, a.integer[0], a.dims[0], a.dims[1]));
}
constexpr Op kEmbed = {
    .name = "diag_embed", .infer = infer_embed, .run = run_embed, .vjp = embed_vjp, .flops = no_flops};
void diagonal_vjp(Backward& b) { add_part(b, kEmbed, view_diagonal, b.g, b.attrs()); }
constexpr Op kDiagonal = {"diagonal", nullptr, view_diagonal, nullptr, diagonal_vjp};

Attrs diagonal_attrs(const char* op, int64_t offset, int64_t dim1, int64_t dim2, int rank) {
  if (rank < 2)
    throw std::out_of_range(std::string(op) + ": expected at least two dimensions, got " + std::to_string(rank));
  Attrs attrs;
  attrs.integer[0] = offset;
  attrs.dims = {normalize_dim(op, dim1, rank), normalize_dim(op, dim2, rank)};
  if (attrs.dims[0] == attrs.dims[1]) {
    throw std::invalid_argument(std::string(op) + ": dim1 and dim2 must differ, got " + std::to_string(dim1) + " and " +
                                std::to_string(dim2));
  }
  return attrs;
}

// tril and triu of a contiguous tensor: attrs.integer[0] = diagonal
template <bool upper>
void run_triangle(const Call& c, std::span<Tensor> out) {
  const Tensor& x = c.in[0];
  if (x.numel() == 0) return;
  const auto item = static_cast<int64_t>(itemsize(x.dtype()));
  const int64_t m = x.size(x.rank() - 2), n = x.shape().back();
  const int64_t diagonal = std::clamp(c.attrs.integer[0], -m - 1, n + 1);
  parallel_for(x.numel() / n, std::max<int64_t>(1, 8192 / n), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t cut = std::clamp<int64_t>(row % m + diagonal + (upper ? 0 : 1), 0, n);
      const int64_t from = upper ? cut : 0, to = upper ? n : cut;  // the columns that stay
      char* const y = out[0].data<char>() + row * n * item;
      std::memset(y, 0, static_cast<size_t>(from * item));
      std::memcpy(y + from * item, x.data<char>() + (row * n + from) * item, static_cast<size_t>((to - from) * item));
      std::memset(y + to * item, 0, static_cast<size_t>((n - to) * item));
    }
  });
}
template <bool upper>
Tensor triangle(const Tensor& x, int64_t diagonal);
template <bool upper>
void triangle_vjp(Backward& b) {
  b.set(0, triangle<upper>(b.g, b.attrs().integer[0]));
}
template <bool upper>
constexpr Op kTriangle = {.name = upper ? "triu" : "tril",
                          .infer = infer_like_first,
                          .run = run_triangle<upper>,
                          .vjp = triangle_vjp<upper>,
                          .flops = no_flops};
template <bool upper>
Tensor triangle(const Tensor& x, int64_t diagonal) {
  if (x.rank() < 2) {
    throw std::invalid_argument(std::string(kTriangle<upper>.name) + ": expected at least two dimensions, got " +
                                describe(x));
  }
  Attrs attrs;
  attrs.integer[0] = diagonal;
  return execute(kTriangle<upper>, {ops::contiguous(x)}, attrs);
}

// tril_indices and triu_indices: attrs.dims = {rows, columns}, attrs.dims2 the shape, attrs.integer[0] = offset

// How many elements of a matrix are on or below a diagonal.
int64_t count_below(int64_t rows, int64_t cols, int64_t offset) {
  const int64_t first = std::clamp<int64_t>(-offset, 0, rows);                // row with an element
  const int64_t whole = std::clamp<int64_t>(cols - 1 - offset, first, rows);  // row that is there entirely
  const int64_t sloped = whole - first, shortest = first + offset + 1;
  return sloped * (2 * shortest + sloped - 1) / 2 + (rows - whole) * cols;
}
void infer_indices(const Call& c, OutSpec* out) { *out = {c.attrs.dims2, c.attrs.dtype}; }
template <bool upper>
void run_indices(const Call& c, std::span<Tensor> out) {
  const int64_t rows = c.attrs.dims[0], cols = c.attrs.dims[1], offset = c.attrs.integer[0];
  if (out[0].numel() == 0) return;
  const int64_t first = upper ? 0 : std::clamp<int64_t>(-offset, 0, rows);
  const int64_t last = upper ? std::clamp<int64_t>(cols - offset, 0, rows) : rows;
  dispatch(out[0].dtype(), [&](auto tag) {
    using T = decltype(tag);
    T *row = out[0].data<T>(), *col = row + out[0].size(1);
    for (int64_t i = first; i < last; ++i) {
      const int64_t begin = upper ? std::max<int64_t>(i + offset, 0) : 0;
      const int64_t end = upper ? cols : std::min(i + offset + 1, cols);
      for (int64_t j = begin; j < end; ++j) *row++ = static_cast<T>(i), *col++ = static_cast<T>(j);
    }
  });
}
template <bool upper>
constexpr Op kIndices = {upper ? "triu_indices" : "tril_indices", infer_indices, nullptr, run_indices<upper>, nullptr};
template <bool upper>
Tensor triangle_indices(int64_t rows, int64_t cols, int64_t offset, ops::MaybeDType dtype) {
  const Op& op = kIndices<upper>;
  Attrs attrs;
  attrs.dims = {rows, cols};
  const int64_t all = checked_numel(attrs.dims);
  offset = std::clamp(offset, -rows - 1, cols + 1);
  attrs.integer[0] = offset;
  attrs.dtype = dtype.value_or(DType::Int64);
  if (attrs.dtype != DType::Int64 && attrs.dtype != DType::Int32) {
    throw std::invalid_argument(std::string(op.name) + ": dtype must be int64 or int32, got " + name(attrs.dtype));
  }
  attrs.dims2 = {2, upper ? all - count_below(rows, cols, offset - 1) : count_below(rows, cols, offset)};
  return execute(op, {}, attrs);
}

}  // namespace

namespace ops {

Tensor diagonal(const Tensor& input, int64_t offset, int64_t dim1, int64_t dim2) {
  return execute(kDiagonal, {input}, diagonal_attrs("diagonal", offset, dim1, dim2, input.rank()));
}

Tensor diag_embed(const Tensor& input, int64_t offset, int64_t dim1, int64_t dim2) {
  Attrs attrs = diagonal_attrs("diag_embed", offset, dim1, dim2, input.rank() + 1);
  const int a = static_cast<int>(attrs.dims[0]), b = static_cast<int>(attrs.dims[1]);
  int64_t size;
  if (offset == INT64_MIN || __builtin_add_overflow(input.shape().back(), std::abs(offset), &size)) {
    throw std::invalid_argument("diag_embed: the result has more elements than can be addressed");
  }
  attrs.dims2 = Dims(input.shape().data(), input.rank() - 1);
  attrs.dims2.insert(std::min(a, b), size);
  attrs.dims2.insert(std::max(a, b), size);
  return execute(kEmbed, {input}, attrs);
}

Tensor diag(const Tensor& input, int64_t diagonal_) {
  if (input.rank() != 1 && input.rank() != 2) {
    throw std::invalid_argument("diag: expected a vector or a matrix, got " + describe(input) +
                                "; for batches use diagonal() or diag_embed()");
  }
  return input.rank() == 1 ? diag_embed(input, diagonal_) : clone(diagonal(input, diagonal_));
}

Tensor trace(const Tensor& input) {
  if (input.rank() != 2) throw std::invalid_argument("trace: expected a matrix, got " + describe(input));
  return sum(diagonal(input));
}

Tensor tril(const Tensor& input, int64_t diagonal) { return triangle<false>(input, diagonal); }
Tensor triu(const Tensor& input, int64_t diagonal) { return triangle<true>(input, diagonal); }
Tensor tril_indices(int64_t row, int64_t col, int64_t offset, MaybeDType dtype, Device) {
  return triangle_indices<false>(row, col, offset, dtype);
}
Tensor triu_indices(int64_t row, int64_t col, int64_t offset, MaybeDType dtype, Device) {
  return triangle_indices<true>(row, col, offset, dtype);
}

}  // namespace ops
}  // namespace tg

// What the indexing ops share: index checks, positions, selections, and how to cut columns that are added into.
#pragma once
#include <stdexcept>
#include <string>
#include <type_traits>

#include "ops/ops.h"
#include "threads/parallel.h"

namespace tg {

inline constexpr int64_t kIndexGrain = 16384;  // elements per task

// The position that i names in a dimension; negative ones count from its end.
inline int64_t checked_index(const char* op, int64_t i, int64_t size) {
  if (i < -size || i >= size) {
    throw std::out_of_range(std::string(op) + ": index " + std::to_string(i) +
                            " is out of range for a dimension of size " + std::to_string(size));
  }
  return i < 0 ? i + size : i;
}

[[noreturn]] inline void fail_negative(const char* op, int64_t i) {
  throw std::out_of_range(std::string(op) + ": index " + std::to_string(i) +
                          " is negative; only x[...] counts from the end");
}

// How many columns one of the tasks takes that add into `columns` columns side by side: whole cache lines, or all when
// there is little work. Each element of the result sees its terms in one order however the columns are cut.
inline int64_t column_grain(int64_t columns, int64_t work, size_t item) {
  const int64_t line = 64 / static_cast<int64_t>(item), share = (columns - 1) / num_threads() + 1;
  return work <= kIndexGrain ? columns : (share + line - 1) / line * line;
}

bool all_within(const Tensor& index, int64_t size);  // 0 <= index < size; index contiguous, int64

inline int64_t product(std::span<const int64_t> d) {
  int64_t n = 1;
  for (int64_t size : d) n *= size;
  return n;
}

// One position per index tuple, checked: the sum of index * stride over the indexed dimensions. One index with stride 1
// and no negative entries is its own list of positions.
struct Positions {
  Positions(const char* op, std::span<const Tensor> indices, const Dims& sizes, const Dims& strides);
  int64_t operator[](int64_t i) const { return at[i]; }

  int64_t count;
  const int64_t* at;
  std::vector<int64_t> own;
};
void check_not_negative(const char* op, const Tensor& index);

// Index tensors of one shape, for the dimensions `dims` of the input; a bool mask stands for the positions it marks.
struct Selection {
  std::vector<Tensor> indices;
  std::vector<int64_t> dims;
  bool adjacent = true;
  Dims shape;

  // NumPy's rule: neighbouring indexed dimensions are replaced where they stand, others move to the front.
  int lead() const { return adjacent ? static_cast<int>(dims[0]) : 0; }
};
Selection make_selection(const Tensor& input, const ops::TensorList& given);
// The same for one 1-d (or 0-d) index tensor along one dimension.
Selection select_along(const char* op, int dim, const Tensor& index);
inline bool is_index(const Tensor& t) { return t.dtype() == DType::Int64 || t.dtype() == DType::Int32; }
void check_mask(const Tensor& input, const Tensor& mask, int64_t dim);
bool is_single_mask(const ops::TensorList& indices);
// The input's dimensions with the given ones first.
Dims dims_first(std::span<const int64_t> dims, int rank);

// The op index: selects in x's dimensions from `lead` on. from_start: no index may count from the end.
Tensor index_at(const Tensor& x, std::span<const Tensor> indices, int64_t lead, bool from_start = false);
// Its gradient: zeros of `shape`, g added at the indices.
Tensor index_backward(const Tensor& g, std::span<const Tensor> indices, int64_t lead, const Dims& shape);

// Integers are added and multiplied modulo 2^bits; of bools that is or and and.
template <class T>
using Wrapping = std::conditional_t<std::is_integral_v<T>, uint64_t, T>;

struct Add {  // a value to what is there
  template <class T>
  void operator()(T& y, T v) const {
    y = static_cast<T>(Wrapping<T>(y) + Wrapping<T>(v));
  }
};

inline void check_same_dtype(const char* op, const Tensor& input, const Tensor& source) {
  if (input.dtype() == source.dtype()) return;
  throw std::invalid_argument(std::string(op) + ": the source " + describe(source) + " must have the input's dtype, " +
                              name(input.dtype()) + "; convert it with .to()");
}

// Without the leading dimensions of size 1 that a target of `rank` dimensions does not have, as NumPy assigns.
inline Tensor without_lead(Tensor value, int rank) {
  while (value.rank() > rank && value.size(0) == 1) value = ops::select(value, 0, 0);
  return value;
}

// t, or a copy of it where it shares memory with what is to be written.
inline Tensor apart_from(const Tensor& self, const Tensor& t) {
  return t->storage.get() == self->storage.get() ? ops::clone(t) : t;
}

}  // namespace tg

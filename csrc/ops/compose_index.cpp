// Indexing functions made of others: take, take_along_dim and one_hot.
#include <limits>

#include "ops/index.h"
#include "tape/recorder.h"

namespace tg::ops {
namespace {

Tensor flat(const Tensor& t) { return reshape(t, {t.numel()}); }

}  // namespace

Tensor take(const Tensor& input, const Tensor& index_) {
  if (!is_index(index_)) throw std::invalid_argument("take: index must be an int64 tensor, got " + describe(index_));
  return index(flat(input), {index_});
}

Tensor take_along_dim(const Tensor& input, const Tensor& indices, MaybeDim dim) {
  if (!is_index(indices)) {
    throw std::invalid_argument("take_along_dim: indices must be an int64 tensor, got " + describe(indices));
  }
  if (!dim) return take_along_dim(flat(input), flat(indices), 0);
  const int d = normalize_dim("take_along_dim", *dim, input.rank());
  if (input.rank() != indices.rank()) {
    throw std::invalid_argument("take_along_dim: input " + describe(input) + " and indices " + describe(indices) +
                                " must have the same number of dimensions");
  }
  Dims x = input.shape(), i = indices.shape();
  if (input.rank()) x[d] = i[d] = 1;
  x = i = broadcast_shapes("take_along_dim", x, i);
  if (input.rank()) x[d] = input.size(d), i[d] = indices.size(d);
  const Tensor from_start = where(lt(indices, Tensor::number(int64_t{0})),
                                  add(indices, Tensor::number(input.rank() ? input.size(d) : 1)), indices);
  return gather(expand(input, x), d, expand(from_start, i));
}

Tensor one_hot(const Tensor& tensor, int64_t num_classes) {
  if (tensor.dtype() != DType::Int64) {
    throw std::invalid_argument("one_hot: expected an int64 tensor of classes, got " + describe(tensor));
  }
  if (num_classes < -1) {
    throw std::invalid_argument("one_hot: num_classes must be -1 or positive, got " + std::to_string(num_classes));
  }
  if (num_classes == -1) {
    if (tensor.numel() == 0) {
      throw std::invalid_argument("one_hot: no number of classes can be told from an empty tensor; pass num_classes");
    }
    refuse_reading(tensor, "one_hot() to find the number of classes; pass num_classes");
    num_classes = amax(tensor, {}).item_int64();
    if (num_classes == std::numeric_limits<int64_t>::max()) throw std::invalid_argument("one_hot: too many classes");
    num_classes = std::max<int64_t>(num_classes, 0) + 1;
  }
  Dims shape = tensor.shape();
  shape.push_back(num_classes);
  const Tensor out = zero_(Tensor::empty(shape, DType::Int64));
  return scatter_(out, -1, unsqueeze(tensor, -1), Tensor::number(int64_t{1}));
}

}  // namespace tg::ops

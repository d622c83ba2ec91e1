// Views made of other views: by another tensor's shape, by names of NumPy's, and the ways to cut a dimension into
// parts.
#include <stdexcept>

#include "ops/ops.h"

namespace tg {
namespace {

// normalize_dim for an op that needs the dimension to exist.
int existing_dim(const char* op, int64_t dim, const Tensor& t) {
  if (t.rank() == 0)
    throw std::out_of_range(std::string(op) + ": a 0-d tensor has no dimension " + std::to_string(dim));
  return normalize_dim(op, dim, t.rank());
}

std::string to_string(const ops::IntList& list) {
  std::string s = "[";
  for (int64_t v : list) s += (s.size() > 1 ? ", " : "") + std::to_string(v);
  return s + "]";
}

// The part [begin, end) of a dimension.
Tensor part(const Tensor& t, int dim, int64_t begin, int64_t end) { return ops::slice(t, dim, begin, end - begin, 1); }

// Parts of one size; the last holds what is left.
ops::TensorList equal_parts(const Tensor& t, int dim, int64_t size) {
  const int64_t n = t.size(dim);
  ops::TensorList out;
  int64_t at = 0;
  do {
    const int64_t end = size < n - at ? at + size : n;
    out.push_back(part(t, dim, at, end));
    at = end;
  } while (at < n);
  return out;
}

// Parts beyond the elements of a dimension are empty: a typing error, not a wish, where there are that many.
void check_count(const char* op, int64_t count, int64_t size) {
  if (count <= 0) {
    throw std::invalid_argument(std::string(op) + ": the number of parts must be positive, got " +
                                std::to_string(count));
  }
  if (count > std::max<int64_t>(size, 1 << 20)) {
    throw std::invalid_argument(std::string(op) + ": " + std::to_string(count) + " parts of a dimension of size " +
                                std::to_string(size) + " are too many");
  }
}

// Each of `dims` once, in [0, rank).
Dims distinct_dims(const char* op, const Dims& dims, int rank) {
  Dims out = dims;
  for (int i = 0; i < out.size(); ++i) {
    out[i] = normalize_dim(op, dims[i], rank);
    if (std::find(out.begin(), out.begin() + i, out[i]) != out.begin() + i) {
      throw std::invalid_argument(std::string(op) + ": a dim is given twice in " + tg::to_string(dims));
    }
  }
  return out;
}

}  // namespace

namespace ops {

Tensor view_as(const Tensor& input, const Tensor& other) { return view(input, other.shape()); }
Tensor reshape_as(const Tensor& input, const Tensor& other) { return reshape(input, other.shape()); }
Tensor expand_as(const Tensor& input, const Tensor& other) { return expand(input, other.shape()); }
Tensor broadcast_to(const Tensor& input, const Dims& size) { return expand(input, size); }

TensorList broadcast_tensors(const TensorList& tensors) {
  Dims shape;
  for (const Tensor& t : tensors) shape = broadcast_shapes("broadcast_tensors", shape, t.shape());
  TensorList out;
  for (const Tensor& t : tensors) out.push_back(expand(t, shape));
  return out;
}

Tensor unflatten(const Tensor& input, int64_t dim, const Dims& sizes) {
  const int d = existing_dim("unflatten", dim, input);
  int64_t known = 1;
  int unknown = 0;
  bool valid = !sizes.empty();
  for (int64_t n : sizes) {
    if (n == -1)
      ++unknown;
    else
      valid &= n >= 0 && !__builtin_mul_overflow(known, n, &known);
  }
  const int64_t size = input.size(d);
  valid &= unknown == 0 ? known == size : unknown == 1 && known > 0 && size % known == 0;
  if (!valid) {
    throw std::invalid_argument("unflatten: sizes " + tg::to_string(sizes) + " do not multiply to the " +
                                std::to_string(size) + " of dimension " + std::to_string(d) + " of " + describe(input));
  }
  Dims shape(input.shape().data(), d);
  for (int64_t n : sizes) shape.push_back(n == -1 ? size / known : n);
  for (int i = d + 1; i < input.rank(); ++i) shape.push_back(input.size(i));
  return view(input, shape);
}

Tensor ravel(const Tensor& input) { return reshape(input, {input.numel()}); }

Tensor movedim(const Tensor& input, const Dims& source, const Dims& destination) {
  if (source.size() != destination.size()) {
    throw std::invalid_argument("movedim: source " + tg::to_string(source) + " and destination " +
                                tg::to_string(destination) + " must have as many dims");
  }
  const Dims from = distinct_dims("movedim", source, input.rank());
  const Dims to = distinct_dims("movedim", destination, input.rank());
  if (input.rank() == 0) return view(input, {});
  Dims order = Dims::filled(input.rank(), -1);
  for (int i = 0; i < from.size(); ++i) order[static_cast<int>(to[i])] = from[i];
  int64_t next = 0;
  for (int64_t& d : order) {
    if (d != -1) continue;
    while (std::find(from.begin(), from.end(), next) != from.end()) ++next;
    d = next++;
  }
  return permute(input, order);
}
Tensor swapaxes(const Tensor& input, int64_t axis0, int64_t axis1) { return transpose(input, axis0, axis1); }

Tensor narrow(const Tensor& input, int64_t dim, int64_t start, int64_t length) {
  const int d = existing_dim("narrow", dim, input);
  const int64_t n = input.size(d);
  if (start < -n || start > n) {
    throw std::out_of_range("narrow: start " + std::to_string(start) + " is out of range for dimension " +
                            std::to_string(d) + " of " + describe(input));
  }
  const int64_t begin = start < 0 ? start + n : start;
  if (length < 0 || length > n - begin) {
    throw std::invalid_argument("narrow: " + std::to_string(length) + " slices from " + std::to_string(start) +
                                " on are not in dimension " + std::to_string(d) + " of " + describe(input));
  }
  return part(input, d, begin, begin + length);
}

TensorList split(const Tensor& tensor, const SizeOrSizes& sizes, int64_t dim) {
  if (const auto* list = std::get_if<IntList>(&sizes)) return split_with_sizes(tensor, *list, dim);
  const int d = existing_dim("split", dim, tensor);
  const int64_t size = std::get<int64_t>(sizes);
  if (size < 0 || (size == 0 && tensor.size(d) > 0)) {
    throw std::invalid_argument("split: the size of the parts must be positive, got " + std::to_string(size));
  }
  return equal_parts(tensor, d, size);
}

TensorList split_with_sizes(const Tensor& input, const IntList& sizes, int64_t dim) {
  const int d = existing_dim("split", dim, input);
  int64_t left = input.size(d);
  for (int64_t n : sizes) {
    if (n < 0 || n > left) {
      left = -1;
      break;
    }
    left -= n;
  }
  if (left != 0) {
    throw std::invalid_argument("split: sizes " + to_string(sizes) + " do not add up to the " +
                                std::to_string(input.size(d)) + " of dimension " + std::to_string(d) + " of " +
                                describe(input));
  }
  TensorList out;
  int64_t at = 0;
  for (int64_t n : sizes) {
    out.push_back(part(input, d, at, at + n));
    at += n;
  }
  return out;
}

TensorList chunk(const Tensor& input, int64_t chunks, int64_t dim) {
  const int d = existing_dim("chunk", dim, input);
  const int64_t n = input.size(d);
  check_count("chunk", n == 0 ? chunks : std::min(chunks, n), n);
  if (n == 0) return split_with_sizes(input, IntList(static_cast<size_t>(chunks), 0), d);
  return equal_parts(input, d, (n - 1) / chunks + 1);
}

TensorList tensor_split(const Tensor& input, const SizeOrSizes& indices_or_sections, int64_t dim) {
  const int d = existing_dim("tensor_split", dim, input);
  const int64_t n = input.size(d);
  TensorList out;
  if (const auto* sections = std::get_if<int64_t>(&indices_or_sections)) {
    check_count("tensor_split", *sections, n);
    const int64_t size = n / *sections, longer = n % *sections;
    for (int64_t i = 0, at = 0; i < *sections; ++i) {
      const int64_t end = at + size + (i < longer);
      out.push_back(part(input, d, at, end));
      at = end;
    }
    return out;
  }
  // As slices are written: a negative index counts from the end, and one beyond it means the end.
  const auto within = [n](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + n : i, 0, n); };
  int64_t at = 0;
  for (int64_t i : std::get<IntList>(indices_or_sections)) {
    const int64_t end = within(i);
    out.push_back(part(input, d, at, std::max(at, end)));
    at = end;
  }
  out.push_back(part(input, d, at, n));
  return out;
}

TensorList unbind(const Tensor& input, int64_t dim) {
  const int d = existing_dim("unbind", dim, input);
  TensorList out;
  for (int64_t i = 0; i < input.size(d); ++i) out.push_back(select(input, d, i));
  return out;
}

}  // namespace ops
}  // namespace tg

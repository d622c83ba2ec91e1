// Joining and repeating, made of cat, views and products: hstack and the like, meshgrid, repeat, kron.
#include <stdexcept>

#include "ops/ops.h"
#include "ops/promotion.h"
#include "tape/recorder.h"

namespace tg {
namespace {

// The shape with dimensions of size 1 added until there are `rank`: (1, n) and (m, n, 1), as NumPy has them.
Tensor at_least(const Tensor& t, int rank) {
  if (t.rank() >= rank) return t;
  Dims shape = t.shape();
  if (shape.size() < 1) shape.push_back(1);
  if (shape.size() < 2 && rank >= 2) shape.insert(0, 1);
  if (shape.size() < 3 && rank >= 3) shape.push_back(1);
  return ops::view(t, shape);
}

ops::OneOrMany at_least(const ops::OneOrMany& input, const ops::TensorList& others, int rank) {
  const auto* one = std::get_if<Tensor>(&input);
  if (one && others.empty()) return at_least(*one, rank);
  ops::TensorList all = one ? ops::TensorList{*one} : std::get<ops::TensorList>(input);
  all.insert(all.end(), others.begin(), others.end());
  for (Tensor& t : all) t = at_least(t, rank);
  return all;
}

// cat() of the tensors, each with at least that rank.
Tensor join(const char* op, ops::TensorList tensors, int rank, int64_t dim) {
  if (tensors.empty()) throw std::invalid_argument(std::string(op) + ": expected at least one tensor");
  for (Tensor& t : tensors) t = at_least(t, rank);
  return ops::cat(tensors, dim);
}

int64_t times(const char* op, int64_t a, int64_t b) {
  int64_t n;
  if (__builtin_mul_overflow(a, b, &n)) {
    throw std::invalid_argument(std::string(op) + ": the result has more elements than can be addressed");
  }
  return n;
}

// repeat_index(counts int64): position k, counts[k] times. The shape depends on the values.
void infer_repeat_index(const Call& c, OutSpec* out) {
  const Tensor& counts = c.in[0];
  refuse_reading(counts, "repeat_interleave() with a tensor of repeats, whose result has a size that depends on it");
  int64_t total = 0;
  for (int64_t i = 0; i < counts.numel(); ++i) {
    const int64_t n = counts.data<int64_t>()[i];
    if (n < 0) throw std::invalid_argument("repeat_interleave: repeats must not be negative, got " + std::to_string(n));
    if (__builtin_add_overflow(total, n, &total)) times(c.op.name, INT64_MAX, 2);
  }
  *out = {{total}, DType::Int64};
}
void run_repeat_index(const Call& c, std::span<Tensor> out) {
  int64_t *to = out[0].data<int64_t>(), *const end = to + out[0].numel();
  for (int64_t i = 0; i < c.in[0].numel(); ++i) {  // another thread may write to the counts meanwhile
    const int64_t n = std::clamp<int64_t>(c.in[0].data<int64_t>()[i], 0, end - to);
    std::fill(to, to + n, i);
    to += n;
  }
  std::fill(to, end, 0);
}
constexpr Op kRepeatIndex = {"repeat_interleave", infer_repeat_index, nullptr, run_repeat_index, nullptr};

}  // namespace

namespace ops {

OneOrMany atleast_1d(const OneOrMany& input, const TensorList& others) { return at_least(input, others, 1); }
OneOrMany atleast_2d(const OneOrMany& input, const TensorList& others) { return at_least(input, others, 2); }
OneOrMany atleast_3d(const OneOrMany& input, const TensorList& others) { return at_least(input, others, 3); }

Tensor hstack(const TensorList& tensors) {
  return join("hstack", tensors, 1, !tensors.empty() && tensors[0].rank() > 1 ? 1 : 0);
}
Tensor vstack(const TensorList& tensors) { return join("vstack", tensors, 2, 0); }
Tensor dstack(const TensorList& tensors) { return join("dstack", tensors, 3, 2); }
Tensor column_stack(const TensorList& tensors) {
  TensorList columns = tensors;
  for (Tensor& t : columns) {
    if (t.rank() < 2) t = reshape(t, {t.numel(), 1});
  }
  return join("column_stack", columns, 2, 1);
}

TensorList meshgrid(const TensorList& tensors, const std::string& indexing) {
  if (tensors.empty()) throw std::invalid_argument("meshgrid: expected at least one tensor");
  if (indexing != "ij" && indexing != "xy") {
    throw std::invalid_argument("meshgrid: indexing must be 'ij' or 'xy', got '" + indexing + "'");
  }
  const int n = static_cast<int>(tensors.size());
  const bool swap = indexing == "xy" && n > 1;
  const auto axis = [&](int i) { return swap && i < 2 ? 1 - i : i; };
  Dims shape = Dims::filled(n, 1);
  for (int i = 0; i < n; ++i) {
    const Tensor& t = tensors[static_cast<size_t>(i)];
    if (t.rank() > 1 || t.dtype() != tensors[0].dtype()) {
      throw std::invalid_argument("meshgrid: expected vectors of one dtype, got " + describe(tensors[0]) + " and " +
                                  describe(t));
    }
    shape[axis(i)] = t.numel();
  }
  TensorList out;
  for (int i = 0; i < n; ++i) {
    Dims along = Dims::filled(n, 1);
    along[axis(i)] = shape[axis(i)];
    out.push_back(expand(view(tensors[static_cast<size_t>(i)], along), shape));
  }
  return out;
}

Tensor repeat(const Tensor& input, const Dims& repeats) {
  const int lead = repeats.size() - input.rank();
  if (lead < 0) {
    throw std::invalid_argument("repeat: expected at least " + std::to_string(input.rank()) + " numbers for " +
                                describe(input) + ", got " + to_string(repeats));
  }
  // A dimension of size 1 is expanded; before a larger one comes a new dimension, which is joined with it afterwards.
  Dims from, wide, shape;
  for (int i = 0; i < repeats.size(); ++i) {
    const int64_t n = i < lead ? 1 : input.size(i - lead), count = repeats[i];
    if (count < 0) throw std::invalid_argument("repeat: a negative number of repeats in " + to_string(repeats));
    if (n != 1 && count != 1) {
      from.push_back(1);
      wide.push_back(count);
    }
    from.push_back(n);
    wide.push_back(n == 1 ? count : n);
    shape.push_back(times("repeat", n, count));
  }
  checked_numel(shape);
  return reshape(clone(expand(reshape(input, from), wide)), shape);
}

Tensor tile(const Tensor& input, const Dims& dims) {
  Dims repeats = dims;
  while (repeats.size() < input.rank()) repeats.insert(0, 1);
  return repeat(input, repeats);
}

Tensor repeat_interleave(const Tensor& input, const Tensor& repeats, const MaybeDim& dim, const MaybeDim& output_size) {
  const Tensor& counts = repeats ? repeats : input;
  if (!is_integral(counts.dtype()) || counts.dtype() == DType::Bool || counts.rank() > 1) {
    throw std::invalid_argument(
        "repeat_interleave: repeats must be an int or an integer tensor of one dimension, got " + describe(counts));
  }
  const auto index_of = [&](const Tensor& c) { return execute(kRepeatIndex, {contiguous(to(c, DType::Int64))}); };
  Tensor y;
  int d = 0;
  if (!repeats) {
    if (input.rank() != 1) fail_dtype("repeat_interleave", input, "without repeats must have one dimension");
    y = index_of(input);
  } else {
    const Tensor x = dim ? at_least(input, 1) : reshape(input, {input.numel()});
    d = normalize_dim("repeat_interleave", dim.value_or(0), x.rank());
    const int64_t n = x.size(d);
    if (repeats->wrapped_number) {
      const int64_t count = repeats.item_int64();
      if (count < 0)
        throw std::invalid_argument("repeat_interleave: repeats must not be negative, got " + std::to_string(count));
      Dims wide = x.shape(), shape = x.shape();
      wide.insert(d + 1, count);
      shape[d] = times("repeat_interleave", n, count);
      y = reshape(clone(expand(unsqueeze(x, d + 1), wide)), shape);
    } else {
      if (repeats.numel() != 1 && repeats.numel() != n) {
        throw std::invalid_argument("repeat_interleave: " + describe(repeats) + " repeats for the " +
                                    std::to_string(n) + " slices of dimension " + std::to_string(d) + " of " +
                                    describe(input));
      }
      y = index_select(x, d, index_of(expand(reshape(repeats, {repeats.numel()}), {n})));
    }
  }
  if (output_size && *output_size != y.size(d)) {
    throw std::invalid_argument("repeat_interleave: the result has " + std::to_string(y.size(d)) +
                                " slices, not output_size=" + std::to_string(*output_size));
  }
  return y;
}

Tensor kron(const Tensor& input, const Tensor& other) {
  Dims a, b, shape;
  const int rank = std::max(input.rank(), other.rank());
  for (int i = rank; i >= 1; --i) {
    const int64_t m = i > input.rank() ? 1 : input.size(input.rank() - i);
    const int64_t n = i > other.rank() ? 1 : other.size(other.rank() - i);
    a.push_back(m), a.push_back(1);
    b.push_back(1), b.push_back(n);
    shape.push_back(times("kron", m, n));
  }
  return reshape(mul(reshape(input, a), reshape(other, b)), shape);
}

}  // namespace ops
}  // namespace tg

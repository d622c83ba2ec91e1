// Copies in another order: flip, roll, rot90.
#include <stdexcept>

#include "ops/loop.h"
#include "ops/ops.h"

namespace tg {
namespace {

// flip: attrs.dims
void run_flip(const Call& c, std::span<Tensor> out) {
  const Tensor& x = c.in[0];
  if (x.numel() == 0) return;
  Dims strides = x.strides();
  int64_t offset = 0;
  for (int64_t dim : c.attrs.dims) {
    const int d = static_cast<int>(dim);
    offset += (x.size(d) - 1) * strides[d];
    strides[d] = -strides[d];
  }
  run_copy(out[0], x.alias(x.shape(), strides, offset));
}
void flip_vjp(Backward& b) { b.set(0, ops::flip(b.g, b.attrs().dims)); }
constexpr Op kFlip = {.name = "flip", .infer = infer_like_first, .run = run_flip, .vjp = flip_vjp, .flops = no_flops};

// roll: attrs.integer = {dim, shift in [0, size)}
Tensor part(const Tensor& t, int dim, int64_t begin, int64_t end) {
  Dims shape = t.shape();
  shape[dim] = end - begin;
  return t.alias(shape, t.strides(), begin * t.strides()[dim]);
}
void run_roll(const Call& c, std::span<Tensor> out) {
  const Tensor &x = c.in[0], &y = out[0];
  if (x.numel() == 0) return;
  const int dim = static_cast<int>(c.attrs.integer[0]);
  const int64_t n = x.size(dim), shift = c.attrs.integer[1];
  if (shift) run_copy(part(y, dim, 0, shift), part(x, dim, n - shift, n));
  run_copy(part(y, dim, shift, n), part(x, dim, 0, n - shift));
}
void roll_vjp(Backward& b) { b.set(0, ops::roll(b.g, {-b.attrs().integer[1]}, Dims{b.attrs().integer[0]})); }
constexpr Op kRoll = {.name = "roll", .infer = infer_like_first, .run = run_roll, .vjp = roll_vjp, .flops = no_flops};

void check_rank(const char* op, const Tensor& t, int rank) {
  if (t.rank() < rank) {
    throw std::invalid_argument(std::string(op) + ": expected at least " + std::to_string(rank) + " dimensions, got " +
                                describe(t));
  }
}

}  // namespace

namespace ops {

Tensor flip(const Tensor& input, const Dims& dims) {
  Attrs attrs;
  uint64_t seen = 0;
  for (int64_t dim : dims) {
    const int d = normalize_dim("flip", dim, input.rank());
    if (seen >> d & 1) throw std::invalid_argument("flip: dim " + std::to_string(d) + " is given twice");
    seen |= uint64_t{1} << d;
    if (input.rank()) attrs.dims.push_back(d);
  }
  return execute(kFlip, {input}, attrs);
}
Tensor fliplr(const Tensor& input) { return check_rank("fliplr", input, 2), flip(input, {1}); }
Tensor flipud(const Tensor& input) { return check_rank("flipud", input, 1), flip(input, {0}); }

Tensor rot90(const Tensor& input, int64_t k, const Dims& dims) {
  check_rank("rot90", input, 2);
  if (dims.size() != 2) throw std::invalid_argument("rot90: expected two dims, got " + to_string(dims));
  const int a = normalize_dim("rot90", dims[0], input.rank()), b = normalize_dim("rot90", dims[1], input.rank());
  if (a == b) throw std::invalid_argument("rot90: the two dims " + to_string(dims) + " must differ");
  switch (k & 3) {
    case 1: return transpose(flip(input, {b}), a, b);
    case 2: return flip(input, {a, b});
    case 3: return transpose(flip(input, {a}), a, b);
    default: return clone(input);
  }
}

Tensor roll(const Tensor& input, const Dims& shifts, const MaybeDims& dims) {
  if (!dims || dims->empty()) {
    if (shifts.size() != 1) { throw std::invalid_argument("roll: shifts " + to_string(shifts) + " need as many dims"); }
    return reshape(roll(reshape(input, {input.numel()}), shifts, Dims{0}), input.shape());
  }
  if (shifts.size() != dims->size()) {
    throw std::invalid_argument("roll: shifts " + to_string(shifts) + " and dims " + to_string(*dims) +
                                " must be as many");
  }
  check_rank("roll", input, 1);
  Tensor y = input;
  for (int i = 0; i < shifts.size(); ++i) {
    Attrs attrs;
    const int d = normalize_dim("roll", (*dims)[i], input.rank());
    const int64_t n = std::max<int64_t>(input.size(d), 1), shift = shifts[i] % n;
    attrs.integer[0] = d;
    attrs.integer[1] = shift < 0 ? shift + n : shift;
    y = execute(kRoll, {y}, attrs);
  }
  return y;
}

}  // namespace ops
}  // namespace tg

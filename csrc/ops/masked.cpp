// Ops that a bool mask steers: masked_fill, masked_select and masked_scatter.
#include "ops/index.h"
#include "ops/loop.h"
#include "ops/promotion.h"

namespace tg {
namespace {

// masked_fill_(self, mask, value): the one value where the mask is true
Elementwise masked_fill_kernel(const Call& c) {
  return {kernels().where[static_cast<int>(c.in[0].dtype())], 3, {&c.in[1], &c.in[2], &c.in[0]}};
}
void masked_fill_vjp(Backward& b) {
  const Tensor mask = b.input(1), zero = Tensor::number(0.0);
  if (b.needs(0)) b.set(0, ops::where(mask, zero, b.g));
  if (b.needs(2)) b.set(2, ops::where(mask, b.g, zero));
}
constexpr Op kMaskedFill = [] {
  Op op = elementwise_op<masked_fill_kernel>("masked_fill_", nullptr, masked_fill_vjp, kSaveB, 0, kSaveB);
  op.in_place = true;
  return op;
}();

void check_bool(const char* op, const Tensor& mask) {
  if (mask.dtype() != DType::Bool) fail_dtype(op, mask, "given as mask; expected bool");
}
void check_fill(const char* op, const Tensor& mask, const Tensor& value) {
  check_bool(op, mask);
  if (value.rank()) {
    throw std::invalid_argument(std::string(op) + ": value must be a number or 0-d tensor, got " + describe(value));
  }
}
void check_fits(const char* op, const Tensor& self, const Tensor& mask) {
  if (broadcasts_to(mask.shape(), self.shape())) return;
  throw std::invalid_argument(std::string(op) + ": a mask of shape " + to_string(mask.shape()) +
                              " does not broadcast to the tensor's, " + to_string(self.shape()));
}
Tensor broadcast(const char* op, const Tensor& input, const Tensor& mask) {
  return ops::expand(input, broadcast_shapes(op, input.shape(), mask.shape()));
}

}  // namespace

namespace ops {

Tensor masked_fill(const Tensor& input, const Tensor& mask, const Tensor& value) {
  check_fill("masked_fill", mask, value);
  broadcast_shapes("masked_fill", input.shape(), mask.shape());
  return where(mask, cast(value, input.dtype()), input);
}

Tensor masked_fill_(Tensor self, const Tensor& mask, const Tensor& value) {
  check_fill("masked_fill_", mask, value);
  check_fits("masked_fill_", self, mask);
  execute_in_place(kMaskedFill, {self, apart_from(self, mask), apart_from(self, cast(value, self.dtype()))});
  return self;
}

Tensor masked_select(const Tensor& input, const Tensor& mask) {
  check_bool("masked_select", mask);
  const Tensor x = broadcast("masked_select", input, mask);
  return index(reshape(x, {x.numel()}), {reshape(expand(mask, x.shape()), {x.numel()})});
}

Tensor masked_scatter_(Tensor self, const Tensor& mask, const Tensor& source) {
  check_bool("masked_scatter_", mask);
  check_same_dtype("masked_scatter_", self, source);
  check_fits("masked_scatter_", self, mask);
  const Tensor whole = expand(mask, self.shape());
  const int64_t count = argwhere(whole).size(0);
  if (source.numel() < count) {
    throw std::invalid_argument("masked_scatter_: the mask has " + std::to_string(count) +
                                " true elements, the source only " + std::to_string(source.numel()));
  }
  const Tensor values = slice(reshape(source, {source.numel()}), 0, 0, count, 1);
  if (self.rank()) return index_put_(self, {whole}, values);
  return count ? copy_(self, reshape(values, {})) : self;
}

Tensor masked_scatter(const Tensor& input, const Tensor& mask, const Tensor& source) {
  const Tensor x = broadcast("masked_scatter", input, mask);
  if (x.rank()) return masked_scatter_(clone(x), mask, source);
  return reshape(masked_scatter(reshape(x, {1}), reshape(mask, {1}), source), {});
}

}  // namespace ops
}  // namespace tg

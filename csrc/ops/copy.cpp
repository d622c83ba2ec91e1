// where, casts, copies and fills.
#include "ops/loop.h"
#include "ops/ops.h"
#include "ops/promotion.h"

namespace tg {
namespace {

// where(condition, a, b)
void infer_where(const Call& c, OutSpec* out) {
  const Dims values = broadcast_shapes(c.op.name, c.in[1].shape(), c.in[2].shape());
  *out = {broadcast_shapes(c.op.name, c.in[0].shape(), values), c.in[1].dtype()};
}
Elementwise where_kernel(const Call& c) {
  return {kernels().where[static_cast<int>(c.in[1].dtype())], 3, {&c.in[0], &c.in[1], &c.in[2]}};
}
void where_vjp(Backward& b) {
  const Tensor zero = Tensor::number(0.0), condition = b.input(0);
  if (b.needs(1)) b.set(1, ops::where(condition, b.g, zero));
  if (b.needs(2)) b.set(2, ops::where(condition, zero, b.g));
}
constexpr Op kWhere = elementwise_op<where_kernel>("where", infer_where, where_vjp, 0, kSaveA, kSaveA);

// Copies and casts pack strided elements in a loop of their own; among other elementwise ops they are this.
Elementwise copy_kernel(const Tensor& src, DType to) {
  return {kernels().cast[static_cast<int>(src.dtype())][static_cast<int>(to)], 1, {&src}};
}

// to(input, dtype): attrs.dtype
void infer_cast(const Call& c, OutSpec* out) { *out = {c.in[0].shape(), c.attrs.dtype}; }
void run_cast(const Call& c, std::span<Tensor> out) { run_copy(out[0], c.in[0]); }
void cast_vjp(Backward& b) { b.set(0, ops::to(b.g, b.input_dtype(0))); }
Elementwise cast_kernel(const Call& c) { return copy_kernel(c.in[0], c.attrs.dtype); }
constexpr Op kCast = {
    .name = "to", .infer = infer_cast, .run = run_cast, .vjp = cast_vjp, .flops = no_flops, .elementwise = cast_kernel};

// clone(input)
void pass_vjp(Backward& b) { b.set(0, b.g); }
Elementwise clone_kernel(const Call& c) { return copy_kernel(c.in[0], c.in[0].dtype()); }
constexpr Op kClone = {.name = "clone",
                       .infer = infer_like_first,
                       .run = run_cast,
                       .vjp = pass_vjp,
                       .flops = no_flops,
                       .elementwise = clone_kernel};

// copy_(self, src): self has no part in its own gradient any more
void check_copy(const Call& c) {
  if (!broadcasts_to(c.in[1].shape(), c.in[0].shape())) {
    throw std::invalid_argument("copy_: a source of shape " + to_string(c.in[1].shape()) +
                                " does not broadcast to the target's " + to_string(c.in[0].shape()));
  }
}
void run_copy_in_place(const Call& c, std::span<Tensor> out) { run_copy(out[0], c.in[1]); }
void copy_vjp(Backward& b) {
  if (!b.needs(1)) return;
  b.set(1, ops::to(b.g, b.input_dtype(1)));
}
Elementwise copy_in_place_kernel(const Call& c) { return copy_kernel(c.in[1], c.in[0].dtype()); }
double copy_bytes(const Call& c, std::span<const Tensor> out) { return bytes_of(c.in[1]) + bytes_of(out[0]); }
constexpr Op kCopyInPlace = {.name = "copy_",
                             .run = run_copy_in_place,
                             .vjp = copy_vjp,
                             .overwrites = true,
                             .flops = no_flops,
                             .bytes = copy_bytes,
                             .elementwise = copy_in_place_kernel};

}  // namespace

namespace ops {

Tensor where(const Tensor& condition, const Tensor& input, const Tensor& other) {
  if (condition.dtype() != DType::Bool) fail_dtype("where", condition, "given as condition; expected bool");
  const DType dtype = compute_dtype("where", Domain::ALL, input, other);
  return execute(kWhere, {condition, cast(input, dtype), cast(other, dtype)});
}

Tensor to(const Tensor& input, DType dtype) {
  if (input.dtype() == dtype) return input;
  Attrs attrs;
  attrs.dtype = dtype;
  return execute(kCast, {input}, attrs);
}

Tensor clone(const Tensor& input) { return execute(kClone, {input}); }
Tensor contiguous(const Tensor& input) { return input.contiguous() ? input : clone(input); }

Tensor copy_(Tensor self, const Tensor& src) {
  check_copy({kCopyInPlace, std::initializer_list<Tensor>{self, src}, no_attrs()});
  const bool overlaps = self->storage.get() == src->storage.get();
  execute_in_place(kCopyInPlace, {self, overlaps ? clone(src) : src});
  return self;
}

Tensor fill_(Tensor self, const Tensor& value) {
  if (value.numel() != 1) {
    throw std::invalid_argument("fill_: expected a single value, got a tensor of shape " + to_string(value.shape()));
  }
  return copy_(self, cast(value, self.dtype()));
}

Tensor zero_(Tensor self) { return copy_(self, Tensor::scalar(int64_t{0}, self.dtype())); }

}  // namespace ops

namespace tape_ops {
Tensor add(const Tensor& a, const Tensor& b) { return ops::add(a, b); }
void add_in_place(Tensor& a, const Tensor& b) { ops::add_(a, b); }
Tensor sum_to(const Tensor& t, const Dims& shape) { return ops::sum_to(t, shape); }
Tensor copy(const Tensor& t) { return ops::clone(t); }
}  // namespace tape_ops

}  // namespace tg

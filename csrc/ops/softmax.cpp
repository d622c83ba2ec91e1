// softmax and log_softmax over the last dimension of contiguous rows; other dimensions are brought there first.
#include "kernels/kernel_table.h"
#include "ops/ops.h"
#include "ops/promotion.h"
#include "ops/rows.h"

namespace tg {
namespace {

using Forward = void (*)(int64_t, int64_t, const void*, void*);
using Gradient = void (*)(int64_t, int64_t, const void*, const void*, void*);

template <Forward (SoftmaxKernels::*Kernel)[kFloatCount]>
void run_forward(const Call& c, std::span<Tensor> out) {
  const Forward kernel = (kernels().softmax.*Kernel)[float_index(c.in[0])];
  for_rows(c.in[0], [&](int64_t b, int64_t e, int64_t n, int64_t offset) {
    kernel(e - b, n, c.in[0].data<char>() + offset, out[0].data<char>() + offset);
  });
}

template <Gradient (SoftmaxKernels::*Kernel)[kFloatCount]>
void run_gradient(const Call& c, std::span<Tensor> out) {
  const Gradient kernel = (kernels().softmax.*Kernel)[float_index(c.in[0])];
  for_rows(c.in[0], [&](int64_t b, int64_t e, int64_t n, int64_t offset) {
    kernel(e - b, n, c.in[0].data<char>() + offset, c.in[1].data<char>() + offset, out[0].data<char>() + offset);
  });
}

constexpr Op kSoftmaxBackward = {"softmax_backward", infer_like_first, nullptr,
                                 run_gradient<&SoftmaxKernels::softmax_backward>, nullptr};
void softmax_vjp(Backward& b) {
  const Tensor y = b.output();
  if (!grad_enabled()) return b.set(0, execute(kSoftmaxBackward, {ops::contiguous(b.g), y}));
  b.set(0, ops::mul(y, ops::sub(b.g, ops::sum(ops::mul(b.g, y), Dims{-1}, true))));
}
constexpr Op kSoftmax = {"softmax",   infer_like_first, nullptr, run_forward<&SoftmaxKernels::softmax>,
                         softmax_vjp, {kSaveOutput}};

constexpr Op kLogSoftmaxBackward = {"log_softmax_backward", infer_like_first, nullptr,
                                    run_gradient<&SoftmaxKernels::log_softmax_backward>, nullptr};
void log_softmax_vjp(Backward& b) {
  const Tensor y = b.output();
  if (!grad_enabled()) return b.set(0, execute(kLogSoftmaxBackward, {ops::contiguous(b.g), y}));
  b.set(0, ops::sub(b.g, ops::mul(ops::exp(y), ops::sum(b.g, Dims{-1}, true))));
}
constexpr Op kLogSoftmax = {"log_softmax",   infer_like_first, nullptr, run_forward<&SoftmaxKernels::log_softmax>,
                            log_softmax_vjp, {kSaveOutput}};

Tensor over_dim(const Op& op, const Tensor& input, ops::MaybeDim dim, ops::MaybeDType dtype) {
  if (!dim) {
    throw std::invalid_argument(std::string(op.name) + ": dim is required (the dimension that sums to 1), e.g. dim=-1");
  }
  const Tensor x = dtype ? ops::to(input, *dtype) : input;
  if (!is_float(x.dtype())) fail_dtype(op.name, x, "has no float dtype; pass dtype= or convert with .float()");
  const int d = normalize_dim(op.name, *dim, x.rank());
  if (d >= x.rank() - 1) return execute(op, {ops::contiguous(x)});
  return ops::transpose(execute(op, {ops::contiguous(ops::transpose(x, d, -1))}), d, -1);
}

}  // namespace

namespace ops {

Tensor softmax(const Tensor& input, MaybeDim dim, MaybeDType dtype) { return over_dim(kSoftmax, input, dim, dtype); }
Tensor log_softmax(const Tensor& input, MaybeDim dim, MaybeDType dtype) {
  return over_dim(kLogSoftmax, input, dim, dtype);
}

}  // namespace ops
}  // namespace tg

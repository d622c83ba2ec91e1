// Losses: cross_entropy (fused softmax, logarithm and selection) and mse_loss. Neither broadcasts silently.
#include <stdexcept>

#include "kernels/kernel_table.h"
#include "ops/ops.h"
#include "ops/promotion.h"
#include "ops/rows.h"

namespace tg {
namespace {

enum Reduction : int64_t { kNone, kMean, kSum };

Reduction parse_reduction(const char* op, const std::string& s) {
  if (s == "mean") return kMean;
  if (s == "sum") return kSum;
  if (s == "none") return kNone;
  throw std::invalid_argument(std::string(op) + ": reduction must be 'mean', 'sum' or 'none', got '" + s + "'");
}

// cross_entropy(x (N, C) contiguous, target (N,) int64): attrs.integer[0] the reduction.
// Outputs: the loss, and the (max, log-sum) of each row, kept for the gradient.
void infer_cross_entropy(const Call& c, OutSpec* out) {
  out[0] = {c.attrs.integer[0] == kNone ? Dims{c.in[0].size(0)} : Dims{}, c.in[0].dtype()};
  out[1] = {Dims{c.in[0].size(0), 2}, c.in[0].dtype()};
}

template <class T>
void reduce_losses(const T* losses, int64_t n, bool mean, T* out) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += losses[i];
  *out = static_cast<T>(mean ? total / static_cast<double>(n) : total);
}

// What a kernel reads through must be in range, at every run.
void check_labels(const Tensor& target, int64_t classes) {
  const int64_t* t = target.data<int64_t>();
  int64_t low = 0, high = 0;
  for (int64_t i = 0; i < target.numel(); ++i) {
    low = std::min(low, t[i]);
    high = std::max(high, t[i]);
  }
  if (low < 0 || high >= classes) {
    throw std::out_of_range("cross_entropy: label " + std::to_string(low < 0 ? low : high) + " is out of range for " +
                            std::to_string(classes) + " classes (labels are 0 to " + std::to_string(classes - 1) + ")");
  }
}

void run_cross_entropy(const Call& c, std::span<Tensor> out) {
  const Tensor& x = c.in[0];
  const int64_t rows = x.size(0), item = static_cast<int64_t>(itemsize(x.dtype()));
  const bool reduces = c.attrs.integer[0] != kNone;
  check_labels(c.in[1], x.size(1));
  const Tensor losses = reduces ? Tensor::empty({rows}, x.dtype()) : Tensor();
  char* loss = reduces ? losses.data<char>() : out[0].data<char>();
  for_rows(x, [&](int64_t b, int64_t e, int64_t n, int64_t offset) {
    kernels().softmax.cross_entropy[float_index(x)](e - b, n, x.data<char>() + offset, c.in[1].data<int64_t>() + b,
                                                    loss + b * item, out[1].data<char>() + 2 * b * item);
  });
  if (!reduces) return;
  const bool mean = c.attrs.integer[0] == kMean;
  if (x.dtype() == DType::Float32)
    reduce_losses(losses.data<float>(), rows, mean, out[0].data<float>());
  else
    reduce_losses(losses.data<double>(), rows, mean, out[0].data<double>());
}

// cross_entropy_backward(x, target, stats, scale): scale holds one value, or one per row
void run_cross_entropy_backward(const Call& c, std::span<Tensor> out) {
  const Tensor &x = c.in[0], &scale = c.in[3];
  const int64_t item = static_cast<int64_t>(itemsize(x.dtype())), step = scale.rank() ? 1 : 0;
  for_rows(x, [&](int64_t b, int64_t e, int64_t n, int64_t offset) {
    kernels().softmax.cross_entropy_backward[float_index(x)](
        e - b, n, x.data<char>() + offset, c.in[1].data<int64_t>() + b, c.in[2].data<char>() + 2 * b * item,
        scale.data<char>() + b * step * item, step, out[0].data<char>() + offset);
  });
}
constexpr Op kCrossEntropyBackward = {"cross_entropy_backward", infer_like_first, nullptr, run_cross_entropy_backward,
                                      nullptr};

void cross_entropy_vjp(Backward& b) {
  const Tensor x = b.input(0), target = b.input(1);
  Tensor scale = b.g;
  if (b.attrs().integer[0] == kMean) scale = ops::div(scale, Tensor::number(static_cast<double>(x.size(0))));
  if (!grad_enabled()) {
    return b.set(0, execute(kCrossEntropyBackward, {x, target, b.second_output(), ops::contiguous(scale)}));
  }
  Tensor classes = Tensor::empty({1, x.size(1)}, DType::Int64);
  for (int64_t i = 0; i < x.size(1); ++i) classes.data<int64_t>()[i] = i;
  const Tensor hit = ops::to(ops::eq(ops::unsqueeze(target, 1), classes), x.dtype());
  if (scale.rank()) scale = ops::unsqueeze(scale, 1);
  b.set(0, ops::mul(ops::sub(ops::softmax(x, 1), hit), scale));
}
constexpr Op kCrossEntropy = {.name = "cross_entropy",
                              .infer = infer_cross_entropy,
                              .run = run_cross_entropy,
                              .vjp = cross_entropy_vjp,
                              .saves = {kSaveA | kSaveB | kSaveSecond},
                              .outputs = 2,
                              .may_stop = true};

Tensor reduce_all(const Tensor& losses, Reduction r) {
  return r == kNone ? losses : r == kMean ? ops::mean(losses) : ops::sum(losses);
}

// Targets that are class probabilities, of the input's shape.
Tensor soft_cross_entropy(const Tensor& x, const Tensor& target, Reduction reduction) {
  const int64_t dim = x.rank() == 1 ? 0 : 1;
  const Tensor each = ops::neg(ops::sum(ops::mul(target, ops::log_softmax(x, dim)), Dims{dim}));
  return reduce_all(each, reduction);
}

}  // namespace

namespace ops {

Tensor cross_entropy(const Tensor& input, const Tensor& target, const std::string& reduction) {
  const Reduction r = parse_reduction("cross_entropy", reduction);
  if (!is_float(input.dtype())) fail_dtype("cross_entropy", input, "given as input; expected float logits");
  if (input.rank() == 0) fail_dtype("cross_entropy", input, "given as input; expected (C,), (N, C) or (N, C, d1, ...)");
  if (is_float(target.dtype()) && target.shape() == input.shape()) return soft_cross_entropy(input, target, r);
  Dims expected = input.shape();
  expected.erase(input.rank() == 1 ? 0 : 1);
  if (is_float(target.dtype()) || target.dtype() == DType::Bool || !(target.shape() == expected)) {
    throw std::invalid_argument("cross_entropy: input " + describe(input) + " needs integer class labels of shape " +
                                to_string(expected) + " (or probabilities of the input's shape); got target " +
                                describe(target));
  }
  const int64_t classes = input.size(input.rank() == 1 ? 0 : 1);
  Tensor x = input.rank() == 1 ? unsqueeze(input, 0) : input;
  if (x.rank() > 2) {  // (N, C, d...) -> (N, d..., C)
    Dims order;
    for (int i = 0; i < x.rank(); ++i) order.push_back(i == 0 ? 0 : i < x.rank() - 1 ? i + 1 : 1);
    x = permute(x, order);
  }
  x = contiguous(reshape(x, {target.numel(), classes}));
  const Tensor labels = contiguous(reshape(to(target, DType::Int64), {target.numel()}));
  Attrs attrs;
  attrs.integer[0] = r;
  Tensor out[2];
  execute(kCrossEntropy, std::initializer_list<Tensor>{x, labels}, attrs, out);
  return r == kNone ? reshape(out[0], expected) : out[0];
}

Tensor mse_loss(const Tensor& input, const Tensor& target, const std::string& reduction) {
  const Reduction r = parse_reduction("mse_loss", reduction);
  if (!(input.shape() == target.shape())) {
    throw std::invalid_argument("mse_loss: input " + to_string(input.shape()) + " and target " +
                                to_string(target.shape()) +
                                " differ in shape; broadcasting them would compare every "
                                "element with every other: reshape one of them");
  }
  const DType dtype = compute_dtype("mse_loss", Domain::FLOAT, input, target);
  return reduce_all(square(sub(cast(input, dtype), cast(target, dtype))), r);
}

}  // namespace ops
}  // namespace tg

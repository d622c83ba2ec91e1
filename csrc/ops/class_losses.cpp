// Losses of class labels: cross_entropy (plain: fused softmax, logarithm and selection; else composed), nll_loss and
// multi_margin_loss.
#include <cstring>
#include <stdexcept>

#include "kernels/kernel_table.h"
#include "ops/losses.h"
#include "ops/promotion.h"
#include "ops/rows.h"

namespace tg {
namespace {

constexpr auto kNone = static_cast<int64_t>(Reduction::None), kMean = static_cast<int64_t>(Reduction::Mean);

// cross_entropy(x (N, C) contiguous, target (N,) int64): attrs.integer = {the reduction, the label that is ignored}.
// Outputs: the loss, and the (max, log-sum) of each row, kept for the gradient.
void infer_cross_entropy(const Call& c, OutSpec* out) {
  out[0] = {c.attrs.integer[0] == kNone ? Dims{c.in[0].size(0)} : Dims{}, c.in[0].dtype()};
  out[1] = {Dims{c.in[0].size(0), 2}, c.in[0].dtype()};
}

template <class T>
void reduce_losses(const T* losses, int64_t n, double divisor, T* out) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += losses[i];
  *out = static_cast<T>(total / divisor);
}

// How many labels are ignored. What a kernel reads through must be in range, at every run.
int64_t check_labels(const char* op, const Tensor& target, int64_t classes, int64_t ignored) {
  const int64_t *t = target.data<int64_t>(), n = target.numel();
  bool outside = false;
  for (int64_t i = 0; i < n; ++i) outside |= static_cast<uint64_t>(t[i]) >= static_cast<uint64_t>(classes);
  if (!outside && (ignored < 0 || ignored >= classes)) return 0;
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) {
    count += t[i] == ignored;
    if (t[i] == ignored || (t[i] >= 0 && t[i] < classes)) continue;
    throw std::out_of_range(std::string(op) + ": label " + std::to_string(t[i]) + " is out of range for " +
                            std::to_string(classes) + " classes (labels are 0 to " + std::to_string(classes - 1) + ")");
  }
  return count;
}

// body(begin, end, whether they count) for each stretch of rows whose labels are all ignored, or none.
template <class F>
void for_stretches(const int64_t* target, bool all, int64_t begin, int64_t end, int64_t ignored, F&& body) {
  if (all) return body(begin, end, true);
  while (begin < end) {
    const bool counts = target[begin] != ignored;
    int64_t stop = begin + 1;
    while (stop < end && (target[stop] != ignored) == counts) ++stop;
    body(begin, stop, counts);
    begin = stop;
  }
}

void run_cross_entropy(const Call& c, std::span<Tensor> out) {
  const Tensor &x = c.in[0], &target = c.in[1];
  const int64_t rows = x.size(0), item = static_cast<int64_t>(itemsize(x.dtype())), ignored = c.attrs.integer[1];
  const bool reduces = c.attrs.integer[0] != kNone;
  const int64_t missing = check_labels("cross_entropy", target, x.size(1), ignored);
  const Tensor losses = reduces ? Tensor::empty({rows}, x.dtype()) : Tensor();
  char* loss = reduces ? losses.data<char>() : out[0].data<char>();
  for_rows(x, [&](int64_t begin, int64_t end, int64_t n, int64_t) {
    for_stretches(target.data<int64_t>(), missing == 0, begin, end, ignored, [&](int64_t b, int64_t e, bool counts) {
      if (!counts) {
        std::memset(loss + b * item, 0, static_cast<size_t>((e - b) * item));
        std::memset(out[1].data<char>() + 2 * b * item, 0, static_cast<size_t>(2 * (e - b) * item));
        return;
      }
      kernels().softmax.cross_entropy[float_index(x)](e - b, n, x.data<char>() + b * n * item,
                                                      target.data<int64_t>() + b, loss + b * item,
                                                      out[1].data<char>() + 2 * b * item);
    });
  });
  if (!reduces) return;
  const bool mean = c.attrs.integer[0] == kMean;
  const double divisor = mean ? static_cast<double>(rows - missing) : 1.0;
  if (x.dtype() == DType::Float32)
    reduce_losses(losses.data<float>(), rows, divisor, out[0].data<float>());
  else
    reduce_losses(losses.data<double>(), rows, divisor, out[0].data<double>());
}

// cross_entropy_backward(x, target, stats, scale): attrs as above; scale holds one value, or one per row, for a mean
// over all rows.
void run_cross_entropy_backward(const Call& c, std::span<Tensor> out) {
  const Tensor &x = c.in[0], &target = c.in[1];
  const int64_t item = static_cast<int64_t>(itemsize(x.dtype())), ignored = c.attrs.integer[1];
  const int64_t missing = check_labels("cross_entropy", target, x.size(1), ignored);
  const auto rows = static_cast<double>(x.size(0));
  const Tensor scale =
      missing && c.attrs.integer[0] == kMean
          ? Tensor::scalar(c.in[3].item_double() * (rows / (rows - static_cast<double>(missing))), x.dtype())
          : c.in[3];
  const int64_t step = scale.rank() ? 1 : 0;
  for_rows(x, [&](int64_t begin, int64_t end, int64_t n, int64_t) {
    for_stretches(target.data<int64_t>(), missing == 0, begin, end, ignored, [&](int64_t b, int64_t e, bool counts) {
      char* const dx = out[0].data<char>() + b * n * item;
      if (!counts) {
        std::memset(dx, 0, static_cast<size_t>((e - b) * n * item));
        return;
      }
      kernels().softmax.cross_entropy_backward[float_index(x)](
          e - b, n, x.data<char>() + b * n * item, target.data<int64_t>() + b, c.in[2].data<char>() + 2 * b * item,
          scale.data<char>() + b * step * item, step, dx);
    });
  });
}
constexpr Op kCrossEntropyBackward = {"cross_entropy_backward", infer_like_first, nullptr, run_cross_entropy_backward,
                                      nullptr};

// (softmax(x) - one_hot(target)) scale, in ops, where rows that are ignored have a scale of 0.
Tensor differentiable_gradient(const Backward& b, const Tensor& x, const Tensor& target) {
  Tensor classes = Tensor::empty({1, x.size(1)}, DType::Int64);
  for (int64_t i = 0; i < x.size(1); ++i) classes.data<int64_t>()[i] = i;
  const Tensor hit = ops::to(ops::eq(ops::unsqueeze(target, 1), classes), x.dtype());
  const Tensor counts = ops::ne(target, Tensor::number(b.attrs().integer[1]));
  const Tensor g = b.attrs().integer[0] == kMean ? ops::div(b.g, ops::to(ops::sum(counts), x.dtype())) : b.g;
  const Tensor scale = ops::where(counts, g, Tensor::number(0.0));
  return ops::mul(ops::sub(ops::softmax(x, 1), hit), ops::unsqueeze(scale, 1));
}

void cross_entropy_vjp(Backward& b) {
  const Tensor x = b.input(0), target = b.input(1);
  if (grad_enabled()) return b.set(0, differentiable_gradient(b, x, target));
  Tensor scale = b.g;
  if (b.attrs().integer[0] == kMean) scale = ops::div(scale, Tensor::number(static_cast<double>(x.size(0))));
  b.set(0, execute(kCrossEntropyBackward, {x, target, b.second_output(), ops::contiguous(scale)}, b.attrs()));
}
constexpr Op kCrossEntropy = {.name = "cross_entropy",
                              .infer = infer_cross_entropy,
                              .run = run_cross_entropy,
                              .vjp = cross_entropy_vjp,
                              .saves = {kSaveA | kSaveB | kSaveSecond},
                              .outputs = 2,
                              .may_stop = true};

// labels(target int64 contiguous): attrs.integer = {classes, the label that is ignored}; checked, 0 where ignored.
void run_labels(const Call& c, std::span<Tensor> out) {
  const int64_t ignored = c.attrs.integer[1];
  check_labels(c.op.name, c.in[0], c.attrs.integer[0], ignored);
  const int64_t* t = c.in[0].data<int64_t>();
  for (int64_t i = 0; i < out[0].numel(); ++i) out[0].data<int64_t>()[i] = t[i] == ignored ? 0 : t[i];
}
constexpr Op labels_op(const char* name) {
  return {.name = name, .infer = infer_like_first, .run = run_labels, .may_stop = true};
}
constexpr Op kCrossEntropyLabels = labels_op("cross_entropy"), kNllLabels = labels_op("nll_loss"),
             kMultiMarginLabels = labels_op("multi_margin_loss");

// Where the classes are: dimension 0 of a single row, else 1.
int class_dim(const Tensor& input) { return input.rank() == 1 ? 0 : 1; }

// The weights of the classes, to be broadcast to the input.
Tensor beside(const Tensor& input, const Tensor& weight) {
  Dims shape = {weight.numel()};
  if (input.rank() > 1) shape.insert(0, 1);
  while (shape.size() < input.rank()) shape.push_back(1);
  return ops::reshape(weight, shape);
}

void check_class_input(const char* op, const Tensor& input, const Tensor& weight) {
  if (!is_float(input.dtype())) fail_dtype(op, input, "given as input; expected a float dtype");
  if (input.rank() == 0) fail_dtype(op, input, "given as input; expected (C,), (N, C) or (N, C, d1, ...)");
  const Dims classes = {input.size(class_dim(input))};
  if (weight && (weight.dtype() != input.dtype() || !(weight.shape() == classes))) {
    throw std::invalid_argument(std::string(op) + ": weight must be " + name(input.dtype()) + " " + to_string(classes) +
                                ", a number per class; got " + describe(weight));
  }
}

// The labels as int64.
Tensor check_class_target(const char* op, const Tensor& input, const Tensor& target) {
  Dims expected = input.shape();
  expected.erase(class_dim(input));
  if (is_float(target.dtype()) || target.dtype() == DType::Bool || !(target.shape() == expected)) {
    throw std::invalid_argument(std::string(op) + ": input " + describe(input) +
                                " needs integer class labels of shape " + to_string(expected) +
                                (std::strcmp(op, "cross_entropy") ? "" : " (or probabilities of the input's shape)") +
                                "; got target " + describe(target));
  }
  return ops::contiguous(ops::to(target, DType::Int64));
}

// The loss of class weights and smoothed labels from log-probabilities, all in ops. Divided by the weights of the
// labels for a mean.
Tensor composed_loss(const Op& labels_op, const Tensor& logp, const Tensor& target, const Tensor& weight,
                     int64_t ignored, Reduction r, double smoothing) {
  const int dim = class_dim(logp);
  const int64_t classes = logp.size(dim);
  Attrs attrs;
  attrs.integer[0] = classes;
  attrs.integer[1] = ignored;
  const Tensor labels = execute(labels_op, {target}, attrs), counts = ops::ne(target, Tensor::number(ignored));
  const Tensor zero = Tensor::number(0.0);
  Tensor of_label = Tensor::scalar(1.0, logp.dtype());
  if (weight) of_label = ops::reshape(ops::index_select(weight, 0, ops::reshape(labels, {-1})), labels.shape());
  const Tensor picked = ops::squeeze(ops::gather(logp, dim, ops::unsqueeze(labels, dim)), Dims{dim});
  Tensor each = ops::neg(ops::mul(picked, of_label));
  if (smoothing > 0) {
    const Tensor all = weight ? ops::mul(logp, beside(logp, weight)) : logp;
    each = ops::sub(ops::mul(each, Tensor::number(1 - smoothing)),
                    ops::mul(ops::sum(all, Dims{dim}), Tensor::number(smoothing / static_cast<double>(classes))));
  }
  each = ops::where(counts, each, zero);
  if (r != Reduction::Mean) return reduce_all(each, r);
  return ops::div(ops::sum(each), ops::sum(ops::where(counts, of_label, zero)));
}

// Targets that are class probabilities, of the input's shape. The mean is that over the rows.
Tensor soft_cross_entropy(const Tensor& x, const Tensor& target, const Tensor& weight, Reduction reduction,
                          double smoothing) {
  const int dim = class_dim(x);
  const Tensor smooth = smoothing == 0 ? target
                                       : ops::add(ops::mul(target, Tensor::number(1 - smoothing)),
                                                  Tensor::number(smoothing / static_cast<double>(x.size(dim))));
  Tensor terms = ops::mul(smooth, ops::log_softmax(x, dim));
  if (weight) terms = ops::mul(terms, beside(x, weight));
  return reduce_all(ops::neg(ops::sum(terms, Dims{dim})), reduction);
}

}  // namespace

namespace ops {

Tensor cross_entropy(const Tensor& input, const Tensor& target, const Tensor& weight, int64_t ignore_index,
                     const std::string& reduction, double label_smoothing) {
  const Reduction r = parse_reduction("cross_entropy", reduction);
  check_class_input("cross_entropy", input, weight);
  if (!(label_smoothing >= 0 && label_smoothing <= 1)) {
    throw std::invalid_argument("cross_entropy: label_smoothing must be between 0 and 1, got " +
                                std::to_string(label_smoothing));
  }
  if (is_float(target.dtype()) && target.shape() == input.shape()) {
    if (ignore_index >= 0) {
      throw std::invalid_argument("cross_entropy: ignore_index is for class labels; the target holds probabilities");
    }
    return soft_cross_entropy(input, target, weight, r, label_smoothing);
  }
  const Tensor labels = check_class_target("cross_entropy", input, target);
  if (weight || label_smoothing > 0) {
    const Tensor logp = log_softmax(input, class_dim(input));
    return composed_loss(kCrossEntropyLabels, logp, labels, weight, ignore_index, r, label_smoothing);
  }
  Tensor x = input.rank() == 1 ? unsqueeze(input, 0) : input;
  if (x.rank() > 2) {  // (N, C, d...) -> (N, d..., C)
    Dims order;
    for (int i = 0; i < x.rank(); ++i) order.push_back(i == 0 ? 0 : i < x.rank() - 1 ? i + 1 : 1);
    x = permute(x, order);
  }
  x = contiguous(reshape(x, {target.numel(), input.size(class_dim(input))}));
  Attrs attrs;
  attrs.integer[0] = static_cast<int64_t>(r);
  attrs.integer[1] = ignore_index;
  Tensor out[2];
  execute(kCrossEntropy, std::initializer_list<Tensor>{x, reshape(labels, {target.numel()})}, attrs, out);
  return r == Reduction::None ? reshape(out[0], target.shape()) : out[0];
}

Tensor nll_loss(const Tensor& input, const Tensor& target, const Tensor& weight, int64_t ignore_index,
                const std::string& reduction) {
  const Reduction r = parse_reduction("nll_loss", reduction);
  check_class_input("nll_loss", input, weight);
  return composed_loss(kNllLabels, input, check_class_target("nll_loss", input, target), weight, ignore_index, r, 0);
}

Tensor multi_margin_loss(const Tensor& input, const Tensor& target, int64_t p, double margin, const Tensor& weight,
                         const std::string& reduction) {
  const char* const op = "multi_margin_loss";
  const Reduction r = parse_reduction(op, reduction);
  check_class_input(op, input, weight);
  if (input.rank() > 2) fail_dtype(op, input, "given as input; expected (C,) or (N, C)");
  if (p != 1 && p != 2) throw std::invalid_argument("multi_margin_loss: p must be 1 or 2, got " + std::to_string(p));
  const int dim = class_dim(input);
  const int64_t classes = input.size(dim);
  Attrs attrs;
  attrs.integer[0] = classes;
  attrs.integer[1] = 0;  // none is ignored: what is becomes 0
  const Tensor labels = unsqueeze(execute(kMultiMarginLabels, {check_class_target(op, input, target)}, attrs), dim);
  Tensor terms = relu(add(sub(input, gather(input, dim, labels)), Tensor::number(margin)));
  if (p == 2) terms = square(terms);
  if (weight) terms = mul(terms, reshape(index_select(weight, 0, reshape(labels, {-1})), labels.shape()));
  const Tensor others = ne(arange(int64_t{0}, classes, 1, DType::Int64), labels);
  const Tensor each =
      div(sum(where(others, terms, Tensor::number(0.0)), Dims{dim}), Tensor::number(static_cast<double>(classes)));
  return reduce_all(each, r);
}

}  // namespace ops
}  // namespace tg

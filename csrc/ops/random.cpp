// Random fills from a generator, and dropout by a counter-based mask.
#include <cmath>
#include <stdexcept>

#include "ops/draw.h"
#include "ops/promotion.h"
#include "ops/rows.h"

namespace tg {
namespace {

void run_uniform(const Call& c, std::span<Tensor> out) {
  const Tensor& t = out[0];
  const double low = c.attrs.scalar[0], high = c.attrs.scalar[1];
  if (t.dtype() == DType::Float32)
    uniform(generator_of(c), t.data<float>(), t.numel(), low, high);
  else
    uniform(generator_of(c), t.data<double>(), t.numel(), low, high);
}
void run_normal(const Call& c, std::span<Tensor> out) {
  const Tensor& t = out[0];
  const double mean = c.attrs.scalar[0], std = c.attrs.scalar[1];
  if (t.dtype() == DType::Float32)
    normal(generator_of(c), t.data<float>(), t.numel(), mean, std);
  else
    normal(generator_of(c), t.data<double>(), t.numel(), mean, std);
}
void run_randint(const Call& c, std::span<Tensor> out) {
  randint(generator_of(c), out[0].data<int64_t>(), out[0].numel(), c.attrs.integer[0], c.attrs.integer[1]);
}
void run_randperm(const Call& c, std::span<Tensor> out) {
  randperm(generator_of(c), out[0].data<int64_t>(), out[0].numel());
}
constexpr Op kUniform = draw_op("uniform_", run_uniform, forget_vjp);
constexpr Op kNormal = draw_op("normal_", run_normal, forget_vjp);
constexpr Op kRandint = draw_op("randint_", run_randint);
constexpr Op kRandperm = draw_op("randperm", run_randperm);

// dropout_key(): what a mask is made from; drawn at every run
void infer_dropout_key(const Call&, OutSpec* out) { *out = {{}, DType::Int64}; }
void run_dropout_key(const Call&, std::span<Tensor> out) {
  *out[0].data<int64_t>() = static_cast<int64_t>(draw_key(default_generator()));
}
constexpr Op kDropoutKey = {
    .name = "dropout_key", .infer = infer_dropout_key, .run = run_dropout_key, .keep_gil = true};

// dropout(x contiguous, key): attrs.scalar[0] = p. Linear in x, so its derivative is itself.
void run_dropout(const Call& c, std::span<Tensor> out) {
  constexpr int64_t kGrain = 16384;
  const DropoutArgs args = {static_cast<uint64_t>(*c.in[1].data<int64_t>()), c.attrs.scalar[0]};
  const auto item = static_cast<int64_t>(itemsize(out[0].dtype()));
  const char* x = c.in[0].data<char>();
  char* y = out[0].data<char>();
  if (args.p == 1) {
    std::memset(y, 0, static_cast<size_t>(out[0].numel() * item));
    return;
  }
  const auto kernel = kernels().random.dropout[float_index(out[0])];
  parallel_for(out[0].numel(), kGrain, [&](int64_t begin, int64_t end) {
    kernel(end - begin, x + begin * item, y + begin * item, begin, &args);
  });
}
Tensor apply_dropout(const Tensor& x, const Tensor& key, const Attrs& attrs);
void dropout_vjp(Backward& b) { b.set(0, apply_dropout(b.g, b.input(1), b.attrs())); }
constexpr Op kDropout = {"dropout", infer_like_first, nullptr, run_dropout, dropout_vjp, {kSaveB}};
Tensor apply_dropout(const Tensor& x, const Tensor& key, const Attrs& attrs) {
  return execute(kDropout, {ops::contiguous(x), key}, attrs);
}

void check_float(const char* op, const Tensor& t) {
  if (!is_float(t.dtype())) fail_dtype(op, t, "has no float dtype; random reals need float32 or float64");
}

}  // namespace

Tensor fill_by(const Op& op, Tensor self, const Attrs& attrs, const ops::TensorList& more) {
  ops::TensorList in = {self.contiguous() ? self : Tensor::empty(self.shape(), self.dtype())};
  in.insert(in.end(), more.begin(), more.end());
  execute_in_place(op, in, attrs);
  return self.contiguous() ? self : ops::copy_(self, in[0]);
}

namespace ops {

Tensor uniform_(Tensor self, double low, double high, Generator* generator) {
  check_float("uniform_", self);
  if (!(low <= high) || std::isinf(high - low)) {
    throw std::invalid_argument("uniform_: expected from <= to, both finite, got " + std::to_string(low) + " and " +
                                std::to_string(high));
  }
  Attrs attrs;
  attrs.scalar[0] = low;
  attrs.scalar[1] = high;
  attrs.pointer = generator;
  return fill_by(kUniform, self, attrs);
}

Tensor normal_(Tensor self, double mean, double std, Generator* generator) {
  check_float("normal_", self);
  if (!(std >= 0)) throw std::invalid_argument("normal_: std must be >= 0, got " + std::to_string(std));
  Attrs attrs;
  attrs.scalar[0] = mean;
  attrs.scalar[1] = std;
  attrs.pointer = generator;
  return fill_by(kNormal, self, attrs);
}

Tensor randint_(Tensor self, int64_t low, int64_t high, Generator* generator) {
  if (low >= high) {
    throw std::invalid_argument("randint: expected low < high, got " + std::to_string(low) + " and " +
                                std::to_string(high));
  }
  Attrs attrs;
  attrs.integer[0] = low;
  attrs.integer[1] = high;
  attrs.pointer = generator;
  for (int64_t end : {low, high - 1}) {
    if (is_float(self.dtype()) || Tensor::scalar(end, self.dtype()).item_int64() == end) continue;
    throw std::invalid_argument("randint: " + std::to_string(end) + " does not fit in " + name(self.dtype()));
  }
  if (self.dtype() == DType::Int64) return fill_by(kRandint, self, attrs);
  return copy_(self, fill_by(kRandint, Tensor::empty(self.shape(), DType::Int64), attrs));
}

Tensor randperm(int64_t n, Generator* generator) {
  if (n < 0) throw std::invalid_argument("randperm: n must be >= 0, got " + std::to_string(n));
  Attrs attrs;
  attrs.pointer = generator;
  return fill_by(kRandperm, Tensor::empty({n}, DType::Int64), attrs);
}

Tensor dropout(const Tensor& input, double p, bool training) {
  if (!(p >= 0 && p <= 1)) {
    throw std::invalid_argument("dropout: the probability must be between 0 and 1, got " + std::to_string(p));
  }
  check_float("dropout", input);
  if (!training || p == 0) return input;
  Attrs attrs;
  attrs.scalar[0] = p;
  return apply_dropout(input, execute(kDropoutKey, {}), attrs);
}

}  // namespace ops
}  // namespace tg

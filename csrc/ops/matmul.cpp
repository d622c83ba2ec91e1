// matmul and linear: shape rules, the batched product over the GEMM driver, and their gradients.
#include <atomic>
#include <new>
#include <stdexcept>

#include "ops/activation.h"
#include "ops/fused_products.h"
#include "ops/gemm.h"
#include "ops/ops.h"
#include "ops/promotion.h"
#include "threads/parallel.h"

namespace tg {
namespace {

Dims batch_of(const Tensor& t) { return Dims(t.shape().data(), t.rank() - 2); }

// matmul(a (..., m, k), b (..., k, n)), batch dimensions broadcast
void infer_matmul(const Call& c, OutSpec* out) {
  const Tensor &a = c.in[0], &b = c.in[1];
  Dims shape = broadcast_shapes("matmul", batch_of(a), batch_of(b));
  shape.push_back(a.size(a.rank() - 2));
  shape.push_back(b.size(b.rank() - 1));
  *out = {shape, a.dtype()};
}

// Of integers, which wrap.
template <class T>
void integer_product(const GemmArgs& g) {
  const int64_t grain = std::max<int64_t>(1, 65536 / std::max<int64_t>(1, g.n) / std::max<int64_t>(1, g.k));
  parallel_for(g.m, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T* const c = static_cast<T*>(g.c) + i * g.ldc;
      std::fill(c, c + g.n, T{0});
      for (int64_t k = 0; k < g.k; ++k) {
        const T a = static_cast<const T*>(g.a)[i * g.ars + k * g.acs];
        const T* const b = static_cast<const T*>(g.b) + k * g.brs;
        for (int64_t j = 0; j < g.n; ++j) c[j] = static_cast<T>(c[j] + a * b[j * g.bcs]);
      }
    }
  });
}
void product(const GemmArgs& g) {
  switch (g.dtype) {
    case kUInt8: return integer_product<uint8_t>(g);
    case kInt32: return integer_product<uint32_t>(g);
    case kInt64: return integer_product<uint64_t>(g);
    default: return gemm(g);
  }
}

void run_matmul(const Call& c, std::span<Tensor> out) {
  const Tensor &a = c.in[0], &b = c.in[1], &y = out[0];
  const GemmArgs first = gemm_args(a, b, y.data());
  if (y.rank() == 2) return product(first);
  const Dims batch = batch_of(y);
  const auto steps = [&](const Tensor& t) {
    return broadcast_strides(batch_of(t), Dims(t.strides().data(), t.rank() - 2), batch);
  };
  const Dims sa = steps(a), sb = steps(b);
  const int64_t matrix = first.m * first.n, item = static_cast<int64_t>(itemsize(a.dtype()));
  const int64_t count = matrix ? y.numel() / matrix : 0;
  const int64_t grain = std::max<int64_t>(1, 65536 / std::max<int64_t>(1, matrix) / std::max<int64_t>(1, first.k));
  std::atomic<bool> out_of_memory = false;  // a task must not throw
  const auto products = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      GemmArgs g = first;
      int64_t rest = i, oa = 0, ob = 0;
      for (int d = batch.size() - 1; d >= 0; --d) {
        oa += rest % batch[d] * sa[d];
        ob += rest % batch[d] * sb[d];
        rest /= batch[d];
      }
      g.a = static_cast<const char*>(g.a) + oa * item;
      g.b = static_cast<const char*>(g.b) + ob * item;
      g.c = static_cast<char*>(g.c) + i * matrix * item;
      try {
        product(g);
      } catch (const std::bad_alloc&) { out_of_memory = true; }
    }
  };
  parallel_for(count, grain, products, double(matrix) * double(first.k) * kWorkNs);
  if (out_of_memory) throw std::bad_alloc();
}

double matmul_flops(const Call& c) {
  const Tensor &a = c.in[0], &b = c.in[1];
  const Dims batch = broadcast_shapes("matmul", batch_of(a), batch_of(b));
  const int64_t m = a.size(a.rank() - 2);
  return 2.0 * double(checked_numel(batch)) * double(m) * double(a.shape().back()) * double(b.shape().back());
}

Tensor transposed(const Tensor& t) { return ops::transpose(t, -2, -1); }

Tensor multiply(const Tensor& a, const Tensor& b);
void matmul_vjp(Backward& s) {
  if (s.needs(0)) s.set(0, multiply(s.g, transposed(s.input(1))));
  if (s.needs(1)) s.set(1, multiply(transposed(s.input(0)), s.g));
}
constexpr Op kMatmul = {.name = "matmul",
                        .infer = infer_matmul,
                        .run = run_matmul,
                        .vjp = matmul_vjp,
                        .saves = {kSaveB, kSaveA},
                        .flops = matmul_flops};
Tensor multiply(const Tensor& a, const Tensor& b) { return execute(kMatmul, {a, b}); }

// linear(x (m, k), weight (n, k), bias (n,) or none): y = f(x weight^T + bias). The bias is added as each tile is
// stored, f, if any, applied to each part.
void infer_linear(const Call& c, OutSpec* out) { *out = {{c.in[0].size(0), c.in[1].size(0)}, c.in[0].dtype()}; }
void run_product(const Call& c, const Tensor& y, GemmHook activation) {
  const Tensor& w = c.in[1];
  GemmArgs g = gemm_args(c.in[0], w, y.data());
  g.n = w.size(0);
  std::swap(g.brs, g.bcs);
  g.ldc = g.n;
  g.bias = c.in.size() > 2 ? c.in[2].data() : nullptr;
  g.hook = activation;
  gemm(g);
}
void run_linear(const Call& c, std::span<Tensor> out) { run_product(c, out[0], {}); }
template <const Activation& F>
void run_activated(const Call& c, std::span<Tensor> out) {
  struct Context {
    ElementwiseKernel kernel;
    int64_t item;
  } const context = {(kernels().*F.kernels).forward[static_cast<int>(out[0].dtype())],
                     static_cast<int64_t>(itemsize(out[0].dtype()))};
  const auto activate = [](const void* ctx, const GemmPart& part) {
    const auto [kernel, item] = *static_cast<const Context*>(ctx);
    part.for_rows(part.ldc, item, [kernel](int64_t, int64_t n, void* y) {
      const void* const in[] = {y};
      const int64_t step[] = {1};
      kernel(n, y, in, step);
    });
  };
  run_product(c, out[0], {activate, &context});
}
double linear_flops(const Call& c) { return 2.0 * double(c.in[0].numel()) * double(c.in[1].size(0)); }

// weight_gradient(g (batch, n) contiguous, x (batch, k)): g^T x (n, k), and the sums of g's columns (n,).
void infer_weight_gradient(const Call& c, OutSpec* out) {
  out[0] = {{c.in[0].size(1), c.in[1].size(1)}, c.in[0].dtype()};
  out[1] = {{c.in[0].size(1)}, c.in[0].dtype()};
}
void run_weight_gradient(const Call& c, std::span<Tensor> out) {
  gemm(weight_gradient_args(c.in[0], c.in[1], out[0].data(), out[1].data()));
}
double weight_gradient_flops(const Call& c) { return (2.0 * double(c.in[1].size(1)) + 1) * double(c.in[0].numel()); }
constexpr Op kWeightGradient = {.name = "weight_gradient",
                                .infer = infer_weight_gradient,
                                .run = run_weight_gradient,
                                .outputs = 2,
                                .flops = weight_gradient_flops};

// The same sums, to the bit, by themselves.
void infer_column_sums(const Call& c, OutSpec* out) { *out = {{c.in[0].size(1)}, c.in[0].dtype()}; }
void run_column_sums(const Call& c, std::span<Tensor> out) { column_sums(c.in[0], out[0].data()); }
void column_sums_vjp(Backward& s) { s.set(0, ops::expand(s.g, s.input_shape(0))); }
constexpr Op kColumnSums = {.name = "sum", .infer = infer_column_sums, .run = run_column_sums, .vjp = column_sums_vjp};

void product_vjp(Backward& s, const Tensor& g) {
  if (s.needs(0)) s.set(0, multiply(g, s.input(1)));
  if (s.needs(1) && s.needs(2) && !grad_enabled()) {
    Tensor out[2];
    execute(kWeightGradient, std::initializer_list<Tensor>{ops::contiguous(g), s.input(0)}, no_attrs(), out);
    s.set(1, std::move(out[0]));
    s.set(2, std::move(out[1]));
    return;
  }
  if (s.needs(1)) s.set(1, multiply(transposed(g), s.input(0)));
  if (s.needs(2)) s.set(2, execute(kColumnSums, {ops::contiguous(g)}));
}
void linear_vjp(Backward& s) { product_vjp(s, s.g); }
template <const Activation& F>
void activated_vjp(Backward& s) {
  product_vjp(s, F.gradient(s.g, s.output()));
}
constexpr Op kLinear = {.name = "linear",
                        .infer = infer_linear,
                        .run = run_linear,
                        .vjp = linear_vjp,
                        .saves = {kSaveB, kSaveA, 0},
                        .flops = linear_flops};
template <const Activation& F>
constexpr Op kActivated = {.name = "linear",
                           .infer = infer_linear,
                           .run = run_activated<F>,
                           .vjp = activated_vjp<F>,
                           .saves = {kSaveB | kSaveOutput, kSaveA | kSaveOutput, kSaveOutput},
                           .flops = linear_flops};

const Op& linear_op(const std::optional<std::string>& activation) {
  if (!activation) return kLinear;
  if (*activation == "relu") return kActivated<kRelu>;
  if (*activation == "tanh") return kActivated<kTanh>;
  if (*activation == "sigmoid") return kActivated<kSigmoid>;
  throw std::invalid_argument("linear: activation must be None, 'relu', 'tanh' or 'sigmoid', got '" + *activation +
                              "'");
}
Tensor run_linear_op(const Op& op, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return bias ? execute(op, {x, weight, ops::contiguous(bias)}) : execute(op, {x, weight});
}

[[noreturn]] void fail_shapes(const char* op, const Tensor& a, const Tensor& b, const std::string& why) {
  throw std::invalid_argument(std::string(op) + ": " + describe(a) + " and " + describe(b) + ": " + why);
}

void check_dtypes(const char* op, const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype()) fail_shapes(op, a, b, "dtypes differ; convert one with .to(dtype)");
}
void check_float(const char* op, const Tensor& a, const Tensor& b) {
  check_dtypes(op, a, b);
  if (!is_float(a.dtype())) fail_shapes(op, a, b, "float32 or float64 is needed; convert with .float()");
}

}  // namespace

bool is_product(const Op& matmul) { return &matmul == &kMatmul; }
bool is_weight_gradient(const Op& op) { return &op == &kWeightGradient; }

const Op* linear_with(const Op& linear, const Op& activation) {
  if (&linear != &kLinear) return nullptr;
  if (&activation == kRelu.op) return &kActivated<kRelu>;
  if (&activation == kTanh.op) return &kActivated<kTanh>;
  if (&activation == kSigmoid.op) return &kActivated<kSigmoid>;
  return nullptr;
}

namespace ops {

Tensor matmul(const Tensor& input, const Tensor& other) {
  check_dtypes("matmul", input, other);
  if (input.dtype() == DType::Bool)
    fail_shapes("matmul", input, other, "not defined for bool; convert with .to(dtype)");
  if (input.rank() == 0 || other.rank() == 0) fail_shapes("matmul", input, other, "both need at least one dimension");
  const Tensor a = input.rank() == 1 ? unsqueeze(input, 0) : input;
  const Tensor b = other.rank() == 1 ? unsqueeze(other, 1) : other;
  const int64_t k = a.shape().back(), kb = b.size(b.rank() - 2);
  if (k != kb) {
    fail_shapes("matmul", input, other,
                "the inner sizes " + std::to_string(k) + " and " + std::to_string(kb) + " differ");
  }
  for (int i = 3; i <= std::min(a.rank(), b.rank()); ++i) {
    const int64_t x = a.size(a.rank() - i), z = b.size(b.rank() - i);
    if (x != z && x != 1 && z != 1) fail_shapes("matmul", input, other, "the batch dimensions do not broadcast");
  }
  Tensor y;
  if (a.rank() > 2 && b.rank() == 2) {  // one product over all the rows
    Dims shape = a.shape();
    y = multiply(reshape(a, {k ? a.numel() / k : checked_numel(batch_of(a)) * a.size(a.rank() - 2), k}), b);
    shape[a.rank() - 1] = b.size(1);
    y = reshape(y, shape);
  } else {
    y = multiply(a, b);
  }
  if (input.rank() == 1) y = squeeze(y, Dims{-2});
  if (other.rank() == 1) y = squeeze(y, Dims{-1});
  return y;
}

Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias,
              const std::optional<std::string>& activation) {
  const Op& op = linear_op(activation);
  const bool fits = weight.rank() == 2 && input.rank() >= 1 && input.shape().back() == weight.size(1);
  if (!fits) {
    fail_shapes("linear", input, weight,
                "an input of shape (..., in_features) needs a weight of shape (out_features, in_features)");
  }
  if (bias) {
    check_dtypes("linear", input, bias);
    if (bias.rank() != 1 || bias.size(0) != weight.size(0)) {
      fail_shapes("linear", weight, bias, "the bias must have shape (out_features,)");
    }
  }
  if (is_integral(input.dtype()) && input.dtype() == weight.dtype() && !activation) {
    const Tensor y = matmul(input, t(weight));
    return bias ? add(y, bias) : y;
  }
  check_float("linear", input, weight);
  if (input.rank() == 2) return run_linear_op(op, input, weight, bias);
  Dims shape = input.shape();
  Dims lead(shape.data(), shape.size() - 1);
  const Tensor rows = reshape(input, {checked_numel(lead), weight.size(1)});
  lead.push_back(weight.size(0));
  return reshape(run_linear_op(op, rows, weight, bias), lead);
}

}  // namespace ops
}  // namespace tg

// Draws beyond the uniform and the normal, with the stream of PyTorch's CPU kernels: bernoulli, exponential, random_,
// normal of tensors, multinomial.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "ops/draw.h"
#include "ops/promotion.h"
#include "tape/recorder.h"

namespace tg {
namespace {

constexpr int64_t kBuffer = 256;  // draws at a time

// use(i, u) for n draws from [0, 1) in turn.
template <class T, class F>
void for_draws(Generator& g, int64_t n, F&& use) {
  T u[kBuffer];
  for (int64_t at = 0; at < n; at += kBuffer) {
    const int64_t m = std::min(kBuffer, n - at);
    g.uniform(u, m);
    for (int64_t i = 0; i < m; ++i) use(at + i, u[i]);
  }
}
double exponential(double u, double rate) { return -1 / rate * std::log1p(-u); }

// bernoulli_(self, p): p is 0-d, or contiguous in self's shape. A float32 tensor is compared with float32 draws.
template <class P>
void draw_bernoulli(Generator& g, const Tensor& out, const Tensor& p) {
  const P* const limit = p.data<P>();
  const int64_t step = p.rank() ? 1 : 0;
  for (int64_t i = 0; i < p.numel(); ++i) {
    if (!(limit[i] >= 0 && limit[i] <= 1)) {
      throw std::invalid_argument("bernoulli: probabilities must be between 0 and 1, got " + std::to_string(limit[i]));
    }
  }
  const std::lock_guard lock(g.mutex);
  dispatch(out.dtype(), [&](auto tag) {
    auto* const to = out.data<decltype(tag)>();
    for_draws<P>(g, out.numel(), [&](int64_t i, P u) { to[i] = static_cast<decltype(tag)>(u < limit[i * step]); });
  });
}
void run_bernoulli(const Call& c, std::span<Tensor> out) {
  c.in[1].dtype() == DType::Float32 ? draw_bernoulli<float>(generator_of(c), out[0], c.in[1])
                                    : draw_bernoulli<double>(generator_of(c), out[0], c.in[1]);
}
constexpr Op kBernoulli = [] {
  Op op = draw_op("bernoulli_", run_bernoulli, forget_vjp);
  op.may_stop = true;
  return op;
}();

// exponential_(self): attrs.scalar[0] = rate
void run_exponential(const Call& c, std::span<Tensor> out) {
  Generator& g = generator_of(c);
  const std::lock_guard lock(g.mutex);
  dispatch(out[0].dtype(), [&](auto tag) {
    auto* const to = out[0].data<decltype(tag)>();
    for_draws<double>(g, out[0].numel(), [&](int64_t i, double u) {
      to[i] = static_cast<decltype(tag)>(exponential(u, c.attrs.scalar[0]));
    });
  });
}
constexpr Op kExponential = draw_op("exponential_", run_exponential, forget_vjp);

// random_(self): integers from 0 to the largest up to which the dtype holds them all
void run_random(const Call& c, std::span<Tensor> out) {
  Generator& g = generator_of(c);
  const std::lock_guard lock(g.mutex);
  dispatch(out[0].dtype(), [&](auto tag) {
    using T = decltype(tag);
    constexpr int bits = std::numeric_limits<T>::digits;
    constexpr uint64_t range = (uint64_t{1} << bits) + (std::is_floating_point_v<T> ? 1 : 0);
    T* const to = out[0].data<T>();
    for (int64_t i = 0; i < out[0].numel(); ++i) {
      to[i] = static_cast<T>((bits > 32 ? g.random64() : uint64_t{g.random()}) % range);
    }
  });
}
constexpr Op kRandom = draw_op("random_", run_random, forget_vjp);

// multinomial(weights contiguous, (rows, n)): attrs.integer = {draws per row, whether with replacement}
template <class T>
void check_weights(const T* w, int64_t n) {
  T sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (!(w[i] >= 0) || std::isinf(w[i])) {
      throw std::invalid_argument("multinomial: weights must be finite and >= 0, got " + std::to_string(w[i]));
    }
    sum += w[i];
  }
  if (!(sum > 0)) throw std::invalid_argument("multinomial: the weights of a row must not all be 0");
}

// Inverts the cumulative sums.
template <class T>
void draw_with_replacement(Generator& g, const T* w, int64_t n, int64_t* to, int64_t draws) {
  std::vector<T> sums(static_cast<size_t>(n));
  std::partial_sum(w, w + n, sums.begin());
  const T total = sums.back();
  for (T& s : sums) s /= total;
  sums.back() = 1;
  for_draws<double>(g, draws, [&](int64_t i, double u) {
    to[i] = std::lower_bound(sums.begin(), sums.end(), u, [](T sum, double at) { return sum < at; }) - sums.begin();
  });
}

// The largest of weight / exponential: Efraimidis and Spirakis 2006, in PyTorch's form.
template <class T>
void draw_largest(const T* w, const T* exponentials, int64_t n, int64_t* to, int64_t draws) {
  std::vector<T> keys(static_cast<size_t>(n));
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = w[i] / exponentials[i];
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + draws, order.end(), [&](int64_t a, int64_t b) {
    const T x = keys[static_cast<size_t>(a)], y = keys[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  std::copy_n(order.begin(), draws, to);
}

void infer_multinomial(const Call& c, OutSpec* out) {
  out->shape = {c.in[0].size(0), c.attrs.integer[0]};
  out->dtype = DType::Int64;
}
void run_multinomial(const Call& c, std::span<Tensor> out) {
  const int64_t rows = c.in[0].size(0), n = c.in[0].size(1), draws = c.attrs.integer[0];
  Generator& g = generator_of(c);
  const auto draw = [&](auto tag) {
    using T = decltype(tag);
    const T* const w = c.in[0].data<T>();
    int64_t* const to = out[0].data<int64_t>();
    for (int64_t r = 0; r < rows; ++r) check_weights(w + r * n, n);
    const std::lock_guard lock(g.mutex);
    if (c.attrs.integer[1] && draws > 1) {
      for (int64_t r = 0; r < rows; ++r) draw_with_replacement(g, w + r * n, n, to + r * draws, draws);
      return;
    }
    std::vector<T> drawn(static_cast<size_t>(rows * n));
    for_draws<double>(g, rows * n,
                      [&](int64_t i, double u) { drawn[static_cast<size_t>(i)] = static_cast<T>(exponential(u, 1)); });
    for (int64_t r = 0; r < rows; ++r) draw_largest(w + r * n, drawn.data() + r * n, n, to + r * draws, draws);
  };
  c.in[0].dtype() == DType::Float32 ? draw(float{}) : draw(double{});
}
constexpr Op kMultinomial = {
    .name = "multinomial", .infer = infer_multinomial, .run = run_multinomial, .keep_gil = true, .may_stop = true};

}  // namespace

namespace ops {

Tensor bernoulli_(Tensor self, const Tensor& p, Generator* generator) {
  if (!is_float(p.dtype()) && !p->wrapped_number) fail_dtype("bernoulli", p, "given as probability; expected a float");
  if (!broadcasts_to(p.shape(), self.shape())) {
    throw std::invalid_argument("bernoulli_: probabilities of shape " + to_string(p.shape()) +
                                " do not broadcast to the tensor's, " + to_string(self.shape()));
  }
  const GradMode off(false);
  Attrs attrs;
  attrs.pointer = generator;
  const Tensor each = p->wrapped_number ? cast(p, DType::Float64) : expand(p, self.shape());
  return fill_by(kBernoulli, self, attrs, {contiguous(each->storage == self->storage ? clone(each) : each)});
}

Tensor exponential_(Tensor self, double lambd, Generator* generator) {
  if (!is_float(self.dtype())) fail_dtype("exponential_", self, "has no float dtype");
  if (!(lambd > 0)) {
    throw std::invalid_argument("exponential_: the rate lambd must be > 0, got " + std::to_string(lambd));
  }
  Attrs attrs;
  attrs.scalar[0] = lambd;
  attrs.pointer = generator;
  return fill_by(kExponential, self, attrs);
}

Tensor random_(Tensor self, Generator* generator) {
  Attrs attrs;
  attrs.pointer = generator;
  return fill_by(kRandom, self, attrs);
}

Tensor normal(const Tensor& mean, const Tensor& std, Generator* generator) {
  const GradMode off(false);
  const Dims shape = broadcast_shapes("normal", mean.shape(), std.shape());
  const DType dtype = in_domain("normal", Domain::FLOAT, result_type(mean, std));
  if (std->wrapped_number) { return add(normal_(Tensor::empty(shape, dtype), 0, std.item_double(), generator), mean); }
  if (!recorder && all(ge(std, Tensor::number(0.0))).item_int64() == 0) {
    throw std::invalid_argument("normal: all elements of std must be >= 0");
  }
  return add(mul(normal_(Tensor::empty(shape, dtype), 0, 1, generator), std), mean);
}

Tensor multinomial(const Tensor& input, int64_t num_samples, bool replacement, Generator* generator) {
  if (!is_float(input.dtype())) fail_dtype("multinomial", input, "given as weights; expected a float dtype");
  if (input.rank() != 1 && input.rank() != 2) {
    throw std::invalid_argument("multinomial: the weights must have 1 or 2 dimensions, got " + describe(input));
  }
  const int64_t n = input.size(input.rank() - 1);
  if (num_samples < 1 || n < 1 || (!replacement && num_samples > n)) {
    throw std::invalid_argument("multinomial: cannot draw " + std::to_string(num_samples) + " of " + std::to_string(n) +
                                (replacement ? "" : " without replacement"));
  }
  const GradMode off(false);
  Attrs attrs;
  attrs.integer[0] = num_samples;
  attrs.integer[1] = replacement;
  attrs.pointer = generator;
  const Tensor rows = input.rank() == 1 ? unsqueeze(input, 0) : input;
  const Tensor out = execute(kMultinomial, {contiguous(rows)}, attrs);
  return input.rank() == 1 ? select(out, 0, 0) : out;
}

}  // namespace ops
}  // namespace tg

// layer_norm: one kernel forward, one backward; under create_graph the gradient is composed of other ops.
#include <cstring>

#include "kernels/kernel_table.h"
#include "ops/ops.h"
#include "ops/promotion.h"
#include "ops/rows.h"

namespace tg {
namespace {

// Estimates of what a row costs, whatever its length, and a byte of it, in ns.
constexpr double kRowNs = 20, kForwardNs = 0.05, kBackwardNs = 0.1;

int64_t item_of(const Tensor& t) { return static_cast<int64_t>(itemsize(t.dtype())); }
int64_t row_size(const Attrs& attrs) { return checked_numel(attrs.dims); }
int64_t row_count(const Tensor& x, int64_t n) { return n ? x.numel() / n : 0; }

// layer_norm(x, and if given weight, and bias; all contiguous): attrs.dims = normalized_shape, attrs.scalar[0] = eps.
// Outputs: y, and the statistics of each row, kept for the gradient.
void infer_layer_norm(const Call& c, OutSpec* out) {
  infer_like_first(c, out);
  out[1] = {Dims{row_count(c.in[0], row_size(c.attrs)), kLayerNormStats}, DType::Float64};
}

void run_layer_norm(const Call& c, std::span<Tensor> out) {
  const Tensor& x = c.in[0];
  const int64_t n = row_size(c.attrs), row = n * item_of(x);
  const void* weight = c.in.size() > 1 ? c.in[1].data() : nullptr;
  const void* bias = c.in.size() > 2 ? c.in[2].data() : nullptr;
  const auto kernel = kernels().layer_norm.forward[float_index(x)];
  parallel_split(out[1].size(0), kRowNs + static_cast<double>(row) * kForwardNs, 1, [&](int64_t b, int64_t e) {
    kernel(e - b, n, x.data<char>() + b * row, weight, bias, c.attrs.scalar[0], out[0].data<char>() + b * row,
           out[1].data<double>() + kLayerNormStats * b);
  });
}

// layer_norm_backward(g, x, stats, and if given weight; all contiguous): attrs.dims as above, attrs.integer = {wants
// the gradient of x, wants those of weight and bias}. Outputs: these, the latter in one tensor; empty if not wanted.
void infer_backward(const Call& c, OutSpec* out) {
  const Dims& shape = c.attrs.dims;
  Dims columns = shape;
  columns.insert(0, 2);
  out[0] = {c.attrs.integer[0] ? c.in[1].shape() : Dims{0}, c.in[1].dtype()};
  out[1] = {c.attrs.integer[1] ? columns : Dims{0}, c.in[1].dtype()};
}

// out = the sums over the chunks of the 2 n columns.
void sum_chunks(const Tensor& partial, const Tensor& out) {
  const int64_t chunks = partial.size(0), columns = partial.size(1), item = item_of(out);
  const auto kernel = kernels().sum.cols[static_cast<int>(out.dtype())];
  parallel_for(
      columns, 512,
      [&](int64_t b, int64_t e) {
        kernel(chunks, e - b, partial.data<char>() + b * item, columns, out.data<char>() + b * item);
      },
      static_cast<double>(chunks * item) * kForwardNs);
}

// The rows are cut into chunks, each with sums of its own, by the shape alone: the bits do not depend on threads.
void run_backward(const Call& c, std::span<Tensor> out) {
  const Tensor &g = c.in[0], &x = c.in[1], &stats = c.in[2];
  const bool wants_x = c.attrs.integer[0], wants_columns = c.attrs.integer[1];
  const int64_t n = row_size(c.attrs), item = item_of(x), row = n * item, rows = stats.size(0);
  if (rows == 0) {
    std::memset(out[1].data(), 0, static_cast<size_t>(out[1].numel() * item));
    return;
  }
  const int64_t chunk = std::clamp<int64_t>(32768 / n, 16, 128), chunks = (rows + chunk - 1) / chunk;
  const Tensor partial = wants_columns && chunks > 1 ? Tensor::empty({chunks, 2 * n}, x.dtype()) : Tensor();
  char* columns = !wants_columns ? nullptr : partial ? partial.data<char>() : out[1].data<char>();
  const auto kernel = kernels().layer_norm.backward[float_index(x)];
  parallel_for(
      chunks, 1,
      [&](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end; ++k) {
          const int64_t first = k * chunk, at = first * row;
          kernel({std::min(chunk, rows - first), n, g.data<char>() + at, x.data<char>() + at,
                  c.in.size() > 3 ? c.in[3].data() : nullptr, stats.data<double>() + kLayerNormStats * first,
                  wants_x ? out[0].data<char>() + at : nullptr, columns ? columns + 2 * k * row : nullptr});
        }
      },
      static_cast<double>(chunk) * (kRowNs + static_cast<double>(row) * kBackwardNs));
  if (partial) sum_chunks(partial, out[1]);
}
constexpr Op kLayerNormBackward = {"layer_norm_backward", infer_backward, nullptr, run_backward, nullptr, {}, 2};

void differentiable_vjp(Backward& b) {
  const Tensor x = b.input(0), weight = b.node.inputs > 1 ? b.input(1) : Tensor();
  Dims dims;
  for (int i = 0; i < b.attrs().dims.size(); ++i) dims.push_back(i - b.attrs().dims.size());
  const auto mean = [&](const Tensor& t) { return ops::mean(t, dims, true); };
  const Tensor d = ops::sub(x, mean(x)), var = mean(ops::square(d));
  const Tensor rstd = ops::reciprocal(ops::sqrt(ops::add(var, Tensor::number(b.attrs().scalar[0]))));
  const Tensor xhat = ops::mul(d, rstd);
  if (b.needs(0)) {
    const Tensor h = weight ? ops::mul(b.g, weight) : b.g;
    b.set(0, ops::mul(rstd, ops::sub(ops::sub(h, mean(h)), ops::mul(xhat, mean(ops::mul(h, xhat))))));
  }
  if (b.needs(1)) b.set(1, ops::mul(b.g, xhat));
  if (b.needs(2)) b.set(2, b.g);
}

void layer_norm_vjp(Backward& b) {
  if (grad_enabled()) return differentiable_vjp(b);
  const bool weight = b.needs(1), bias = b.needs(2);
  if (!weight && !b.needs(0)) return b.set(2, b.g);  // nothing else was saved
  Attrs attrs = b.attrs();
  attrs.integer[0] = b.needs(0);
  attrs.integer[1] = weight || bias;
  std::vector<Tensor> in = {ops::contiguous(b.g), b.input(0), b.second_output()};
  if (b.node.inputs > 1 && b.needs(0)) in.push_back(b.input(1));
  Tensor out[2];
  execute(kLayerNormBackward, in, attrs, out);
  if (b.needs(0)) b.set(0, out[0]);
  if (weight) b.set(1, ops::select(out[1], 0, 0));
  if (bias) b.set(2, ops::select(out[1], 0, 1));
}
constexpr Op kLayerNorm = {"layer_norm",
                           infer_layer_norm,
                           nullptr,
                           run_layer_norm,
                           layer_norm_vjp,
                           {kSaveA | kSaveB | kSaveSecond, kSaveA | kSaveSecond, 0},
                           2};

void check_parameter(const char* which, const Tensor& p, const Tensor& input, const Dims& shape) {
  if (p.dtype() != input.dtype()) {
    fail_dtype("layer_norm", p,
               "as " + std::string(which) + " and the input " + describe(input) +
                   " differ in dtype; convert one with .to(dtype)");
  }
  if (!(p.shape() == shape)) {
    fail_dtype("layer_norm", p, "as " + std::string(which) + " must have normalized_shape " + to_string(shape));
  }
}

void check_input(const Tensor& input, const Dims& shape) {
  const int lead = input.rank() - shape.size();
  if (shape.empty()) throw std::invalid_argument("layer_norm: normalized_shape needs at least one size, got ()");
  if (!is_float(input.dtype())) fail_dtype("layer_norm", input, "has no float dtype; convert with .float()");
  if (lead < 0 || !(Dims(input.shape().data() + lead, shape.size()) == shape)) {
    fail_dtype("layer_norm", input,
               "does not end in normalized_shape " + to_string(shape) +
                   ", the sizes of the last dimensions, over which mean and variance are taken");
  }
}

}  // namespace

namespace ops {

Tensor layer_norm(const Tensor& input, const Dims& normalized_shape, const Tensor& weight, const Tensor& bias,
                  double eps) {
  check_input(input, normalized_shape);
  if (weight) check_parameter("weight", weight, input, normalized_shape);
  if (bias) check_parameter("bias", bias, input, normalized_shape);
  std::vector<Tensor> in = {contiguous(input)};
  if (weight || bias) {
    in.push_back(weight ? contiguous(weight) : full(normalized_shape, Tensor::number(1.0), input.dtype()));
  }
  if (bias) in.push_back(contiguous(bias));
  Attrs attrs;
  attrs.dims = normalized_shape;
  attrs.scalar[0] = eps;
  Tensor out[2];
  execute(kLayerNorm, in, attrs, out);
  return out[0];
}

}  // namespace ops
}  // namespace tg

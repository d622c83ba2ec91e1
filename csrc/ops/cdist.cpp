// cdist: the distances between the rows of two matrices.
#include "kernels/kernel_table.h"
#include "ops/promotion.h"
#include "ops/rows.h"

namespace tg {
namespace {

// cdist(x1 (batch, p, m), x2 (batch, r, m)): Euclidean, directly, which is exact for points that are close, and for
// equal ones 0
void infer_distances(const Call& c, OutSpec* out) {
  *out = {{c.in[0].size(0), c.in[0].size(1), c.in[1].size(1)}, c.in[0].dtype()};
}
void run_distances(const Call& c, std::span<Tensor> out) {
  const Tensor &x1 = c.in[0], &x2 = c.in[1];
  const int64_t p = x1.size(1), r = x2.size(1), m = x1.size(2), item = static_cast<int64_t>(itemsize(x1.dtype()));
  constexpr int64_t kRows = 32;
  const int64_t tasks = (p + kRows - 1) / kRows;
  const auto kernel = kernels().squares.distances[float_index(x1)];
  parallel_for(
      x1.size(0) * tasks, 1,
      [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          const int64_t batch = t / tasks, first = t % tasks * kRows, row = batch * p + first;
          kernel(std::min(kRows, p - first), r, m, x1.data<char>() + row * m * item,
                 x2.data<char>() + batch * r * m * item, out[0].data<char>() + row * r * item, r);
        }
      },
      static_cast<double>(kRows * r) * (2 + 0.04 * static_cast<double>(m)));
}
// With w = g / distance, 0 where the distance is 0, the gradient of row i of x1 is the sum over j of w_ij (x1_i -
// x2_j). It does not change when all rows move: they are moved near 0, so that little cancels in the products.
void distances_vjp(Backward& b) {
  const Tensor y = b.output(), zero = Tensor::number(0.0), at_zero = ops::eq(y, zero);
  const Tensor w = ops::where(at_zero, zero, ops::div(b.g, ops::where(at_zero, Tensor::number(1.0), y)));
  const Tensor center = ops::mean(b.input(b.input(1).size(1) ? 1 : 0), Dims{1}, true).detach();
  const Tensor x1 = ops::sub(b.input(0), center), x2 = ops::sub(b.input(1), center);
  const auto gradient = [](const Tensor& weights, const Tensor& own, const Tensor& other) {
    return ops::sub(ops::mul(own, ops::sum(weights, Dims{2}, true)), ops::matmul(weights, other));
  };
  if (b.needs(0)) b.set(0, gradient(w, x1, x2));
  if (b.needs(1)) b.set(1, gradient(ops::transpose(w, 1, 2), x2, x1));
}
constexpr unsigned kSaveBoth = kSaveA | kSaveB | kSaveOutput;
constexpr Op kDistances = {"cdist", infer_distances, nullptr, run_distances, distances_vjp, {kSaveBoth, kSaveBoth}};

Dims with_matrix(Dims batch, const Tensor& x) {
  batch.push_back(x.size(x.rank() - 2));
  batch.push_back(x.size(x.rank() - 1));
  return batch;
}

void check_points(const Tensor& x1, const Tensor& x2, double p) {
  for (const Tensor& x : {x1, x2}) {
    if (!is_float(x.dtype())) fail_dtype("cdist", x, "has no float dtype; convert with .float()");
    if (x.rank() < 2) fail_dtype("cdist", x, "must have at least two dimensions, (..., points, coordinates)");
  }
  if (x1.shape().back() != x2.shape().back()) {
    fail_dtype("cdist", x2, "has points with another number of coordinates than " + describe(x1));
  }
  if (x1.dtype() != x2.dtype()) fail_dtype("cdist", x2, "differs in dtype from " + describe(x1));
  if (!(p >= 0)) throw std::invalid_argument("cdist: p must be >= 0, got " + std::to_string(p));
}

void check_mode(const std::string& mode) {
  for (const char* way : {"", "_if_necessary"}) {
    if (mode == std::string("use_mm_for_euclid_dist") + way) return;
  }
  if (mode == "donot_use_mm_for_euclid_dist") return;
  throw std::invalid_argument("cdist: '" + mode + "' is no compute_mode");
}

}  // namespace

namespace ops {

Tensor cdist(const Tensor& x1, const Tensor& x2, double p, const std::string& compute_mode) {
  check_points(x1, x2, p);
  check_mode(compute_mode);
  if (p != 2 || x1.shape().back() == 0) {
    return norm(sub(unsqueeze(x1, -2), unsqueeze(x2, -3)), x1.shape().back() ? p : 2, Dims{-1});
  }
  const Dims batch =
      broadcast_shapes("cdist", Dims(x1.shape().data(), x1.rank() - 2), Dims(x2.shape().data(), x2.rank() - 2));
  const Dims shape1 = with_matrix(batch, x1), shape2 = with_matrix(batch, x2);
  const auto three = [&](const Tensor& x, const Dims& shape) {
    const int64_t n = shape[shape.size() - 2], m = shape.back();
    return contiguous(reshape(expand(x, shape), {checked_numel(batch), n, m}));
  };
  const Tensor y = execute(kDistances, {three(x1, shape1), three(x2, shape2)});
  Dims shape = shape1;
  shape[shape.size() - 1] = x2.size(x2.rank() - 2);
  return reshape(y, shape);
}

}  // namespace ops
}  // namespace tg

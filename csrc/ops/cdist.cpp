// cdist: the distances between the rows of two matrices.
#include <cmath>

#include "ops/promotion.h"
#include "threads/parallel.h"

namespace tg {
namespace {

// The sum of (a - b)^2: in float for a while, so that lanes fill a register, the whole in double.
template <class T>
double squared_distance(const T* a, const T* b, int64_t n) {
  constexpr int64_t kLanes = 16, kWhile = 256;
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kWhile) {
    const int64_t end = std::min(n, begin + kWhile);
    T lanes[kLanes] = {};
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      for (int64_t k = 0; k < kLanes; ++k) lanes[k] += (a[i + k] - b[i + k]) * (a[i + k] - b[i + k]);
    }
    for (; i < end; ++i) total += double(a[i] - b[i]) * double(a[i] - b[i]);
    T sum = 0;
    for (int64_t k = 0; k < kLanes; ++k) sum += lanes[k];
    total += double(sum);
  }
  return total;
}

// cdist(x1 (batch, p, m), x2 (batch, r, m)): Euclidean, directly, which is exact for points that are close, and for
// equal ones 0
void infer_distances(const Call& c, OutSpec* out) {
  *out = {{c.in[0].size(0), c.in[0].size(1), c.in[1].size(1)}, c.in[0].dtype()};
}
template <class T>
void fill_distances(const Tensor& x1, const Tensor& x2, const Tensor& out) {
  const int64_t p = x1.size(1), r = x2.size(1), m = x1.size(2);
  const int64_t block = std::max<int64_t>(1, 16384 / std::max<int64_t>(m * static_cast<int64_t>(sizeof(T)), 1));
  parallel_for(
      x1.size(0) * p, 16,
      [&](int64_t begin, int64_t end) {
        for (int64_t first = 0; first < r; first += block) {  // rows of x2 that stay in the cache
          for (int64_t i = begin; i < end; ++i) {
            const T* rows = x2.data<T>() + i / p * r * m;
            for (int64_t j = first; j < std::min(r, first + block); ++j) {
              out.data<T>()[i * r + j] =
                  static_cast<T>(std::sqrt(squared_distance(x1.data<T>() + i * m, rows + j * m, m)));
            }
          }
        }
      },
      static_cast<double>(r) * (4 + 0.2 * static_cast<double>(m)));
}
void run_distances(const Call& c, std::span<Tensor> out) {
  out[0].dtype() == DType::Float32 ? fill_distances<float>(c.in[0], c.in[1], out[0])
                                   : fill_distances<double>(c.in[0], c.in[1], out[0]);
}
// With w = g / distance, 0 where the distance is 0, the gradient of row i of x1 is the sum over j of w_ij (x1_i -
// x2_j). It does not change when all rows move: they are moved near 0, so that little cancels in the products.
void distances_vjp(Backward& b) {
  const Tensor y = b.output(), zero = Tensor::number(0.0), at_zero = ops::eq(y, zero);
  const Tensor w = ops::where(at_zero, zero, ops::div(b.g, ops::where(at_zero, Tensor::number(1.0), y)));
  const Tensor center = ops::mean(b.input(1), Dims{1}, true).detach();
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

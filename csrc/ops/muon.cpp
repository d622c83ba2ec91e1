// Muon: the momentum of a matrix with its singular values brought near 1, by products (Jordan, "Muon: An optimizer for
// hidden layers in neural networks", 2024).
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "ops/gemm.h"
#include "ops/optim_rules.h"
#include "ops/rows.h"
#include "ops/subnormals.h"

namespace tg {
namespace {

struct Options {
  double lr, weight_decay, momentum, nesterov, coefficients[3], eps, steps, adjust;
};
constexpr double kMatchRmsAdamw = 2;  // of the choices in optim/_muon.py

// c = a b for contiguous c of n columns.
struct Matrix {
  const void* data;
  int64_t rows, cols, row_stride, col_stride;
  Matrix transposed() const { return {data, cols, rows, col_stride, row_stride}; }
};
void multiply(DType dtype, const Matrix& a, const Matrix& b, void* c) {
  GemmArgs args = {};
  args.dtype = static_cast<int>(dtype);
  args.m = a.rows, args.n = b.cols, args.k = a.cols;
  args.a = a.data, args.ars = a.row_stride, args.acs = a.col_stride;
  args.b = b.data, args.brs = b.row_stride, args.bcs = b.col_stride;
  args.c = c, args.ldc = b.cols;
  gemm(args);
}

// x becomes f(x / its norm), f(s) = a s + b s^3 + c s^5 on its singular values, and f of that, `steps` times in all.
template <class T>
void orthogonalize(Tensor x, const Options& o) {
  const int64_t rows = x.size(0), cols = x.size(1), n = std::min(rows, cols);
  const DType dtype = x.dtype();
  Tensor next = Tensor::empty(x.shape(), x.dtype()), gram = Tensor::empty({n, n}, x.dtype()),
         square = Tensor::empty({n, n}, x.dtype());
  T* const values = x.data<T>();
  double squares = 0;
  for (int64_t i = 0; i < x.numel(); ++i) squares += double(values[i]) * double(values[i]);
  const T norm = T(std::max(std::sqrt(squares), o.eps));
  for (int64_t i = 0; i < x.numel(); ++i) values[i] /= norm;
  const T a = T(o.coefficients[0]), b = T(o.coefficients[1]), c = T(o.coefficients[2]);
  for (int k = 0; k < static_cast<int>(o.steps); ++k) {
    const Matrix m = {x.data(), rows, cols, cols, 1}, g = {gram.data(), n, n, n, 1};
    if (rows > cols)
      multiply(dtype, m.transposed(), m, gram.data());
    else
      multiply(dtype, m, m.transposed(), gram.data());
    multiply(dtype, g, g, square.data());
    T* const p = gram.data<T>();
    const T* const q = square.data<T>();
    for (int64_t i = 0; i < n * n; ++i) p[i] = b * p[i] + c * q[i];
    for (int64_t i = 0; i < n; ++i) p[i * (n + 1)] += a;
    if (rows > cols)
      multiply(dtype, m, g, next.data());
    else
      multiply(dtype, g, m, next.data());
    std::swap(x, next);
  }
  if (x.data<T>() != values) std::copy_n(x.data<T>(), x.numel(), values);
}

double lr_ratio(double adjust, const Tensor& p) {
  const double rows = double(p.size(0)), cols = double(p.size(1));
  return adjust == kMatchRmsAdamw ? 0.2 * std::sqrt(std::max(rows, cols)) : std::sqrt(std::max(1.0, rows / cols));
}

}  // namespace

void Muon::run(const Call& c) {
  const double* v = c.attrs.cell->values.data();
  const Options o = {v[0], v[1], v[2], v[3], {v[4], v[5], v[6]}, v[7], v[8], v[9]};
  const auto n = static_cast<size_t>(c.attrs.integer[0]);
  for (const Tensor& p : c.in.first(n)) {
    if (p.rank() != 2) throw std::invalid_argument("muon_step_: " + describe(p) + " is no matrix");
  }
  for (size_t i = 0; i < n; ++i) {
    const Tensor &p = c.in[i], &g = c.in[n + i], &buf = c.in[2 * n + i];
    if (p.numel() == 0) continue;
    const int dtype = float_index(p);
    const FlushSubnormals flush;
    const Tensor update = Tensor::empty(p.shape(), p.dtype());
    const MuonArgs momentum = {{0, 0, false, false}, o.momentum, o.nesterov != 0};
    void* const lists[] = {update.data(), g.data(), buf.data()};
    kernels().optim.muon[dtype](p.numel(), lists, &momentum);
    if (p.dtype() == DType::Float64)
      orthogonalize<double>(update, o);
    else
      orthogonalize<float>(update, o);
    const double ratio = lr_ratio(o.adjust, p);
    const SgdArgs descent = {{o.lr * ratio, o.weight_decay / ratio, false, true}, 0, 0, false, false};
    void* const last[] = {p.data(), update.data(), nullptr};
    kernels().optim.sgd[dtype](p.numel(), last, &descent);
  }
}

double Muon::flops(const Call& c) {
  double sum = 0;
  for (const Tensor& p : c.in.first(static_cast<size_t>(c.attrs.integer[0]))) {
    const double n = double(std::min(p.size(0), p.size(1)));
    sum += c.attrs.cell->values[8] * (4 * n * double(p.numel()) + 2 * n * n * n);
  }
  return sum;
}

}  // namespace tg

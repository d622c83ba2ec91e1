// Products of given ranks, made of matmul: mm, bmm, mv, dot, outer and inner, and those that add a tensor.
#include <stdexcept>

#include "ops/ops.h"
#include "ops/promotion.h"

namespace tg {
namespace {

[[noreturn]] void fail(const char* op, const Tensor& a, const Tensor& b, const std::string& why) {
  throw std::invalid_argument(std::string(op) + ": " + describe(a) + " and " + describe(b) + ": " + why);
}

void check_dtypes(const char* op, const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype()) fail(op, a, b, "dtypes differ; convert one with .to(dtype)");
}

// The ranks an op takes, and what to call otherwise.
void check_ranks(const char* op, const Tensor& a, int rank_a, const Tensor& b, int rank_b) {
  if (a.rank() == rank_a && b.rank() == rank_b) return;
  static constexpr const char* kKinds[] = {"", "a vector", "a matrix", "a batch of matrices (3-d)"};
  fail(op, a, b,
       std::string("expected ") + kKinds[rank_a] + " and " + kKinds[rank_b] +
           "; matmul() takes other ranks, "
           "outer() and inner() other products of vectors");
}

Tensor scaled(const Tensor& t, double factor) {
  if (factor == 1) return t;
  if (is_float(t.dtype())) return ops::mul(t, Tensor::number(factor));
  const auto whole = static_cast<int64_t>(std::abs(factor) < 0x1p53 ? factor : 0);
  if (static_cast<double>(whole) != factor) {
    throw std::invalid_argument("beta and alpha must be integers for " + describe(t) + ", got " +
                                std::to_string(factor));
  }
  return ops::mul(t, Tensor::number(whole));
}

// beta input + alpha product, of the product's shape.
Tensor added(const char* op, const Tensor& input, const Tensor& product, double beta, double alpha) {
  check_dtypes(op, input, product);
  if (!broadcasts_to(input.shape(), product.shape())) {
    fail(op, input, product, "the input does not broadcast to the product's shape");
  }
  const Tensor y = scaled(product, alpha);
  return beta == 0 ? y : ops::add(scaled(input, beta), y);
}

}  // namespace

namespace ops {

Tensor mm(const Tensor& input, const Tensor& mat2) {
  check_ranks("mm", input, 2, mat2, 2);
  return matmul(input, mat2);
}

Tensor bmm(const Tensor& input, const Tensor& mat2) {
  check_ranks("bmm", input, 3, mat2, 3);
  if (input.size(0) != mat2.size(0)) fail("bmm", input, mat2, "the batches differ in size; matmul() broadcasts them");
  return matmul(input, mat2);
}

Tensor mv(const Tensor& input, const Tensor& vec) {
  check_ranks("mv", input, 2, vec, 1);
  return matmul(input, vec);
}

Tensor dot(const Tensor& input, const Tensor& tensor) {
  check_ranks("dot", input, 1, tensor, 1);
  return matmul(input, tensor);
}
Tensor vdot(const Tensor& input, const Tensor& other) { return dot(input, other); }

Tensor outer(const Tensor& input, const Tensor& vec2) {
  if (input.rank() != 1 || vec2.rank() != 1) fail("outer", input, vec2, "expected two vectors; use ravel() or kron()");
  return mul(unsqueeze(input, 1), vec2);
}

Tensor inner(const Tensor& input, const Tensor& other) {
  check_dtypes("inner", input, other);
  if (input.rank() == 0 || other.rank() == 0) return mul(input, other);
  if (input.shape().back() != other.shape().back()) fail("inner", input, other, "the last dimensions differ");
  return tensordot(input, other, std::pair(IntList{-1}, IntList{-1}));
}

Tensor addmm(const Tensor& input, const Tensor& mat1, const Tensor& mat2, double beta, double alpha) {
  check_ranks("addmm", mat1, 2, mat2, 2);
  // A bias, which linear() adds while it stores the product.
  const bool bias = input.rank() == 1 && input.size(0) == mat2.size(1) && mat1.size(1) == mat2.size(0);
  const bool same = input.dtype() == mat1.dtype() && mat1.dtype() == mat2.dtype() && is_float(input.dtype());
  if (bias && same && beta == 1 && alpha == 1) return linear(mat1, t(mat2), input);
  return added("addmm", input, matmul(mat1, mat2), beta, alpha);
}

Tensor addmv(const Tensor& input, const Tensor& mat, const Tensor& vec, double beta, double alpha) {
  check_ranks("addmv", mat, 2, vec, 1);
  return added("addmv", input, matmul(mat, vec), beta, alpha);
}

Tensor baddbmm(const Tensor& input, const Tensor& batch1, const Tensor& batch2, double beta, double alpha) {
  check_ranks("baddbmm", batch1, 3, batch2, 3);
  return added("baddbmm", input, bmm(batch1, batch2), beta, alpha);
}

Tensor addbmm(const Tensor& input, const Tensor& batch1, const Tensor& batch2, double beta, double alpha) {
  check_ranks("addbmm", batch1, 3, batch2, 3);
  return added("addbmm", input, tensordot(batch1, batch2, std::pair(IntList{0, 2}, IntList{0, 1})), beta, alpha);
}

Tensor addr(const Tensor& input, const Tensor& vec1, const Tensor& vec2, double beta, double alpha) {
  return added("addr", input, outer(vec1, vec2), beta, alpha);
}

}  // namespace ops
}  // namespace tg

// gemm: the product of two strided matrices, the one entry to the GEMM kernels.
#pragma once
#include <cstdint>

#include "kernels/kernel_table.h"
#include "ops/cost.h"
#include "tensor/tensor.h"

namespace tg {

inline constexpr double kWorkNs = 2 * kFlopNs;  // of a multiply-add

// Rows [row, row + rows) and columns [col, col + cols) of C, finished: columns are contiguous, rows ldc elements apart.
struct GemmPart {
  int64_t row, col, rows, cols;
  void* c;
  int64_t ldc;

  // body(number of the first element, n, elements): row by row, or all at once where the elements of a C of `width`
  // columns lie one after another.
  template <class F>
  void for_rows(int64_t width, int64_t item, F&& body) const {
    const bool whole = cols == width && ldc == width;
    const int64_t lines = whole ? 1 : rows, length = whole ? rows * cols : cols;
    for (int64_t i = 0; i < lines; ++i) {
      body((row + i) * width + col, length, static_cast<void*>(static_cast<char*>(c) + i * ldc * item));
    }
  }
};
// What is done with each part of C right after it was made, by the thread that made it. Every element of C is in one
// part. Must not throw.
struct GemmHook {
  void (*run)(const void* ctx, const GemmPart&);  // null: nothing
  const void* ctx;
};

// C[m, n] = A[m, k] B[k, n], plus C where `accumulate`, plus the bias. C must not overlap A or B.
struct GemmArgs {
  int dtype;  // kFloat32 or kFloat64
  int64_t m, n, k;
  const void* a;
  int64_t ars, acs;  // strides of rows and columns in elements; any, 0 too
  const void* b;
  int64_t brs, bcs;
  void* c;           // null: only the hook sees C, part by part; not with `accumulate`
  int64_t ldc;       // stride of rows; columns are contiguous
  const void* bias;  // n values, or null
  bool accumulate;
  GemmHook hook;
  void* sums;  // null, or for m values: the sums of A's rows. Only where those are one element apart
};
// Of the matrices in the last two dimensions; C is contiguous.
GemmArgs gemm_args(const Tensor& a, const Tensor& b, void* c);
// g^T x into `gradient`, the sums of g's columns into `sums`; g is contiguous.
GemmArgs weight_gradient_args(const Tensor& g, const Tensor& x, void* gradient, void* sums);
void column_sums(const Tensor& g, void* sums);  // the same alone

// Uses the threads where they pay. The result has the same bits for every number of threads. Throws std::bad_alloc.
void gemm(const GemmArgs& args);

}  // namespace tg

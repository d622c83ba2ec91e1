// gemm: the product of two strided matrices, the one entry to the GEMM kernels.
#pragma once
#include <cstdint>

#include "kernels/kernel_table.h"
#include "ops/cost.h"

namespace tg {

inline constexpr double kWorkNs = 2 * kFlopNs;  // of a multiply-add

// C[m, n] = f(A[m, k] B[k, n], plus C where `accumulate`, plus the bias). C must not overlap A or B.
struct GemmArgs {
  int dtype;  // kFloat32 or kFloat64
  int64_t m, n, k;
  const void* a;
  int64_t ars, acs;  // strides of rows and columns in elements; any, 0 too
  const void* b;
  int64_t brs, bcs;
  void* c;
  int64_t ldc;       // stride of rows; columns are contiguous
  const void* bias;  // n values, or null
  bool accumulate;
  ElementwiseKernel epilogue;  // f, applied to each part of C as it is finished, or null: the identity
};

// Uses the threads where they pay. The result has the same bits for every number of threads. Throws std::bad_alloc.
void gemm(const GemmArgs& args);

}  // namespace tg

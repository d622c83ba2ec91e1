// What the parts of the GEMM driver share: the product as the kernels see it, the depth of a block, memory, tasks.
#pragma once
#include <algorithm>
#include <cstddef>
#include <new>

#include "ops/gemm.h"
#include "tensor/memory.h"
#include "threads/parallel.h"

namespace tg {

// The sum over k of an element of C is cut into blocks of equal depth, which depends on k alone.
inline constexpr int64_t kDepth = 1024;           // at most: C is read and written again for every block
inline constexpr double kParallelWork = 1 << 20;  // multiply-adds of float32 from which a second thread pays
inline constexpr double kElementNs = 0.2;         // of one that is packed, or used once
inline constexpr int64_t kHookWork = 32;          // of an element of C, of the order of sigmoid's, or of an Adam step's

inline int64_t ceil_div(int64_t a, int64_t b) { return (a - 1) / b + 1; }
inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }
inline int64_t block_depth(int64_t k) { return round_up(ceil_div(k, ceil_div(k, kDepth)), 8); }

// y = x[0, :] + x[1, :] + ... over n elements, plus y where there is `more`. Same bits for any cut of n.
void add_rows(const GemmKernels& kern, int64_t size, const char* x, int64_t step, int64_t n, int64_t depth, char* y,
              bool more);

// The product as the kernels see it. C^T = B^T A^T is as good as C = A B, so C may be stored by columns, and the bias
// runs along that direction.
struct Product {
  int64_t size;  // of an element
  int64_t m, n, k;
  const char* a;
  int64_t ars, acs;
  const char* b;
  int64_t brs, bcs;
  char* c;
  int64_t ldc;
  bool by_columns, accumulate;
  const char* bias;
  int64_t bias_row, bias_col;  // steps of the bias
  GemmHook hook;
  char *a_sums, *b_sums;  // null, or the sums over k: of A's rows, of B's columns

  Product transposed() const {
    return {size, n,   m,           k,          b,    bcs,      brs,      a,    acs,    ars,
            c,    ldc, !by_columns, accumulate, bias, bias_col, bias_row, hook, b_sums, a_sums};
  }
  double work() const { return double(m) * double(n) * double(k + (hook.run ? kHookWork : 0)) * double(size) / 4; }
  int64_t crs() const { return by_columns ? 1 : ldc; }
  int64_t ccs() const { return by_columns ? ldc : 1; }
  const char* at_a(int64_t i, int64_t p) const { return a + (i * ars + p * acs) * size; }
  const char* at_b(int64_t p, int64_t j) const { return b + (p * brs + j * bcs) * size; }
  char* at_c(int64_t i, int64_t j) const { return c + (i * crs() + j * ccs()) * size; }
  const char* at_bias(int64_t i, int64_t j) const {
    return bias ? bias + (i * bias_row + j * bias_col) * size : nullptr;
  }
  // Adds up rows [i, i + count) of A, or columns of B, over k in [k0, k0 + depth).
  void add_a(const GemmKernels& kern, int64_t i, int64_t count, int64_t k0, int64_t depth) const {
    if (a_sums) add_rows(kern, size, at_a(i, k0), acs, count, depth, a_sums + i * size, k0 > 0);
  }
  void add_b(const GemmKernels& kern, int64_t j, int64_t count, int64_t k0, int64_t depth) const {
    if (b_sums) add_rows(kern, size, at_b(k0, j), brs, count, depth, b_sums + j * size, k0 > 0);
  }
  // Tells of a finished part, which lies at `part`.
  void finish(int64_t i, int64_t j, int64_t rows, int64_t cols, char* part, int64_t ld) const {
    if (hook.run)
      hook.run(hook.ctx, by_columns ? GemmPart{j, i, cols, rows, part, ld} : GemmPart{i, j, rows, cols, part, ld});
  }
};

class Workspace {
 public:
  explicit Workspace(int64_t bytes) : bytes_(size_t(bytes)), data_(bytes > 0 ? allocate(bytes_) : nullptr) {}
  // Null where memory is short.
  Workspace(int64_t bytes, std::nothrow_t) noexcept : bytes_(size_t(bytes)) {
    try {
      if (bytes > 0) data_ = allocate(bytes_);
    } catch (const std::bad_alloc&) {}
  }
  ~Workspace() {
    if (data_) deallocate(data_, bytes_);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  char* get() const { return static_cast<char*>(data_); }

 private:
  size_t bytes_;
  void* data_ = nullptr;
};

// `ns`: of all tasks.
template <class F>
void run(bool threads, int64_t tasks, double ns, F&& body) {
  if (threads && tasks > 1) {
    const auto some = [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) body(i);
    };
    parallel_for(tasks, 1, some, ns / double(tasks));
  } else {
    for (int64_t i = 0; i < tasks; ++i) body(i);
  }
}

// The product in cache blocks and register tiles. Throws std::bad_alloc.
void multiply_blocks(const Product& p, const GemmKernels& kern);

}  // namespace tg

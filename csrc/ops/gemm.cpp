// The driver of the GEMM kernels: products with vectors here, the others in gemm_blocks.cpp.
#include "ops/gemm.h"

#include <array>

#include "ops/gemm_product.h"
#include "ops/subnormals.h"

namespace tg {
namespace {

constexpr int64_t kVectorWork = 1 << 17;  // multiply-adds of one task of a product with a vector
constexpr int64_t kDotBytes = 48;         // most of a row of C that is done as dot products

template <class T>
constexpr auto kOnes = [] {
  std::array<T, 64> ones;
  ones.fill(1);
  return ones;
}();

// The sums of n columns of `rows` rows, which lie `step` elements apart.
void add_columns(const GemmKernels& kern, int64_t size, const char* x, int64_t step, int64_t rows, int64_t n,
                 char* sums) {
  const int64_t depth = block_depth(std::max<int64_t>(rows, 1));
  for (int64_t k = 0; k == 0 || k < rows; k += depth) {
    add_rows(kern, size, x + k * step * size, step, n, std::min(depth, rows - k), sums, k > 0);
  }
}

// n is 1, or few where A and B are contiguous along k: dot products with the rows of A, or sums of its columns.
void multiply_vector(const Product& p, const GemmKernels& kern) {
  const Workspace packed(p.brs == 1 ? 0 : p.k * p.size);
  const char* x = p.b;
  if (p.brs != 1) {
    kern.pack(p.k, 1, p.b, p.brs, 1, 1, packed.get());
    x = packed.get();
  }
  const int64_t step = round_up(std::max<int64_t>(kVectorWork / p.k / p.n, 1), 64);
  const double ns = std::max(p.work() * kWorkNs, double(p.m) * double(p.k) * kElementNs);
  run(p.work() >= kParallelWork / 2, ceil_div(p.m, step), ns, [&](int64_t task) {
    const int64_t i = task * step, n = std::min(step, p.m - i);
    char* y = p.at_c(i, 0);
    if (p.acs == 1) {
      const FlushSubnormals flush;
      kern.dot({p.n, n, p.k, p.at_a(i, 0), p.ars, x, p.bcs, y, p.crs(), p.ccs(), p.accumulate, p.at_bias(i, 0),
                p.bias_row, p.bias_col});
    }
    const int64_t depth = block_depth(p.k);
    for (int64_t k = 0; p.acs != 1 && k < p.k; k += depth) {
      const FlushSubnormals flush;
      const int64_t kc = std::min(depth, p.k - k);
      kern.row({1, n, kc, p.at_a(i, k), p.acs, x + k * p.size, 0, y, p.crs(), 0, p.accumulate || k > 0,
                k + kc == p.k ? p.at_bias(i, 0) : nullptr, p.bias_row, 0});
    }
    p.finish(i, 0, n, p.n, y, p.ldc);
  });
}

// Cycles, roughly: tiles, transposing B into packed panels, moving tiles to a C stored by columns.
double cost(const Product& p, const GemmKernels& kern) {
  const int64_t lanes = kern.nr / 2;
  const double m = double(p.m), n = double(p.n), k = double(p.k);
  double cycles = k * m * double(ceil_div(p.n, lanes)) * 0.5;
  if (p.bcs != 1) cycles += k * n * (p.brs == 1 ? 8.0 / double(lanes) : 2.0);
  if (p.by_columns) cycles += m * n * 8.0 / double(lanes);
  return cycles;
}

// A matrix times a vector, or times a few along contiguous memory.
bool is_vector(const Product& p) {
  return p.n == 1 ? p.acs == 1 || p.ars == 1
                  : p.n * p.size <= kDotBytes && p.acs == 1 && p.brs == 1 && p.m > p.n && p.k >= 32;
}

// k is 0.
template <class T>
void fill(const Product& p) {
  const T* bias = reinterpret_cast<const T*>(p.bias);
  for (int64_t i = 0; i < p.m; ++i) {
    T* c = reinterpret_cast<T*>(p.at_c(i, 0));
    for (int64_t j = 0; j < p.n; ++j) c[j] = (p.accumulate ? c[j] : T(0)) + (bias ? bias[j] : T(0));
  }
  p.finish(0, 0, p.m, p.n, p.c, p.ldc);
}

}  // namespace

void add_rows(const GemmKernels& kern, int64_t size, const char* x, int64_t step, int64_t n, int64_t depth, char* y,
              bool more) {
  const void* ones = size == 4 ? static_cast<const void*>(kOnes<float>.data()) : kOnes<double>.data();
  constexpr int64_t kChain = 64;  // rows: a longer chain would round too often
  const FlushSubnormals flush;
  for (int64_t k = 0; k == 0 || k < depth; k += kChain) {
    kern.row(
        {1, n, std::min(kChain, depth - k), x + k * step * size, step, ones, 0, y, 1, 0, more || k > 0, nullptr, 0, 0});
  }
}
GemmArgs gemm_args(const Tensor& a, const Tensor& b, void* c) {
  const int ra = a.rank(), rb = b.rank();
  GemmArgs g{};
  g.dtype = static_cast<int>(a.dtype());
  g.m = a.size(ra - 2);
  g.k = a.size(ra - 1);
  g.n = b.size(rb - 1);
  g.a = a.data();
  g.ars = a.strides()[ra - 2];
  g.acs = a.strides()[ra - 1];
  g.b = b.data();
  g.brs = b.strides()[rb - 2];
  g.bcs = b.strides()[rb - 1];
  g.c = c;
  g.ldc = g.n;
  return g;
}

GemmArgs weight_gradient_args(const Tensor& g, const Tensor& x, void* gradient, void* sums) {
  GemmArgs args = gemm_args(g, x, gradient);
  std::swap(args.m, args.k);
  std::swap(args.ars, args.acs);
  args.sums = sums;
  return args;
}

void column_sums(const Tensor& g, void* sums) {
  const GemmKernels& kern = kernels().gemm[static_cast<int>(g.dtype()) - kFloat32];
  const auto size = static_cast<int64_t>(itemsize(g.dtype())), columns = g.size(1);
  const auto some = [&](int64_t begin, int64_t end) {
    add_columns(kern, size, g.data<char>() + begin * size, columns, g.size(0), end - begin,
                static_cast<char*>(sums) + begin * size);
  };
  parallel_split(columns, double(g.size(0)) * double(size) * kByteNs, 64, some);
}

void gemm(const GemmArgs& args) {
  const bool single = args.dtype == kFloat32;
  const GemmKernels& kern = kernels().gemm[args.dtype - kFloat32];
  Product p{single ? 4 : 8,
            args.m,
            args.n,
            args.k,
            static_cast<const char*>(args.a),
            args.ars,
            args.acs,
            static_cast<const char*>(args.b),
            args.brs,
            args.bcs,
            static_cast<char*>(args.c),
            args.ldc,
            false,
            args.accumulate,
            static_cast<const char*>(args.bias),
            0,
            1,
            args.hook,
            static_cast<char*>(args.sums),
            nullptr};
  if (p.m <= 0 || p.n <= 0) {
    if (p.m > 0 && args.sums) add_columns(kern, p.size, p.a, p.acs, p.k, p.m, p.a_sums);
    return;
  }
  // The stride of a dimension of one element is free.
  if (p.m == 1) p.ars = 1;
  if (p.n == 1) p.bcs = 1;
  if (p.k == 1) p.acs = p.brs = 1;
  Product q = p.transposed();
  const bool empty = p.k <= 0, vector = is_vector(p), vector_t = is_vector(q);
  const Workspace whole(p.c || !(empty || vector || vector_t) ? 0 : p.m * p.n * p.size);
  if (whole.get()) p.c = q.c = whole.get(), p.ldc = q.ldc = p.n;
  if (args.sums && (empty || vector || vector_t)) add_columns(kern, p.size, p.a, p.acs, p.k, p.m, p.a_sums);
  if (empty) return single ? fill<float>(p) : fill<double>(p);
  if (vector || vector_t) return multiply_vector(vector ? p : q, kern);
  const bool swap = p.m > 1 && p.n > 1 && cost(q, kern) < cost(p, kern);
  multiply_blocks(swap ? q : p, kern);
}

}  // namespace tg

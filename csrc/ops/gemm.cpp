// The driver of the GEMM kernels: which operand to pack, how to cut the product into cache blocks and tasks.
#include "ops/gemm.h"

#include <algorithm>
#include <cstddef>
#include <new>
#include <utility>

#include "kernels/kernel_table.h"
#include "tensor/memory.h"
#include "threads/parallel.h"

#include <cstdlib>
namespace tg {
namespace {

// Block sizes. The sum over k of an element of C is cut at multiples of the depth, which depends on k alone.
static int env(const char* n, int d) { auto e = getenv(n); return e ? atoi(e) : d; }
static const int64_t kDepth = env("KD", 512);           // at most; a panel of B stays near L1, a block of A in L2
constexpr int64_t kRows = 168;            // most rows of a task
constexpr int64_t kPacked = 2 << 20;      // bytes of packed B at a time, unless one block is more
constexpr int64_t kMaxPacked = 4 << 20;   // most bytes of a packed block of B
constexpr int64_t kPackGroup = 4;         // panels packed together, for runs of memory that are worth a prefetch

// Work, in multiply-adds of float32, from which a second thread pays, and of one task of a product with a vector.
static const int64_t kParallelWork = env("PW", 1 << 19);
constexpr int64_t kVectorWork = 1 << 17;

int64_t ceil_div(int64_t a, int64_t b) { return (a - 1) / b + 1; }

// The product as the kernels see it. C^T = B^T A^T is as good as C = A B, so C may be stored by columns: one of crs, ccs
// is 1, and the bias runs along that direction.
struct Product {
  int64_t size;  // of an element
  int64_t m, n, k;
  const char* a;
  int64_t ars, acs;
  const char* b;
  int64_t brs, bcs;
  char* c;
  int64_t crs, ccs;
  bool accumulate;
  const char* bias;
  int64_t bias_row, bias_col;  // steps of the bias

  Product transposed() const {
    return {size, n, m, k, b, bcs, brs, a, acs, ars, c, ccs, crs, accumulate, bias, bias_col, bias_row};
  }
  double work() const { return double(m) * double(n) * double(k) * double(size) / 4; }
  const char* at_a(int64_t i, int64_t p) const { return a + (i * ars + p * acs) * size; }
  const char* at_b(int64_t p, int64_t j) const { return b + (p * brs + j * bcs) * size; }
  char* at_c(int64_t i, int64_t j) const { return c + (i * crs + j * ccs) * size; }
  const char* at_bias(int64_t i, int64_t j) const {
    return bias ? bias + (i * bias_row + j * bias_col) * size : nullptr;
  }
};

class Workspace {
 public:
  explicit Workspace(int64_t bytes) : bytes_(size_t(bytes)), data_(bytes > 0 ? allocate(bytes_) : nullptr) {}
  // Null where memory is short.
  Workspace(int64_t bytes, std::nothrow_t) noexcept : bytes_(size_t(bytes)) {
    try {
      if (bytes > 0) data_ = allocate(bytes_);
    } catch (const std::bad_alloc&) {
    }
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

template <class F> void run(bool threads, int64_t tasks, F&& body) {
  if (threads && tasks > 1) {
    parallel_for(tasks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) body(i);
    });
  } else {
    for (int64_t i = 0; i < tasks; ++i) body(i);
  }
}

// kDepth or a little less: k in equal parts.
int64_t block_depth(int64_t k) { return ceil_div(ceil_div(k, ceil_div(k, kDepth)), 8) * 8; }

struct Plan {
  bool threads, pack_a;
  enum { kDirect, kShared, kOwn } b;  // B as it is; packed before the tasks of a pass; packed by the task that needs it
  int64_t rows;                       // of a panel of A
  int64_t depth;                      // of a block
  int64_t span;                       // depth of one pass over C, a multiple of the depth
  int64_t cols;                       // of C in one pass, a multiple of nr
  int64_t mb, nb;                     // of a task
};

// Strides that put the lines of one column into a few sets of the caches.
bool aliases(int64_t stride, int64_t size) { return stride != 0 && stride * size % 4096 == 0; }

Plan make_plan(const Product& p, const GemmKernels& kern) {
  Plan plan;
  // Full panels, unless the last one would be too low to be worth its loads.
  const int64_t rest = p.m % kern.mr;
  plan.rows = rest == 0 || rest >= 4 || p.m > 8 * kern.mr ? kern.mr : ceil_div(p.m, ceil_div(p.m, kern.mr));
  plan.depth = block_depth(p.k);
  const int threads = p.work() < double(kParallelWork) ? 1 : num_threads();
  plan.threads = threads > 1;

  const int64_t row_panels = ceil_div(p.m, plan.rows), most = std::max<int64_t>(kRows / plan.rows, 1);
  const int64_t panel = plan.depth * kern.nr * p.size;
  int64_t col_panels = std::min(ceil_div(p.n, kern.nr), kMaxPacked / panel);
  const int64_t tasks = threads == 1 ? 1 : 4 * threads;
  if (row_panels >= 2 * tasks || threads == 1) {
    plan.mb = std::min(most, ceil_div(row_panels, tasks)) * plan.rows;
    plan.nb = col_panels * kern.nr;
  } else {
    plan.mb = std::min(most, row_panels) * plan.rows;
    plan.nb = ceil_div(col_panels, ceil_div(tasks, ceil_div(p.m, plan.mb))) * kern.nr;
  }

  // A panel of B that is not packed is read at its full width, see GemmBlock::padded.
  const bool narrow = p.n < kern.nr && p.n != kern.nr / 2;
  static const int PA = env("PA", -1), PB = env("PB", -1), BR = env("BR", 12), BR2 = env("BR2", 3), AN = env("AN", 16);
  bool pack_b = p.bcs != 1 || narrow || p.m > (aliases(p.brs, p.size) ? BR2 : BR) * kern.mr;
  plan.pack_a = p.n > AN * kern.nr;
  if (PA >= 0) plan.pack_a = PA;
  if (PB >= 0 && p.bcs == 1 && !narrow) pack_b = PB;
  const int64_t depths = ceil_div(p.k, plan.depth);
  plan.b = !pack_b ? Plan::kDirect : p.m > plan.mb ? Plan::kShared : Plan::kOwn;
  plan.span = plan.b == Plan::kShared ? std::clamp<int64_t>(kPacked / (panel * col_panels), 1, depths) * plan.depth : p.k;
  plan.cols = plan.b == Plan::kDirect ? p.n : col_panels * kern.nr;
  return plan;
}

// Packs rows [k0, k1) and columns [j0, j1) of B, block after block.
void pack_b(const Product& p, const Plan& plan, const GemmKernels& kern, int64_t k0, int64_t k1, int64_t j0, int64_t j1,
            char* dst) {
  const int64_t group = (p.bcs == 1 ? kPackGroup : 1) * kern.nr, groups = ceil_div(j1 - j0, group);
  const int64_t width = ceil_div(j1 - j0, kern.nr) * kern.nr;
  run(plan.threads, groups * ceil_div(k1 - k0, plan.depth), [&](int64_t task) {
    const int64_t k = task / groups * plan.depth, j = task % groups * group;
    const int64_t kc = std::min(plan.depth, k1 - k0 - k);
    kern.pack(kc, std::min(group, j1 - j0 - j), p.at_b(k0 + k, j0 + j), p.brs, p.bcs, kern.nr,
              dst + (k * width + j * kc) * p.size);
  });
}

// The block of C at (i, j) of m x n elements, over k in [k0, k1). `packed` is where the packed columns from j on lie, or
// go; `width` columns are packed in all.
void run_task(const Product& p, const Plan& plan, const GemmKernels& kern, int64_t i, int64_t j, int64_t m, int64_t n,
              int64_t k0, int64_t k1, char* packed, int64_t width) {
  GemmBlock g;
  g.m = m;
  g.n = n;
  g.rows = plan.rows;
  g.padded = plan.b != Plan::kDirect;
  g.c = p.at_c(i, j);
  g.crs = p.crs;
  g.ccs = p.ccs;
  const Workspace packed_a(plan.pack_a ? ceil_div(m, g.rows) * g.rows * plan.depth * p.size : 0, std::nothrow);
  for (int64_t k = k0; k < k1; k += plan.depth) {
    g.k = std::min(plan.depth, k1 - k);
    if (packed_a.get()) {
      kern.pack(g.k, m, p.at_a(i, k), p.acs, p.ars, g.rows, packed_a.get());
      g.a = packed_a.get();
      g.ars = 1;
      g.acs = g.rows;
      g.a_panel = g.rows * g.k;
    } else {
      g.a = p.at_a(i, k);
      g.ars = p.ars;
      g.acs = p.acs;
      g.a_panel = g.rows * p.ars;
    }
    if (plan.b == Plan::kDirect) {
      g.b = p.at_b(k, j);
      g.brs = p.brs;
      g.b_panel = kern.nr;
    } else {
      if (plan.b == Plan::kOwn) kern.pack(g.k, n, p.at_b(k, j), p.brs, p.bcs, kern.nr, packed);
      g.b = packed + (plan.b == Plan::kOwn ? 0 : ((k - k0) * width + j % plan.cols * g.k) * p.size);
      g.brs = kern.nr;
      g.b_panel = kern.nr * g.k;
    }
    g.accumulate = p.accumulate || k > 0;
    g.bias = k + g.k == p.k ? p.at_bias(i, j) : nullptr;
    kern.block(g);
  }
}

void multiply(const Product& p, const GemmKernels& kern) {
  const Plan plan = make_plan(p, kern);
  const int64_t packed_depth = plan.b == Plan::kDirect ? 0 : plan.b == Plan::kOwn ? plan.depth : std::min(p.k, plan.span);
  const Workspace packed(plan.cols * packed_depth * p.size);
  const int64_t row_tasks = ceil_div(p.m, plan.mb);
  for (int64_t j0 = 0; j0 < p.n; j0 += plan.cols) {
    const int64_t j1 = std::min(j0 + plan.cols, p.n), width = ceil_div(j1 - j0, kern.nr) * kern.nr;
    for (int64_t k0 = 0; k0 < p.k; k0 += plan.span) {
      const int64_t k1 = std::min(k0 + plan.span, p.k);
      if (plan.b == Plan::kShared) pack_b(p, plan, kern, k0, k1, j0, j1, packed.get());
      run(plan.threads, row_tasks * ceil_div(j1 - j0, plan.nb), [&](int64_t task) {
        const int64_t i = task % row_tasks * plan.mb, j = j0 + task / row_tasks * plan.nb;
        char* own = plan.b == Plan::kOwn ? packed.get() + (j - j0) * plan.depth * p.size : packed.get();
        run_task(p, plan, kern, i, j, std::min(plan.mb, p.m - i), std::min(plan.nb, j1 - j), k0, k1, own, width);
      });
    }
  }
}

// n == 1: rows or columns of A times a vector, by whichever is contiguous.
void multiply_vector(const Product& p, const GemmKernels& kern) {
  const Workspace packed(p.brs == 1 ? 0 : p.k * p.size);
  const char* x = p.b;
  if (p.brs != 1) {
    kern.pack(p.k, 1, p.b, p.brs, 1, 1, packed.get());
    x = packed.get();
  }
  const bool dot = p.acs == 1;
  const int64_t step = ceil_div(std::max<int64_t>(kVectorWork / p.k, 1), 64) * 64;
  run(p.m > step, ceil_div(p.m, step), [&](int64_t task) {
    const int64_t i = task * step, n = std::min(step, p.m - i);
    if (dot) return kern.dot({n, p.k, p.at_a(i, 0), p.ars, x, p.at_c(i, 0), p.crs, p.accumulate, p.at_bias(i, 0), p.bias_row});
    const int64_t depth = block_depth(p.k);
    for (int64_t k = 0; k < p.k; k += depth) {
      const int64_t kc = std::min(depth, p.k - k);
      kern.row({n, kc, p.at_a(i, k), p.acs, x + k * p.size, p.at_c(i, 0), p.crs, p.accumulate || k > 0,
                k + kc == p.k ? p.at_bias(i, 0) : nullptr, p.bias_row});
    }
  });
}

// Cycles, roughly: tiles, transposing B into packed panels, moving tiles to a C stored by columns.
double cost(const Product& p, const GemmKernels& kern) {
  const double lanes = double(kern.nr / 2), m = double(p.m), n = double(p.n), k = double(p.k);
  double cycles = k * m * double(ceil_div(p.n, kern.nr / 2)) * 0.5;
  if (p.bcs != 1) cycles += k * n * (p.brs == 1 ? 8 / lanes : 2);
  if (p.ccs != 1) cycles += m * n * 8 / lanes;
  return cycles;
}

template <class T> void fill(const GemmArgs& g) {
  const T* bias = static_cast<const T*>(g.bias);
  for (int64_t i = 0; i < g.m; ++i) {
    T* c = static_cast<T*>(g.c) + i * g.ldc;
    for (int64_t j = 0; j < g.n; ++j) c[j] = (g.accumulate ? c[j] : T(0)) + (bias ? bias[j] : T(0));
  }
}

}  // namespace

void gemm(const GemmArgs& args) {
  if (args.m <= 0 || args.n <= 0) return;
  const bool single = args.dtype == kFloat32;
  if (args.k <= 0) return single ? fill<float>(args) : fill<double>(args);
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
            1,
            args.accumulate,
            static_cast<const char*>(args.bias),
            0,
            1};
  // The stride of a dimension of one element is free.
  if (p.m == 1) p.ars = 1;
  if (p.n == 1) p.bcs = 1;
  if (p.k == 1) p.acs = p.brs = 1;
  const Product q = p.transposed();
  const auto is_vector = [](const Product& r) { return r.n == 1 && (r.acs == 1 || r.ars == 1); };
  static const int SW = env("SW", -1);
  if (is_vector(p)) return multiply_vector(p, kern);
  if (is_vector(q)) return multiply_vector(q, kern);
  const bool swap = p.m > 1 && p.n > 1 && (SW < 0 ? cost(q, kern) < cost(p, kern) : SW);
  multiply(swap ? q : p, kern);
}

}  // namespace tg

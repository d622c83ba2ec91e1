// The driver of the GEMM kernels: which operand to pack, how to cut the product into cache blocks and tasks.
#include "ops/gemm.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <new>

#include "ops/subnormals.h"
#include "tensor/memory.h"
#include "threads/parallel.h"

namespace tg {
namespace {

// The sum over k of an element of C is cut into blocks of equal depth, which depends on k alone.
constexpr int64_t kDepth = 1024;         // at most: C is read and written again for every block
constexpr int64_t kBlockA = 352 << 10;   // most bytes of A in a task: they stay in L2
constexpr int64_t kPacked = 2 << 20;     // bytes of B packed at a time, unless one block is more
constexpr int64_t kMaxPacked = 8 << 20;  // most bytes of a packed block of B
constexpr int64_t kPackGroup = 4;        // panels packed together, for longer runs of memory
constexpr int64_t kTasksPerThread = 4;   // at most, for an even load
constexpr int64_t kLeastPanels = 4;      // of a task, or the rounding to panels makes them uneven

// Multiply-adds of float32 from which a second thread pays, from which tasks share a B that must be transposed, and of
// one task of a product with a vector.
constexpr double kParallelWork = 1 << 20;
constexpr double kSharedWork = 1 << 27;
constexpr int64_t kSharedA = 1 << 20;  // bytes of A from which they do so too
constexpr int64_t kVectorWork = 1 << 17;
constexpr double kElementNs = 0.2;       // of one that is packed, or used once
constexpr int64_t kHookWork = 32;        // of an element of C, of the order of sigmoid's, or of an Adam step's
constexpr int64_t kDotBytes = 48;        // most of a row of C that is done as dot products
constexpr int64_t kScratch = 128 << 10;  // most bytes of a part of a C that is not stored

int64_t ceil_div(int64_t a, int64_t b) { return (a - 1) / b + 1; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

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

  Product transposed() const {
    return {size, n, m, k, b, bcs, brs, a, acs, ars, c, ldc, !by_columns, accumulate, bias, bias_col, bias_row, hook};
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

int64_t block_depth(int64_t k) { return round_up(ceil_div(k, ceil_div(k, kDepth)), 8); }

// Strides that put the elements of a column into a few sets of the caches.
bool aliases(int64_t stride_bytes, int64_t period) { return stride_bytes != 0 && stride_bytes % period == 0; }

enum class PackB { kNo, kShared, kOwn };  // before the tasks of a pass, or by the one task that needs the columns

struct Multiplication {
  Multiplication(const Product& product, const GemmKernels& kernels);
  void run_all();
  void choose_tasks();
  void choose_packing();
  void pack_shared(int64_t k0, int64_t k1, int64_t j0, int64_t j1) const;
  bool run_task(int64_t task, int64_t k0, int64_t k1, int64_t j0, int64_t j1) const;

  const Product& p;
  const GemmKernels& kern;
  const int threads;
  PackB pack_b;
  bool pack_a;
  int64_t rows;                    // of a panel of A
  int64_t depth;                   // of a block
  int64_t row_panels, col_panels;  // of C
  // One pass takes `span` of k (a multiple of the depth) and `cols` of n (a multiple of nr). Its part of C is cut
  // evenly into tasks of whole panels.
  int64_t span, cols, row_tasks, col_tasks;
  char* packed = nullptr;
};

Multiplication::Multiplication(const Product& product, const GemmKernels& kernels)
    : p(product), kern(kernels), threads(p.work() < kParallelWork ? 1 : num_threads()), depth(block_depth(p.k)) {
  // Full panels, unless the last one would be too low to be worth its loads.
  const int64_t rest = p.m % kern.mr;
  rows = rest == 0 || rest >= 4 || p.m > 8 * kern.mr ? kern.mr : ceil_div(p.m, ceil_div(p.m, kern.mr));
  row_panels = ceil_div(p.m, rows);
  col_panels = ceil_div(p.n, kern.nr);
  choose_tasks();
  choose_packing();
}

// The cut may depend on the number of threads: no element of C does.
void Multiplication::choose_tasks() {
  const int64_t fit = std::max<int64_t>(kBlockA / (rows * depth * p.size), 1);
  int64_t least = ceil_div(row_panels, fit);
  if (p.c) {
    cols = std::min(col_panels, kMaxPacked / (depth * kern.nr * p.size)) * kern.nr;
  } else {  // a task takes the whole of k, and makes no more than fits into the scratch
    const int64_t packed_panels = kMaxPacked / (p.k * kern.nr * p.size), panels = kScratch / (rows * kern.nr * p.size);
    cols = std::clamp<int64_t>(std::min(packed_panels, panels), 1, col_panels) * kern.nr;
    least = std::clamp(ceil_div(p.m * std::min(cols, p.n) * p.size, kScratch), least, row_panels);
  }
  row_tasks = least;
  col_tasks = 1;
  if (threads == 1) return;
  // Rows where there are enough of them for even tasks.
  const int64_t most = threads * kTasksPerThread;
  row_tasks = round_up(std::max(least, std::min(row_panels / kLeastPanels, most) / threads * threads), threads);
  int64_t tallest = 0, widest = ceil_div(col_panels, threads) * kern.nr;
  for (int64_t t = 0; t < threads; ++t) {
    tallest = std::max(tallest, std::min(row_panels * (t + 1) / threads * rows, p.m) - row_panels * t / threads * rows);
  }
  // A packed B that all tasks share has to travel between the cores; in a small product reading A from L2 once for each
  // task costs less.
  const bool large = p.work() > kSharedWork || p.m * p.k * p.size > kSharedA;
  const bool share = p.bcs == 1 || col_panels < threads || large;
  if (share && row_panels >= 4 * threads && double(tallest) * double(p.n) < 1.04 * double(widest) * double(p.m)) return;
  // Else columns: a task that has all rows packs its own part of B.
  const int64_t panels = cols / kern.nr;
  col_tasks = std::min(panels, most);
  if (col_tasks > threads) col_tasks -= col_tasks % threads;
  row_tasks = col_tasks >= threads ? least : std::min(row_panels, std::max(least, ceil_div(2 * threads, col_tasks)));
}

// Packing pays from some number of panels of the other operand on; the numbers are measured.
void Multiplication::choose_packing() {
  // A panel of B that is not packed is read at its full width, see GemmBlock::padded.
  const bool narrow = p.n < kern.nr && p.n != kern.nr / 2;
  const int64_t ldb = p.brs * p.size;
  const bool aligned = (reinterpret_cast<uintptr_t>(p.b) | static_cast<uintptr_t>(ldb)) % 64 == 0;
  const int64_t panels = aligned ? (aliases(ldb, 4096) ? 12 : 32) : (aliases(ldb, 2048) ? 3 : 12);
  const bool pack = p.bcs != 1 || narrow || p.m > panels * kern.mr;
  pack_b = !pack ? PackB::kNo : row_tasks > 1 ? PackB::kShared : PackB::kOwn;
  const bool columns = p.ars == 1 && !aliases(p.acs * p.size, 2048);
  pack_a = cols / col_tasks > (p.acs == 1 ? 16 : columns ? 12 : 4) * kern.nr;
  span = p.k;
  if (pack_b == PackB::kNo && p.c) cols = p.n;
  if (pack_b == PackB::kShared && p.c) {
    span = std::clamp<int64_t>(kPacked / (depth * cols * p.size), 1, ceil_div(p.k, depth)) * depth;
  }
}

// Block after block of k, in each panel after panel.
void Multiplication::pack_shared(int64_t k0, int64_t k1, int64_t j0, int64_t j1) const {
  const int64_t group = (p.bcs == 1 ? kPackGroup : 1) * kern.nr, groups = ceil_div(j1 - j0, group);
  const int64_t width = round_up(j1 - j0, kern.nr);
  const double ns = kElementNs * double(k1 - k0) * double(j1 - j0);
  run(threads > 1, groups * ceil_div(k1 - k0, depth), ns, [&](int64_t task) {
    const int64_t k = k0 + task / groups * depth, j = j0 + task % groups * group;
    const int64_t kc = std::min(depth, k1 - k);
    kern.pack(kc, std::min(group, j1 - j), p.at_b(k, j), p.brs, p.bcs, kern.nr,
              packed + ((k - k0) * width + (j - j0) * kc) * p.size);
  });
}

// One task of the pass over the columns [j0, j1) and over k in [k0, k1). False where memory is short.
bool Multiplication::run_task(int64_t task, int64_t k0, int64_t k1, int64_t j0, int64_t j1) const {
  const int64_t row = task % row_tasks, col = task / row_tasks, panels = ceil_div(j1 - j0, kern.nr);
  const int64_t i = row_panels * row / row_tasks * rows, j = j0 + panels * col / col_tasks * kern.nr;
  GemmBlock g;
  g.m = std::min(row_panels * (row + 1) / row_tasks * rows, p.m) - i;
  g.n = std::min(j0 + panels * (col + 1) / col_tasks * kern.nr, j1) - j;
  if (g.m <= 0 || g.n <= 0) return true;
  const Workspace scratch(p.c ? 0 : g.m * g.n * p.size, std::nothrow);
  char* const c = p.c ? p.at_c(i, j) : scratch.get();
  if (!c) return false;
  const int64_t ldc = p.c ? p.ldc : p.by_columns ? g.m : g.n;
  g.rows = rows;
  g.padded = pack_b != PackB::kNo;
  g.c = c;
  g.crs = p.by_columns ? 1 : ldc;
  g.ccs = p.by_columns ? ldc : 1;
  const Workspace packed_a(pack_a ? round_up(g.m, rows) * depth * p.size : 0, std::nothrow);
  for (int64_t k = k0; k < k1; k += depth) {
    g.k = std::min(depth, k1 - k);
    if (packed_a.get()) {
      kern.pack(g.k, g.m, p.at_a(i, k), p.acs, p.ars, rows, packed_a.get());
      g.a = packed_a.get();
      g.ars = 1;
      g.acs = rows;
      g.a_panel = rows * g.k;
    } else {
      g.a = p.at_a(i, k);
      g.ars = p.ars;
      g.acs = p.acs;
      g.a_panel = rows * p.ars;
    }
    if (pack_b == PackB::kNo) {
      g.b = p.at_b(k, j);
      g.brs = p.brs;
      g.b_panel = kern.nr;
    } else {
      char* b =
          packed +
          (pack_b == PackB::kOwn ? (j - j0) * depth : (k - k0) * round_up(j1 - j0, kern.nr) + (j - j0) * g.k) * p.size;
      if (pack_b == PackB::kOwn) kern.pack(g.k, g.n, p.at_b(k, j), p.brs, p.bcs, kern.nr, b);
      g.b = b;
      g.brs = kern.nr;
      g.b_panel = kern.nr * g.k;
    }
    g.accumulate = p.accumulate || k > 0;
    g.bias = k + g.k == p.k ? p.at_bias(i, j) : nullptr;
    const FlushSubnormals flush;
    kern.block(g);
  }
  if (k1 == p.k) p.finish(i, j, g.m, g.n, c, ldc);
  return true;
}

void Multiplication::run_all() {
  const int64_t packed_depth = pack_b == PackB::kNo ? 0 : pack_b == PackB::kOwn ? depth : std::min(p.k, span);
  const Workspace workspace(cols * packed_depth * p.size);
  packed = workspace.get();
  std::atomic<bool> out_of_memory = false;  // a task must not throw
  for (int64_t j0 = 0; j0 < p.n; j0 += cols) {
    const int64_t j1 = std::min(j0 + cols, p.n);
    for (int64_t k0 = 0; k0 < p.k; k0 += span) {
      const int64_t k1 = std::min(k0 + span, p.k);
      if (pack_b == PackB::kShared) pack_shared(k0, k1, j0, j1);
      const double share = double(k1 - k0) / double(p.k) * double(j1 - j0) / double(p.n);
      run(threads > 1, row_tasks * col_tasks, share * p.work() * kWorkNs, [&](int64_t task) {
        if (!run_task(task, k0, k1, j0, j1)) out_of_memory = true;
      });
    }
  }
  if (out_of_memory) throw std::bad_alloc();
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

void gemm(const GemmArgs& args) {
  if (args.m <= 0 || args.n <= 0) return;
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
            args.hook};
  // The stride of a dimension of one element is free.
  if (p.m == 1) p.ars = 1;
  if (p.n == 1) p.bcs = 1;
  if (p.k == 1) p.acs = p.brs = 1;
  Product q = p.transposed();
  const bool empty = p.k <= 0, vector = is_vector(p), vector_t = is_vector(q);
  const Workspace whole(p.c || !(empty || vector || vector_t) ? 0 : p.m * p.n * p.size);
  if (whole.get()) p.c = q.c = whole.get(), p.ldc = q.ldc = p.n;
  if (empty) return single ? fill<float>(p) : fill<double>(p);
  if (vector || vector_t) return multiply_vector(vector ? p : q, kern);
  const bool swap = p.m > 1 && p.n > 1 && cost(q, kern) < cost(p, kern);
  Multiplication(swap ? q : p, kern).run_all();
}

}  // namespace tg

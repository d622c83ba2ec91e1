// The blocked product: which operand to pack, how to cut the work into cache blocks and tasks.
#include <atomic>

#include "ops/gemm_product.h"
#include "ops/subnormals.h"

namespace tg {
namespace {

constexpr int64_t kBlockA = 352 << 10;   // most bytes of A in a task: they stay in L2
constexpr int64_t kPacked = 2 << 20;     // bytes of B packed at a time, unless one block is more
constexpr int64_t kMaxPacked = 8 << 20;  // most bytes of a packed block of B
constexpr int64_t kPackGroup = 4;        // panels packed together, for longer runs of memory
constexpr int64_t kTasksPerThread = 4;   // at most, for an even load
constexpr int64_t kLeastPanels = 4;      // of a task, or the rounding to panels makes them uneven
// Multiply-adds of float32, or bytes of A, from which tasks share a B that must be transposed.
constexpr double kSharedWork = 1 << 27;
constexpr int64_t kSharedA = 1 << 20;
constexpr int64_t kScratch = 128 << 10;  // most bytes of a part of a C that is not stored

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
    if (j == 0) p.add_a(kern, i, g.m, k, g.k);
    if (i == 0) p.add_b(kern, j, g.n, k, g.k);
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

}  // namespace

void multiply_blocks(const Product& p, const GemmKernels& kern) { Multiplication(p, kern).run_all(); }

}  // namespace tg

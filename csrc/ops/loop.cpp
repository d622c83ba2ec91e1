// The loop under every elementwise op: coalesced dimensions, tiles, packing of strided operands, threads.
#include "ops/loop.h"

#include <cstdlib>
#include <utility>

#include "ops/cost.h"
#include "ops/stream.h"
#include "threads/parallel.h"

namespace tg {
namespace {

constexpr int64_t kTile = 2048;        // elements packed at a time
constexpr int64_t kShortRow = 256;     // shorter rows are worth joining
constexpr int64_t kSquare = 16;        // rows of a tile where an operand is transposed: a cache line of it
constexpr int64_t kLongRow = 1 << 14;  // tiles of few long rows end here, so that threads can share them

enum class Reads { kInPlace, kPacked, kPackedOnce };

// Operand 0 is the output. Strides in bytes, dimensions from the innermost out.
struct Operand {
  char* base = nullptr;  // null: not read
  DType dtype = DType::Bool;
  int64_t item = 0;
  int64_t stride[Dims::kMaxRank];
  Reads reads = Reads::kInPlace;
};

struct Loop {
  ElementwiseKernel kernel;  // null: out = in[0]
  int operands = 1, rank = 0;
  Operand operand[kMaxOperands + 1];
  int64_t size[Dims::kMaxRank];
  int64_t rows = 1, cols = 1;  // of a tile
  bool joined = false;         // a tile is one run of the kernel, else each of its rows
  int64_t tiles[2] = {1, 1};   // along the two inner dimensions
  double ns;                   // of a tile

  int64_t outer() const;
  void choose_tiles(double element_ns);
  void run(int64_t begin, int64_t end) const;
  void run_tile(char* const* p, int64_t m, int64_t n, char (*packed)[kTile * sizeof(double)], bool first) const;
};

// Drops dimensions of size 1, puts them into the order of the output's memory, and joins neighbours that every operand
// walks as one.
void set_dimensions(Loop& l, const Tensor& out, std::span<const Tensor* const> in) {
  l.operands = 1 + static_cast<int>(in.size());
  Dims strides[kMaxOperands + 1];
  for (int k = 0; k < l.operands; ++k) {
    const Tensor* t = k == 0 ? &out : in[static_cast<size_t>(k - 1)];
    if (!t) continue;
    Operand& o = l.operand[k];
    o.base = t->data<char>();
    o.dtype = t->dtype();
    o.item = static_cast<int64_t>(itemsize(t->dtype()));
    strides[k] = broadcast_strides(t->shape(), t->strides(), out.shape());
  }
  int order[Dims::kMaxRank], dims = 0;
  for (int d = out.rank() - 1; d >= 0; --d) {
    if (out.size(d) == 1) continue;
    int at = dims++;
    for (; at > 0 && std::abs(out.strides()[order[at - 1]]) > std::abs(out.strides()[d]); --at)
      order[at] = order[at - 1];
    order[at] = d;
  }
  for (int i = 0; i < dims; ++i) {
    const int d = order[i], last = l.rank - 1;
    bool joins = last >= 0;
    for (int k = 0; k < l.operands && joins; ++k) {
      const Operand& o = l.operand[k];
      joins = !o.base || strides[k][d] * o.item == o.stride[last] * l.size[last];
    }
    if (joins) {
      l.size[last] *= out.size(d);
      continue;
    }
    l.size[l.rank] = out.size(d);
    for (int k = 0; k < l.operands; ++k) {
      l.operand[k].stride[l.rank] = l.operand[k].base ? strides[k][d] * l.operand[k].item : 0;
    }
    ++l.rank;
  }
  for (; l.rank < 2; ++l.rank) {
    l.size[l.rank] = 1;
    for (int k = 0; k < l.operands; ++k) l.operand[k].stride[l.rank] = l.rank == 0 ? l.operand[k].item : 0;
  }
}

int64_t Loop::outer() const {
  int64_t n = 1;
  for (int d = 2; d < rank; ++d) n *= size[d];
  return n;
}

void Loop::choose_tiles(double element_ns) {
  bool transposed = false, strided = false;
  joined = size[0] < kShortRow && size[1] > 1;
  for (int k = 0; k < operands; ++k) {
    Operand& o = operand[k];
    if (!o.base) continue;
    const bool unit = o.stride[0] == o.item, once = o.stride[0] == 0 && k > 0;
    const bool flat = o.stride[1] == o.stride[0] * size[0];
    if ((unit || once) && (flat || !joined)) {
      element_ns += once ? 0 : kByteNs * static_cast<double>(o.item);
      continue;
    }
    o.reads = joined && k > 0 && o.stride[1] == 0 ? Reads::kPackedOnce : Reads::kPacked;
    element_ns += kPackNs;
    strided = true;
    transposed |= !unit && !once && size[1] >= 4 && o.stride[1] != 0 && std::abs(o.stride[1]) < std::abs(o.stride[0]);
  }
  if (joined) {
    cols = size[0];
    rows = kTile / cols;
  } else {
    rows = transposed ? kSquare : 1;
    cols = strided ? kTile / rows : kLongRow;
  }
  rows = std::min(rows, size[1]);
  cols = std::min(cols, size[0]);
  tiles[0] = (size[0] + cols - 1) / cols;
  tiles[1] = (size[1] + rows - 1) / rows;
  ns = element_ns * static_cast<double>(rows * cols);
}

// m rows of n elements at p[0..operands).
void Loop::run_tile(char* const* p, int64_t m, int64_t n, char (*packed)[kTile * sizeof(double)], bool first) const {
  const PackKernel* const pack = kernels().pack;
  const Operand& out = operand[0];
  if (!kernel) {
    const Operand& x = operand[1];
    return pack[static_cast<int>(x.dtype)](m, n, p[1], x.stride[1], x.stride[0], p[0], out.stride[1]);
  }
  const void* in[kMaxOperands];
  int64_t step[kMaxOperands], row[kMaxOperands + 1];
  for (int k = 1; k < operands; ++k) {
    const Operand& o = operand[k];
    in[k - 1] = p[k];
    step[k - 1] = o.reads != Reads::kInPlace || o.stride[0] != 0;
    row[k] = o.stride[1];
    if (o.reads == Reads::kInPlace) continue;
    row[k] = n * o.item;
    in[k - 1] = packed[k];
    if (o.reads == Reads::kPackedOnce && !first) continue;
    pack[static_cast<int>(o.dtype)](m, n, p[k], o.stride[1], o.stride[0], packed[k], row[k]);
  }
  const bool direct = out.reads == Reads::kInPlace;
  char* to = direct ? p[0] : packed[0];
  row[0] = direct ? out.stride[1] : n * out.item;
  if (joined) {
    kernel(m * n, to, in, step);
  } else {
    for (int64_t i = 0; i < m; ++i) {
      kernel(n, to + i * row[0], in, step);
      for (int k = 1; k < operands; ++k) in[k - 1] = static_cast<const char*>(in[k - 1]) + row[k];
    }
  }
  if (!direct) {
    kernels().unpack[static_cast<int>(out.dtype)](m, n, packed[0], row[0], p[0], out.stride[1], out.stride[0]);
  }
}

// Tiles [begin, end), counted along dimension 0, then 1, then the outer ones.
void Loop::run(int64_t begin, int64_t end) const {
  alignas(64) char packed[kMaxOperands + 1][kTile * sizeof(double)];
  int64_t index[Dims::kMaxRank] = {};
  char* p[kMaxOperands + 1];
  for (int k = 0; k < operands; ++k) p[k] = operand[k].base;
  int64_t rest = begin;
  const auto count = [&](int d) { return d < 2 ? tiles[d] : size[d]; };
  const auto step = [&](int d) { return d == 0 ? cols : d == 1 ? rows : 1; };
  for (int d = 0; d < rank; ++d) {
    index[d] = rest % count(d);
    rest /= count(d);
    for (int k = 0; k < operands; ++k) p[k] += index[d] * step(d) * operand[k].stride[d];
  }
  bool first = true;  // in this place of the outer dimensions
  for (int64_t i = begin; i < end; ++i) {
    run_tile(p, std::min(rows, size[1] - index[1] * rows), std::min(cols, size[0] - index[0] * cols), packed, first);
    first = false;
    for (int d = 0; d < rank; ++d) {
      first |= d >= 2;
      for (int k = 0; k < operands; ++k) p[k] += step(d) * operand[k].stride[d];
      if (++index[d] < count(d)) break;
      for (int k = 0; k < operands; ++k) p[k] -= index[d] * step(d) * operand[k].stride[d];
      index[d] = 0;
    }
  }
}

void run_tiled(ElementwiseKernel kernel, const Tensor& out, std::span<const Tensor* const> in, double ns) {
  Loop l;
  l.kernel = kernel;
  set_dimensions(l, out, in);
  l.choose_tiles(ns);
  const int64_t tiles = l.outer() * l.tiles[1] * l.tiles[0];
  parallel_split(tiles, l.ns, 1, [&](int64_t begin, int64_t end) { l.run(begin, end); });
}

bool is_aligned(const char* p) { return reinterpret_cast<uintptr_t>(p) % 64 == 0; }

// All operands contiguous, or single values: no dimensions.
bool run_flat(ElementwiseKernel kernel, const Tensor& out, std::span<const Tensor* const> in, double ns) {
  const int64_t n = out.numel();
  const void* base[kMaxOperands] = {};
  int64_t step[kMaxOperands] = {}, bytes[kMaxOperands] = {};
  if (!out.contiguous()) return false;
  const auto item = static_cast<int64_t>(itemsize(out.dtype()));
  int64_t all_bytes = item;
  for (size_t k = 0; k < in.size(); ++k) {
    if (!in[k]) continue;
    const Tensor& t = *in[k];
    const bool one = t.numel() == 1;
    if (!one && !(t.contiguous() && t.shape() == out.shape())) return false;
    base[k] = t.data();
    step[k] = one && n != 1 ? 0 : 1;
    bytes[k] = step[k] * static_cast<int64_t>(itemsize(t.dtype()));
    all_bytes += bytes[k];
  }
  const bool in_place = std::find(base, base + in.size(), out.data()) != base + in.size();
  const bool stream = pays_to_stream(n * item) && !in_place && is_aligned(out.data<char>());
  parallel_split(n, ns + kByteNs * static_cast<double>(all_bytes), 64, [&](int64_t begin, int64_t end) {
    const void* from[kMaxOperands];
    for (size_t k = 0; k < in.size(); ++k) from[k] = static_cast<const char*>(base[k]) + begin * bytes[k];
    char* const to = out.data<char>() + begin * item;
    if (stream) return run_streaming(kernel, end - begin, to, item, from, step, bytes, in.size());
    kernel(end - begin, to, from, step);
  });
  return true;
}

}  // namespace

void run_loop(const Elementwise& e, const Tensor& out) {
  const std::span in(e.in, e.operands);
  if (out.numel() == 0 || run_flat(e.kernel, out, in, e.ns)) return;
  run_tiled(e.kernel, out, in, e.ns);
}

void run_copy(const Tensor& dst, const Tensor& src) {
  const Tensor* const operands[] = {&src};
  const ElementwiseKernel cast = kernels().cast[static_cast<int>(src.dtype())][static_cast<int>(dst.dtype())];
  if (dst.numel() == 0 || run_flat(cast, dst, operands, 0)) return;
  // Between places of one dtype it is enough to pack, if what is packed goes to contiguous rows.
  const bool rows = dst.dtype() == src.dtype() && dst.contiguous();
  run_tiled(rows ? nullptr : cast, dst, operands, 0);
}

void fill_zero(const Tensor& t) {
  constexpr int64_t kBytes = 256 << 10;
  parallel_for(t.numel() * static_cast<int64_t>(itemsize(t.dtype())), kBytes, [&](int64_t begin, int64_t end) {
    std::memset(t.data<char>() + begin, 0, static_cast<size_t>(end - begin));
  });
}

}  // namespace tg

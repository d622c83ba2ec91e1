// The loop under every elementwise op: coalesced dimensions, packing of strided operands, threads.
#include "ops/loop.h"

#include "threads/parallel.h"

namespace tg {
namespace {

constexpr int64_t kGrain = 32768;  // elements per task
constexpr int64_t kBlock = 512;    // elements packed at a time

// Operand 0 is the output. Strides in bytes, dimensions from the innermost out.
struct Loop {
  int operands = 1, rank = 0;
  char* base[kMaxOperands + 1] = {};
  size_t item[kMaxOperands + 1] = {};
  int64_t size[Dims::kMaxRank];
  int64_t stride[kMaxOperands + 1][Dims::kMaxRank];
};

void strided_load(void* dst, const char* src, int64_t stride, int64_t n, size_t item) {
  const auto copy = [&](auto tag) {
    using T = decltype(tag);
    for (int64_t i = 0; i < n; ++i) static_cast<T*>(dst)[i] = *reinterpret_cast<const T*>(src + i * stride);
  };
  item == 1 ? copy(uint8_t{}) : item == 4 ? copy(uint32_t{}) : copy(uint64_t{});
}

void strided_store(char* dst, const void* src, int64_t stride, int64_t n, size_t item) {
  const auto copy = [&](auto tag) {
    using T = decltype(tag);
    for (int64_t i = 0; i < n; ++i) *reinterpret_cast<T*>(dst + i * stride) = static_cast<const T*>(src)[i];
  };
  item == 1 ? copy(uint8_t{}) : item == 4 ? copy(uint32_t{}) : copy(uint64_t{});
}

// Drops dimensions of size 1 and joins neighbours that every operand walks as one.
Loop make_loop(const Tensor& out, std::span<const Tensor* const> in) {
  Loop l;
  l.operands = 1 + static_cast<int>(in.size());
  Dims strides[kMaxOperands + 1];
  for (int k = 0; k < l.operands; ++k) {
    const Tensor* t = k == 0 ? &out : in[static_cast<size_t>(k - 1)];
    if (!t) continue;
    l.base[k] = t->data<char>();
    l.item[k] = itemsize(t->dtype());
    strides[k] = broadcast_strides(t->shape(), t->strides(), out.shape());
  }
  for (int d = out.rank() - 1; d >= 0; --d) {
    if (out.size(d) == 1) continue;
    const int last = l.rank - 1;
    bool joins = last >= 0;
    for (int k = 0; k < l.operands && joins; ++k) {
      if (!l.base[k]) continue;
      joins = strides[k][d] * static_cast<int64_t>(l.item[k]) == l.stride[k][last] * l.size[last];
    }
    if (joins) {
      l.size[last] *= out.size(d);
      continue;
    }
    l.size[l.rank] = out.size(d);
    for (int k = 0; k < l.operands; ++k) {
      l.stride[k][l.rank] = l.base[k] ? strides[k][d] * static_cast<int64_t>(l.item[k]) : 0;
    }
    ++l.rank;
  }
  if (l.rank == 0) {
    l.rank = 1;
    l.size[0] = 1;
    for (int k = 0; k < l.operands; ++k) l.stride[k][0] = static_cast<int64_t>(l.item[k]);
  }
  return l;
}

// One inner run of n elements at p[0..operands).
void run_inner(ElementwiseKernel kernel, const Loop& l, char* const* p, int64_t n) {
  const void* in[kMaxOperands];
  int64_t step[kMaxOperands];
  bool direct = l.stride[0][0] == static_cast<int64_t>(l.item[0]);
  for (int k = 1; k < l.operands; ++k) {
    const int64_t s = l.stride[k][0];
    in[k - 1] = p[k];
    step[k - 1] = s == 0 ? 0 : 1;
    direct &= s == 0 || s == static_cast<int64_t>(l.item[k]);
  }
  if (direct) return kernel(n, p[0], in, step);
  alignas(64) char packed[kMaxOperands + 1][kBlock * sizeof(double)];
  for (int64_t at = 0; at < n; at += kBlock) {
    const int64_t m = std::min(kBlock, n - at);
    for (int k = 1; k < l.operands; ++k) {
      if (!step[k - 1]) continue;
      strided_load(packed[k], p[k] + at * l.stride[k][0], l.stride[k][0], m, l.item[k]);
      in[k - 1] = packed[k];
    }
    kernel(m, packed[0], in, step);
    strided_store(p[0] + at * l.stride[0][0], packed[0], l.stride[0][0], m, l.item[0]);
  }
}

// Outer positions [begin, end), counted over all dimensions but the innermost.
void run_outer(ElementwiseKernel kernel, const Loop& l, int64_t begin, int64_t end) {
  int64_t index[Dims::kMaxRank] = {};
  char* p[kMaxOperands + 1];
  for (int k = 0; k < l.operands; ++k) p[k] = l.base[k];
  int64_t rest = begin;
  for (int d = 1; d < l.rank; ++d) {
    index[d] = rest % l.size[d];
    rest /= l.size[d];
    for (int k = 0; k < l.operands; ++k) p[k] += index[d] * l.stride[k][d];
  }
  for (int64_t i = begin; i < end; ++i) {
    run_inner(kernel, l, p, l.size[0]);
    for (int d = 1; d < l.rank; ++d) {
      for (int k = 0; k < l.operands; ++k) p[k] += l.stride[k][d];
      if (++index[d] < l.size[d]) break;
      index[d] = 0;
      for (int k = 0; k < l.operands; ++k) p[k] -= l.size[d] * l.stride[k][d];
    }
  }
}

bool run_flat(ElementwiseKernel kernel, const Tensor& out, std::span<const Tensor* const> in) {
  const int64_t n = out.numel();
  const void* base[kMaxOperands] = {};
  int64_t step[kMaxOperands] = {}, bytes[kMaxOperands] = {};
  if (!out.contiguous()) return false;
  for (size_t k = 0; k < in.size(); ++k) {
    if (!in[k]) continue;
    const Tensor& t = *in[k];
    const bool one = t.numel() == 1;
    if (!one && !(t.contiguous() && t.shape() == out.shape())) return false;
    base[k] = t.data();
    step[k] = one && n != 1 ? 0 : 1;
    bytes[k] = step[k] * static_cast<int64_t>(itemsize(t.dtype()));
  }
  if (n <= kGrain) {
    kernel(n, out.data(), base, step);
    return true;
  }
  const auto item = static_cast<int64_t>(itemsize(out.dtype()));
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    const void* from[kMaxOperands];
    for (size_t k = 0; k < in.size(); ++k) from[k] = static_cast<const char*>(base[k]) + begin * bytes[k];
    kernel(end - begin, out.data<char>() + begin * item, from, step);
  });
  return true;
}

// dst[i][j] = src[j][i] by tiles, so that neither side is walked across cache lines.
template <class T>
void transpose_tiles(const Loop& l, int64_t begin, int64_t end) {
  constexpr int64_t kTile = 32;
  const int64_t cols = l.size[0];
  for (int64_t i0 = begin; i0 < end; i0 += kTile) {
    const int64_t i1 = std::min(i0 + kTile, end);
    for (int64_t j0 = 0; j0 < cols; j0 += kTile) {
      const int64_t j1 = std::min(j0 + kTile, cols);
      for (int64_t i = i0; i < i1; ++i) {
        T* dst = reinterpret_cast<T*>(l.base[0] + i * l.stride[0][1]);
        const char* src = l.base[1] + i * l.stride[1][1];
        for (int64_t j = j0; j < j1; ++j) dst[j] = *reinterpret_cast<const T*>(src + j * l.stride[1][0]);
      }
    }
  }
}

}  // namespace

void run_loop(ElementwiseKernel kernel, const Tensor& out, std::span<const Tensor> in) {
  const Tensor* operands[kMaxOperands];
  for (size_t k = 0; k < in.size(); ++k) operands[k] = &in[k];
  run_loop(kernel, out, std::span(operands, in.size()));
}

void run_loop(ElementwiseKernel kernel, const Tensor& out, std::span<const Tensor* const> in) {
  if (out.numel() == 0 || run_flat(kernel, out, in)) return;
  const Loop l = make_loop(out, in);
  int64_t outer = 1;
  for (int d = 1; d < l.rank; ++d) outer *= l.size[d];
  if (outer > 1) {
    const int64_t grain = std::max<int64_t>(1, kGrain / l.size[0]);
    return parallel_for(outer, grain, [&](int64_t b, int64_t e) { run_outer(kernel, l, b, e); });
  }
  parallel_for(l.size[0], kGrain, [&](int64_t b, int64_t e) {
    char* p[kMaxOperands + 1];
    for (int k = 0; k < l.operands; ++k) p[k] = l.base[k] + b * l.stride[k][0];
    run_inner(kernel, l, p, e - b);
  });
}

void run_copy(const Tensor& dst, const Tensor& src) {
  if (dst.numel() == 0) return;
  if (dst.dtype() == src.dtype()) {
    const Tensor* const operands[] = {&src};
    const Loop l = make_loop(dst, operands);
    const auto item = static_cast<int64_t>(l.item[0]);
    if (l.rank == 2 && l.stride[0][0] == item && l.stride[1][1] == item && l.stride[1][0] > item) {
      const int64_t grain = std::max<int64_t>(32, kGrain / l.size[0] / 32 * 32);
      return parallel_for(l.size[1], grain, [&](int64_t b, int64_t e) {
        item == 1   ? transpose_tiles<uint8_t>(l, b, e)
        : item == 4 ? transpose_tiles<uint32_t>(l, b, e)
                    : transpose_tiles<uint64_t>(l, b, e);
      });
    }
  }
  run_loop(kernels().cast[static_cast<int>(src.dtype())][static_cast<int>(dst.dtype())], dst, std::span(&src, 1));
}

}  // namespace tg

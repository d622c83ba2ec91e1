// Matrix products: register tiles, the loop over a block of C, packing into panels.
#pragma once
#include "kernels/gemv.inl.h"
#include "kernels/kernel_table.h"
#include "kernels/transpose.inl.h"
#include "kernels/vec.h"

namespace tg {
namespace {

// A register tile is kTileRows rows by two vectors: the accumulators, two vectors of B and one broadcast element of A
// fill the 32 registers of AVX-512, or the 16 of AVX2 and SSE.
#if defined(__AVX512F__)
constexpr int kTileRows = 14;
#elif defined(__AVX2__)
constexpr int kTileRows = 6;
#else
constexpr int kTileRows = 4;
#endif
// An FMA of AVX-512 can broadcast its operand from memory in the same instruction, if the address has no index. Up to
// half of the rows use that, to spare instructions (it counts where two threads share a core); the other rows keep the
// element in a register, to spare loads.
#if defined(__AVX512F__)
constexpr bool kReload = true;
#else
constexpr bool kReload = false;
#endif
constexpr int kFetchC = 32;  // steps of k before the end of a tile
template <class T>
constexpr int kTileCols = 2 * Vec<T>::size;

// C = old + A B + bias for one tile; `old` and `bias` are zeros (with row stride 0) where there is nothing to add.
template <class T>
struct GemmTile {
  int64_t k;
  const T* a;
  int64_t ars, acs;
  const T* b;
  int64_t brs;
  const T* old;
  int64_t ldold;
  const T* bias;
  T* c;
  int64_t ldc;
  const T* soon;  // what is read after this tile, and is fetched meanwhile: a cache line or none in each step of k
  bool fetch;
};

template <class T, int rows, int vecs>
TG_INLINE void store_tile(const Vec<T> (&acc)[rows][vecs], const GemmTile<T>& t) {
  using V = Vec<T>;
  V bias[vecs];
#pragma GCC unroll 2
  for (int v = 0; v < vecs; ++v) bias[v] = V::load(t.bias + v * V::size);
  const T* old = t.old;
  T* c = t.c;
  const int64_t ldold = t.ldold, ldc = t.ldc;
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < vecs; ++v) (V::load(old + v * V::size) + acc[i][v] + bias[v]).store(c + v * V::size);
    c += ldc;
    old += ldold;
  }
}

// How A lies: anyhow, with its rows one element apart (ars is 1), or in packed panels of kTileRows.
enum ALayout { kAnyA, kColumnsA, kPackedA };

// Every element of C is one chain of fma over k, whatever its place: the sum is the same in every tile shape.
template <class T, int rows, int vecs, ALayout layout = kAnyA>
void gemm_tile(const GemmTile<T>& t) {
  using V = Vec<T>;
  constexpr bool unit = layout != kAnyA, packed = layout == kPackedA;
  // One pointer for three rows, hidden from the compiler, which would otherwise keep an address for each row and spill.
  constexpr int rows_per_pointer = unit ? rows : 3, groups = (rows - 1) / rows_per_pointer + 1;
  int64_t row = t.ars * int64_t(sizeof(T)), next_a = t.acs * int64_t(sizeof(T)), next_b = t.brs * int64_t(sizeof(T));
  asm("" : "+r"(row), "+r"(next_a), "+r"(next_b));  // or the loop is built twice, the other for strides of one element
  if (unit) row = sizeof(T);
  if (packed) next_a = rows * sizeof(T);
  const char* a[groups];
  a[0] = (const char*)t.a;
#pragma GCC unroll 8
  for (int g = 1; g < groups; ++g) {
    a[g] = a[g - 1] + 3 * row;
    asm("" : "+r"(a[g]));
  }
  const char *b = (const char*)t.b, *soon = (const char*)t.soon;
  const int64_t fetch = t.fetch ? 64 : 0;
  const int64_t ahead_a = 16 * next_a, ahead_b = 16 * next_b;  // far enough for L3
  const char* c = (const char*)t.c;
  const int64_t next_c = t.ldc * int64_t(sizeof(T));
  int64_t step_c = t.k < kFetchC ? next_c : 0;
  V acc[rows][vecs];
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
    if (!packed) __builtin_prefetch(t.c + i * t.ldc);
#pragma GCC unroll 2
    for (int v = 0; v < vecs; ++v) acc[i][v] = V(T(0));
  }
  for (int64_t k = t.k; k > 0; --k) {
    V bv[vecs];
#pragma GCC unroll 2
    for (int v = 0; v < vecs; ++v) {
      bv[v] = V::load((const T*)b + v * V::size);
      __builtin_prefetch(b + ahead_b + v * kVecBytes);
    }
    if (unit) {
      __builtin_prefetch(a[0] + ahead_a);
    } else {
      __builtin_prefetch(soon, 0, 2);
      soon += fetch;
    }
    if (packed) {  // the rows of C one by one shortly before they are due: all at once they would stop the loads
      step_c = k == kFetchC ? next_c : step_c;
#pragma GCC unroll 2
      for (int v = 0; v < vecs; ++v) __builtin_prefetch(c + v * kVecBytes);
      c += step_c;
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      const char* p = a[i / rows_per_pointer] + (i % rows_per_pointer) * row;
      constexpr int reload = unit ? 2 : rows_per_pointer;
      V ai(*(const T*)p);
#pragma GCC unroll 2
      for (int v = 0; v < vecs; ++v) {
        if (kReload && v > 0 && i % reload == 0) {
          asm volatile("" ::: "memory");
          ai = V(*(const T*)p);
        }
        acc[i][v] = fma(ai, bv[v], acc[i][v]);
      }
    }
#pragma GCC unroll 8
    for (int g = 0; g < groups; ++g) a[g] += next_a;
    b += next_b;
  }
  store_tile(acc, t);
}

template <class T>
struct GemmTileTable {
  void (*tile[kTileRows][2])(const GemmTile<T>&);
};
template <class T, int... i>
constexpr GemmTileTable<T> make_gemm_tiles(Indices<i...>) {
  return {{{gemm_tile<T, i + 1, 1>, gemm_tile<T, i + 1, 2>}...}};
}
template <class T>
constexpr GemmTileTable<T> kGemmTiles = make_gemm_tiles<T>(MakeIndices<kTileRows>::type{});

template <class T>
TG_INLINE void add_and_store(Vec<T> x, T* c, int64_t n, bool accumulate, const T* bias) {
  using V = Vec<T>;
  if (n >= V::size) {
    if (accumulate) x = V::load(c) + x;
    if (bias) x += V::load(bias);
    x.store(c);
  } else {
    if (accumulate) x = V::load_partial(c, n) + x;
    if (bias) x += V::load_partial(bias, n);
    x.store_partial(c, n);
  }
}

// Moves a finished tile to C where the kernel could not store: too narrow, or C is stored by columns.
template <class T>
void gemm_move_tile(const T* tile, int64_t rows, int64_t cols, const GemmBlock& g, int64_t i, int64_t j) {
  using V = Vec<T>;
  T* c = (T*)g.c + i * g.crs + j * g.ccs;
  const T* bias = (const T*)g.bias;
  if (g.ccs == 1) {
    for (int64_t r = 0; r < rows; ++r, tile += kTileCols<T>, c += g.crs) {
      for (int64_t v = 0; v < cols; v += V::size) {
        add_and_store(V::load(tile + v), c + v, cols - v, g.accumulate, bias ? bias + j + v : nullptr);
      }
    }
    return;
  }
  for (int64_t v = 0; v < cols; v += V::size) {
    for (int64_t r = 0; r < rows; r += V::size) {
      V x[V::size];
      load_transposed(V::size, V::size, tile + r * kTileCols<T> + v, kTileCols<T>, x);
#pragma GCC unroll 16
      for (int q = 0; q < V::size; ++q) {
        if (v + q >= cols) break;
        add_and_store(x[q], c + (v + q) * g.ccs + r, rows - r, g.accumulate, bias ? bias + i + r : nullptr);
      }
    }
  }
}

template <class T>
void gemm_block(const GemmBlock& g) {
  constexpr int64_t nr = kTileCols<T>, size = Vec<T>::size;
  static const T zeros[nr] = {};
  T buffer[(kTileRows + size) * nr];  // moving a tile reads whole vectors, past its last row
  // Then the next rows of A are a few lines for each step of k; many short streams are more than the hardware follows.
  const bool contiguous = g.acs == 1 && g.ars == g.k;
  GemmTile<T> t;
  t.k = g.k, t.ars = g.ars, t.acs = g.acs, t.brs = g.brs;
  for (int64_t j = 0; j < g.n; j += nr) {
    const int64_t cols = g.n - j < nr ? g.n - j : nr;
    const int64_t vecs = cols > size ? 2 : 1;
    const T* b = (const T*)g.b + j / nr * g.b_panel;
    // A panel of B that is not padded is taken so that it ends with the matrix; its first columns are computed in vain.
    const int64_t skip = g.padded ? 0 : vecs * size - cols;
    const bool direct = g.ccs == 1 && cols == vecs * size;
    t.b = b - skip;
    for (int64_t i = 0; i < g.m; i += g.rows) {
      const int64_t rows = g.m - i < g.rows ? g.m - i : g.rows;
      t.a = (const T*)g.a + i / g.rows * g.a_panel;
      t.fetch = contiguous && j == 0 && i + g.rows < g.m;
      t.soon = t.fetch ? t.a + g.a_panel : t.a;
      t.c = direct ? (T*)g.c + i * g.crs + j : buffer;
      t.ldc = direct ? g.crs : nr;
      t.old = direct && g.accumulate ? t.c : zeros;
      t.ldold = direct && g.accumulate ? g.crs : 0;
      t.bias = direct && g.bias ? (const T*)g.bias + j : zeros;
      const auto tile = rows < kTileRows || vecs < 2 || g.ars != 1 ? kGemmTiles<T>.tile[rows - 1][vecs - 1]
                        : g.acs == kTileRows                       ? gemm_tile<T, kTileRows, 2, kPackedA>
                                                                   : gemm_tile<T, kTileRows, 2, kColumnsA>;
      tile(t);
      if (!direct) gemm_move_tile(buffer + skip, rows, cols, g, i, j);
    }
  }
}

// Rows [begin, end) of a panel of k rows from contiguous elements: `readable` may be read, width are wanted.
template <class T>
TG_INLINE void pack_rows(int64_t begin, int64_t end, int64_t k, int64_t readable, int64_t width, const T* src,
                         int64_t rs, T* dst) {
  using V = Vec<T>;
  for (int64_t p = begin; p < end; ++p) {
    const T* s = src + p * rs;
    T* d = dst + p * width;
    for (int64_t j = 0; j < width; j += V::size) {
      const V x = load_upto(s + j, readable - j < 0 ? 0 : readable - j);
      // A store past the width is overwritten by the next rows.
      if ((k - p) * width - j >= V::size) {
        x.store(d + j);
      } else {
        x.store_partial(d + j, width - j);
      }
    }
  }
}
// One panel from `cols` columns of contiguous elements.
template <class T>
void pack_cols(int64_t k, int64_t cols, int64_t width, const T* src, int64_t cs, T* dst) {
  using V = Vec<T>;
  for (int64_t p = 0; p < k; p += V::size) {
    for (int64_t j = 0; j < width; j += V::size) {
      const int64_t room = width - j;
      V x[V::size];
      load_transposed(cols - j, k - p, src + j * cs + p, cs, x);
      T* d = dst + p * width + j;
      if (room >= V::size && k - p >= V::size) {
#pragma GCC unroll 16
        for (int q = 0; q < V::size; ++q) x[q].store(d + q * width);
      } else {
#pragma GCC unroll 16
        for (int q = 0; q < V::size; ++q) {
          if (p + q < k) x[q].store_partial(d + q * width, room < V::size ? room : V::size);
        }
      }
    }
  }
}

template <class T>
void gemm_pack(int64_t k, int64_t n, const void* src, int64_t rs, int64_t cs, int64_t width, void* dst) {
  constexpr int64_t depth = 8;  // rows taken across all panels, so that memory is read along the rows
  const T* s = (const T*)src;
  T* d = (T*)dst;
  if (cs == 1) {
    for (int64_t p = 0; p < k; p += depth) {
      for (int64_t j = 0; j < n; j += width) {
        pack_rows(p, k - p < depth ? k : p + depth, k, n - j, width, s + j, rs, d + j * k);
      }
    }
    return;
  }
  for (int64_t j = 0; j < n; j += width, s += width * cs, d += width * k) {
    const int64_t cols = n - j < width ? n - j : width;
    if (rs == 1) {
      pack_cols(k, cols, width, s, cs, d);
    } else {
      for (int64_t p = 0; p < k; ++p) {
        for (int64_t q = 0; q < width; ++q) d[p * width + q] = q < cols ? s[p * rs + q * cs] : T(0);
      }
    }
  }
}

template <class T>
constexpr GemmKernels kGemm = {kTileRows, kTileCols<T>, gemm_block<T>, gemm_pack<T>, gemm_dot<T>, gemm_row<T>};
constexpr GemmKernels kGemmF32 = kGemm<float>, kGemmF64 = kGemm<double>;

}  // namespace
}  // namespace tg

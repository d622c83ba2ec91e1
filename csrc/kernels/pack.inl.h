// Packing: a strided, broadcast or transposed block of elements to rows of contiguous ones.
#pragma once
#include "kernels/kernel_table.h"
#include "kernels/transpose.inl.h"
#include "kernels/vec.h"

namespace tg {
namespace {

// Reads and writes of T at any address, for any dtype of that size.
template <class T>
TG_INLINE T element(const char* p) {
  T x;
  __builtin_memcpy(&x, p, sizeof(T));
  return x;
}
template <class T>
TG_INLINE void set_element(char* p, T x) {
  __builtin_memcpy(p, &x, sizeof(T));
}

template <class T, int first, int... I>
TG_INLINE Vec<T> every_second(Vec<T> a, Vec<T> b, Indices<I...>) {
  return __builtin_shufflevector(a.v, b.v, (first + 2 * I)...);
}

template <class T>
TG_INLINE void pack_row(int64_t n, const char* src, char* dst) {
  using V = Vec<T>;
  const T* s = (const T*)src;
  T* d = (T*)dst;
  for (; n >= V::size; n -= V::size, s += V::size, d += V::size) V::load(s).store(d);
  if (n > 0) V::load_partial(s, n).store_partial(d, n);
}

// Four at a time by hand: the compiler does not unroll the loop.
template <class T>
TG_INLINE void pack_scalars(int64_t n, const char* src, int64_t step, char* dst) {
  constexpr int64_t item = sizeof(T);
  for (; n >= 4; n -= 4, src += 4 * step, dst += 4 * item) {
    const T a = element<T>(src), b = element<T>(src + step);
    const T c = element<T>(src + 2 * step), d = element<T>(src + 3 * step);
    set_element(dst, a);
    set_element(dst + item, b);
    set_element(dst + 2 * item, c);
    set_element(dst + 3 * item, d);
  }
  for (int64_t i = 0; i < n; ++i) set_element(dst + i * item, element<T>(src + i * step));
}

// Every second element: two loads and a shuffle. The last vector would read one element too many.
template <class T>
TG_INLINE void pack_second(int64_t n, const char* src, char* dst) {
  using V = Vec<T>;
  using Lanes = typename MakeIndices<V::size>::type;
  const T* s = (const T*)src;
  T* d = (T*)dst;
  for (; n > V::size; n -= V::size, s += 2 * V::size, d += V::size) {
    every_second<T, 0>(V::load(s), V::load(s + V::size), Lanes{}).store(d);
  }
  pack_scalars<T>(n, (const char*)s, 2 * sizeof(T), (char*)d);
}

// dst[r][c] = src[r]: a vector of the value over each row, running over into the next ones, which come later.
template <class T>
TG_INLINE void pack_spread(int64_t rows, int64_t cols, const char* src, int64_t row, char* dst, int64_t dst_row) {
  using V = Vec<T>;
  for (int64_t r = 0; r < rows; ++r, src += row, dst += dst_row) {
    const T value = element<T>(src);
    const V all(value);
    T* d = (T*)dst;
    int64_t left = cols;
    const bool room = dst_row == cols * (int64_t)sizeof(T) && (rows - r - 1) * cols >= V::size;
    for (; left >= V::size || (room && left > 0); left -= V::size, d += V::size) all.store(d);
    if (left > 0) all.store_partial(d, left);
  }
}

template <int64_t item>
struct FloatOfSize {
  using type = float;
};
template <>
struct FloatOfSize<8> {
  using type = double;
};
// A square of vectors at a time.
template <class T>
TG_INLINE void pack_transposed(int64_t rows, int64_t cols, const char* src, int64_t col, char* dst, int64_t dst_row) {
  using V = Vec<T>;
  constexpr int n = V::size;
  for (int64_t r = 0; r < rows; r += n) {
    const int64_t height = rows - r < n ? rows - r : n;
    for (int64_t c = 0; c < cols; c += n) {
      const int64_t width = cols - c < n ? cols - c : n;
      const char* s = src + r * (int64_t)sizeof(T) + c * col;
      char* d = dst + r * dst_row + c * (int64_t)sizeof(T);
      V x[n];
      load_transposed(width, height, (const T*)s, col / (int64_t)sizeof(T), x);
      if (height == n && width == n) {
        for (int i = 0; i < n; ++i) x[i].store((T*)(d + i * dst_row));
      } else {
        for (int i = 0; i < height; ++i) x[i].store_partial((T*)(d + i * dst_row), width);
      }
    }
  }
}

template <class T>
void pack(int64_t rows, int64_t cols, const char* src, int64_t row, int64_t col, char* dst, int64_t dst_row) {
  constexpr int64_t item = sizeof(T);
  if (row == 0 && rows > 1 && dst_row == cols * item) {  // one row, again and again
    pack<T>(1, cols, src, 0, col, dst, dst_row);
    const int64_t all = rows * dst_row;
    for (int64_t done = dst_row; done < all; done *= 2)
      __builtin_memcpy(dst + done, dst, (2 * done < all ? done : all - done));
    return;
  }
  if (col == 0) return pack_spread<T>(rows, cols, src, row, dst, dst_row);
  if constexpr (item > 1) {  // as floats, of which AVX2 picks from two vectors in one instruction
    using Float = typename FloatOfSize<item>::type;
    if (row == item && rows >= 4 && cols >= 4) return pack_transposed<Float>(rows, cols, src, col, dst, dst_row);
  }
  if (cols < rows && cols <= 16 && col != item) {  // down the columns: the longer loop inside
    for (int64_t c = 0; c < cols; ++c) {
      for (int64_t r = 0; r < rows; ++r) {
        set_element(dst + r * dst_row + c * item, element<T>(src + r * row + c * col));
      }
    }
    return;
  }
  for (int64_t r = 0; r < rows; ++r, src += row, dst += dst_row) {
    if (col == item) {
      pack_row<T>(cols, src, dst);
    } else if (col == 2 * item) {
      pack_second<T>(cols, src, dst);
    } else {
      pack_scalars<T>(cols, src, col, dst);
    }
  }
}

// dst[r][c] = src[r][c], from contiguous rows to strided places.
template <class T>
void unpack(int64_t rows, int64_t cols, const char* src, int64_t src_row, char* dst, int64_t row, int64_t col) {
  for (int64_t r = 0; r < rows; ++r, src += src_row, dst += row) {
    for (int64_t c = 0; c < cols; ++c) set_element(dst + c * col, element<T>(src + c * (int64_t)sizeof(T)));
  }
}

constexpr void fill_pack(KernelTable& table) {
  table.pack[kBool] = table.pack[kUInt8] = pack<uint8_t>;
  table.pack[kInt32] = table.pack[kFloat32] = pack<int32_t>;
  table.pack[kInt64] = table.pack[kFloat64] = pack<int64_t>;
  table.unpack[kBool] = table.unpack[kUInt8] = unpack<uint8_t>;
  table.unpack[kInt32] = table.unpack[kFloat32] = unpack<int32_t>;
  table.unpack[kInt64] = table.unpack[kFloat64] = unpack<int64_t>;
}

}  // namespace
}  // namespace tg

// Vec<T>: one SIMD register of lanes over GCC/Clang vector extensions; the width follows the ISA level of the file.
#pragma once
#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/inline.h"

namespace tg {
namespace {

#if defined(__AVX512F__)
constexpr int kVecBytes = 64;
#elif defined(__AVX2__)
constexpr int kVecBytes = 32;
#else
constexpr int kVecBytes = 16;
#endif

// The integers of a lane's size; integer arithmetic is done unsigned, so that overflow wraps.
template <class T>
struct Lane;
template <>
struct Lane<float> {
  using Int = int32_t;
  using Arith = float;
};
template <>
struct Lane<double> {
  using Int = int64_t;
  using Arith = double;
};
template <>
struct Lane<int32_t> {
  using Int = int32_t;
  using Arith = uint32_t;
};
template <>
struct Lane<int64_t> {
  using Int = int64_t;
  using Arith = uint64_t;
};
template <>
struct Lane<uint8_t> {
  using Int = int8_t;
  using Arith = uint8_t;
};
template <>
struct Lane<int8_t> {
  using Int = int8_t;
  using Arith = uint8_t;
};

template <class T, int bytes = kVecBytes>
struct RawVec {
  typedef T type __attribute__((vector_size(bytes)));
};

// b where either is nan. The plain form may become a comparison and a blend; the instructions do the same.
template <class R>
TG_INLINE R raw_max(R a, R b) {
  return a > b ? a : b;
}
template <class R>
TG_INLINE R raw_min(R a, R b) {
  return a < b ? a : b;
}
#if defined(__x86_64__)
using RawFloat = RawVec<float>::type;
using RawDouble = RawVec<double>::type;
#if defined(__AVX512F__)
TG_INLINE RawFloat raw_max(RawFloat a, RawFloat b) {
  return (RawFloat)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b);
}
TG_INLINE RawFloat raw_min(RawFloat a, RawFloat b) {
  return (RawFloat)_mm512_maskz_min_ps(0xffff, (__m512)a, (__m512)b);
}
TG_INLINE RawDouble raw_max(RawDouble a, RawDouble b) {
  return (RawDouble)_mm512_maskz_max_pd(0xff, (__m512d)a, (__m512d)b);
}
TG_INLINE RawDouble raw_min(RawDouble a, RawDouble b) {
  return (RawDouble)_mm512_maskz_min_pd(0xff, (__m512d)a, (__m512d)b);
}
#elif defined(__AVX2__)
TG_INLINE RawFloat raw_max(RawFloat a, RawFloat b) { return (RawFloat)_mm256_max_ps((__m256)a, (__m256)b); }
TG_INLINE RawFloat raw_min(RawFloat a, RawFloat b) { return (RawFloat)_mm256_min_ps((__m256)a, (__m256)b); }
TG_INLINE RawDouble raw_max(RawDouble a, RawDouble b) { return (RawDouble)_mm256_max_pd((__m256d)a, (__m256d)b); }
TG_INLINE RawDouble raw_min(RawDouble a, RawDouble b) { return (RawDouble)_mm256_min_pd((__m256d)a, (__m256d)b); }
#else
TG_INLINE RawFloat raw_max(RawFloat a, RawFloat b) { return (RawFloat)_mm_max_ps((__m128)a, (__m128)b); }
TG_INLINE RawFloat raw_min(RawFloat a, RawFloat b) { return (RawFloat)_mm_min_ps((__m128)a, (__m128)b); }
TG_INLINE RawDouble raw_max(RawDouble a, RawDouble b) { return (RawDouble)_mm_max_pd((__m128d)a, (__m128d)b); }
TG_INLINE RawDouble raw_min(RawDouble a, RawDouble b) { return (RawDouble)_mm_min_pd((__m128d)a, (__m128d)b); }
#endif
#endif

template <int... I>
struct Indices {};
template <int n, int... I>
struct MakeIndices : MakeIndices<n - 1, n - 1, I...> {};
template <int... I>
struct MakeIndices<0, I...> {
  using type = Indices<I...>;
};

template <int first, class R, int... I>
TG_INLINE auto take(R v, Indices<I...>) {
  return __builtin_shufflevector(v, v, (first + I)...);
}
// The first or second half of a raw vector of n lanes.
template <int n, class R>
TG_INLINE auto low_half(R v) {
  return take<0>(v, typename MakeIndices<n / 2>::type{});
}
template <int n, class R>
TG_INLINE auto high_half(R v) {
  return take<n / 2>(v, typename MakeIndices<n / 2>::type{});
}
template <class R, int... I>
TG_INLINE auto join(R low, R high, Indices<I...>) {
  return __builtin_shufflevector(low, high, I...);
}

// The outcome of a comparison, lane by lane; Int is the signed integer of the lane's size. Under AVX-512 the compiler
// keeps it in a mask register.
template <class Int>
struct Mask {
  using raw = typename RawVec<Int>::type;
  raw v;
  TG_INLINE friend Mask operator&(Mask a, Mask b) { return {a.v & b.v}; }
  TG_INLINE friend Mask operator|(Mask a, Mask b) { return {a.v | b.v}; }
  TG_INLINE friend Mask operator^(Mask a, Mask b) { return {a.v ^ b.v}; }
  TG_INLINE friend Mask operator!(Mask a) { return {~a.v}; }
  TG_INLINE friend bool any(Mask m) {
#if defined(__AVX512F__)
    return _mm512_movepi8_mask((__m512i)m.v) != 0;
#elif defined(__AVX2__)
    return _mm256_movemask_epi8((__m256i)m.v) != 0;
#elif defined(__x86_64__)
    return _mm_movemask_epi8((__m128i)m.v) != 0;
#else
    typename RawVec<int64_t>::type q = (typename RawVec<int64_t>::type)m.v;
    return (q[0] | q[1]) != 0;
#endif
  }
  TG_INLINE friend bool all(Mask m) { return !any(!m); }
};

template <class T>
struct Vec {
  static constexpr int size = kVecBytes / int(sizeof(T));
  using raw = typename RawVec<T>::type;
  using arith = typename RawVec<typename Lane<T>::Arith>::type;
  using Int = typename Lane<T>::Int;
  using mask = Mask<Int>;
  struct __attribute__((packed, may_alias)) Unaligned {
    raw v;
  };
  raw v;

  Vec() = default;
  TG_INLINE Vec(raw r) : v(r) {}
  TG_INLINE Vec(T scalar) : v(scalar - raw{}) {}

  TG_INLINE static Vec load(const T* p) { return reinterpret_cast<const Unaligned*>(p)->v; }
  TG_INLINE void store(T* p) const { reinterpret_cast<Unaligned*>(p)->v = v; }
  // The first n lanes, 0 <= n <= size; the others are 0 (load) or left alone (store). Memory past n is not touched.
  TG_INLINE static Vec load_partial(const T* p, int64_t n);
  TG_INLINE void store_partial(T* p, int64_t n) const;

  TG_INLINE T operator[](int i) const { return v[i]; }
  TG_INLINE friend Vec operator+(Vec a, Vec b) { return (raw)((arith)a.v + (arith)b.v); }
  TG_INLINE friend Vec operator-(Vec a, Vec b) { return (raw)((arith)a.v - (arith)b.v); }
  TG_INLINE friend Vec operator*(Vec a, Vec b) { return (raw)((arith)a.v * (arith)b.v); }
  TG_INLINE friend Vec operator/(Vec a, Vec b) { return a.v / b.v; }
  TG_INLINE friend Vec operator-(Vec a) { return (raw) - (arith)a.v; }
  TG_INLINE Vec& operator+=(Vec b) { return *this = *this + b; }
  TG_INLINE Vec& operator-=(Vec b) { return *this = *this - b; }
  TG_INLINE Vec& operator*=(Vec b) { return *this = *this * b; }
  // Integers only.
  TG_INLINE friend Vec operator&(Vec a, Vec b) { return a.v & b.v; }
  TG_INLINE friend Vec operator|(Vec a, Vec b) { return a.v | b.v; }
  TG_INLINE friend Vec operator^(Vec a, Vec b) { return a.v ^ b.v; }
  TG_INLINE friend Vec operator<<(Vec a, int bits) { return (raw)((arith)a.v << bits); }
  TG_INLINE friend Vec operator>>(Vec a, int bits) { return a.v >> bits; }  // keeps the sign of signed lanes
  TG_INLINE friend Vec shift_right_zero(Vec a, int bits) { return (raw)((arith)a.v >> bits); }  // zeros come in

  TG_INLINE friend mask operator<(Vec a, Vec b) { return {(typename mask::raw)(a.v < b.v)}; }
  TG_INLINE friend mask operator<=(Vec a, Vec b) { return {(typename mask::raw)(a.v <= b.v)}; }
  TG_INLINE friend mask operator>(Vec a, Vec b) { return {(typename mask::raw)(a.v > b.v)}; }
  TG_INLINE friend mask operator>=(Vec a, Vec b) { return {(typename mask::raw)(a.v >= b.v)}; }
  TG_INLINE friend mask operator==(Vec a, Vec b) { return {(typename mask::raw)(a.v == b.v)}; }
  TG_INLINE friend mask operator!=(Vec a, Vec b) { return {(typename mask::raw)(a.v != b.v)}; }
  TG_INLINE friend Vec select(mask m, Vec a, Vec b) { return m.v ? a.v : b.v; }

  // One rounding where the ISA has FMA, else two.
  TG_INLINE friend Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
  // One instruction each; when either operand is nan the result is b.
  TG_INLINE friend Vec max(Vec a, Vec b) { return raw_max(a.v, b.v); }
  TG_INLINE friend Vec min(Vec a, Vec b) { return raw_min(a.v, b.v); }
};

// The same bits under another lane type.
template <class To, class From>
TG_INLINE Vec<To> bitcast(Vec<From> x) {
  return (typename Vec<To>::raw)x.v;
}

// Lane values to a type of the same size (float <-> int32, double <-> int64); to integer truncates, values out of range
// give any integer.
template <class To, class From>
TG_INLINE Vec<To> convert(Vec<From> x) {
  return __builtin_convertvector(x.v, typename Vec<To>::raw);
}
// float <-> double: a Vec<float> is two Vec<double>, low lanes first.
TG_INLINE Vec<double> widen(RawVec<float, kVecBytes / 2>::type half) {
#if defined(__AVX512F__)
  return (Vec<double>::raw)_mm512_maskz_cvtps_pd(0xff, (__m256)half);
#elif defined(__AVX2__)
  return (Vec<double>::raw)_mm256_cvtps_pd((__m128)half);
#else
  return __builtin_convertvector(half, Vec<double>::raw);
#endif
}
TG_INLINE Vec<double> widen_low(Vec<float> x) { return widen(low_half<Vec<float>::size>(x.v)); }
TG_INLINE Vec<double> widen_high(Vec<float> x) { return widen(high_half<Vec<float>::size>(x.v)); }
TG_INLINE Vec<float> narrow(Vec<double> low, Vec<double> high) {
  using Half = RawVec<float, kVecBytes / 2>::type;
  return join(__builtin_convertvector(low.v, Half), __builtin_convertvector(high.v, Half),
              MakeIndices<Vec<float>::size>::type{});
}

template <class T>
TG_INLINE Vec<T> abs(Vec<T> x) {
  return select(x < Vec<T>(0), -x, x);
}
template <>
TG_INLINE Vec<float> abs(Vec<float> x) {
  return bitcast<float>(bitcast<int32_t>(x) & Vec<int32_t>(INT32_MAX));
}
template <>
TG_INLINE Vec<double> abs(Vec<double> x) {
  return bitcast<double>(bitcast<int64_t>(x) & Vec<int64_t>(INT64_MAX));
}
template <>
TG_INLINE Vec<uint8_t> abs(Vec<uint8_t> x) {
  return x;
}

TG_INLINE Vec<float> sqrt(Vec<float> x) {
  // maskz: the plain form warns of an uninitialised value in GCC 12.
#if defined(__AVX512F__)
  return (Vec<float>::raw)_mm512_maskz_sqrt_ps(0xffff, (__m512)x.v);
#elif defined(__AVX2__)
  return (Vec<float>::raw)_mm256_sqrt_ps((__m256)x.v);
#elif defined(__x86_64__)
  return (Vec<float>::raw)_mm_sqrt_ps((__m128)x.v);
#else
  for (int i = 0; i < x.size; ++i) x.v[i] = __builtin_sqrtf(x.v[i]);
  return x;
#endif
}
TG_INLINE Vec<double> sqrt(Vec<double> x) {
#if defined(__AVX512F__)
  return (Vec<double>::raw)_mm512_maskz_sqrt_pd(0xff, (__m512d)x.v);
#elif defined(__AVX2__)
  return (Vec<double>::raw)_mm256_sqrt_pd((__m256d)x.v);
#elif defined(__x86_64__)
  return (Vec<double>::raw)_mm_sqrt_pd((__m128d)x.v);
#else
  for (int i = 0; i < x.size; ++i) x.v[i] = __builtin_sqrt(x.v[i]);
  return x;
#endif
}

// Horizontal reductions: halves are combined until one lane is left, always in the same order.
template <int n, class T, class R, class F>
TG_INLINE T fold_lanes(R v, F f) {
  if constexpr (n == 1) {
    return v[0];
  } else {
    return fold_lanes<n / 2, T>(f(low_half<n>(v), high_half<n>(v)), f);
  }
}
template <class T>
TG_INLINE T hsum(Vec<T> x) {
  using A = typename Lane<T>::Arith;
  return T(fold_lanes<Vec<T>::size, A>((typename Vec<T>::arith)x.v, [](auto a, auto b) { return a + b; }));
}
template <class T>
TG_INLINE T hmax(Vec<T> x) {
  return fold_lanes<Vec<T>::size, T>(x.v, [](auto a, auto b) { return a > b ? a : b; });
}
template <class T>
TG_INLINE T hmin(Vec<T> x) {
  return fold_lanes<Vec<T>::size, T>(x.v, [](auto a, auto b) { return a < b ? a : b; });
}

#if defined(__AVX512F__)
TG_INLINE uint64_t first_lanes(int64_t n) { return _bzhi_u64(~uint64_t(0), (uint32_t)n); }
#elif defined(__AVX2__)
alignas(32) constexpr int32_t kFirstLanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
// 4 * n bytes set, n <= 8.
TG_INLINE __m256i first_words(int64_t n) { return _mm256_loadu_si256((const __m256i*)(kFirstLanes + 8 - n)); }
#endif

template <class T>
TG_INLINE Vec<T> Vec<T>::load_partial(const T* p, int64_t n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return (raw)_mm512_maskz_loadu_epi32((__mmask16)first_lanes(n), p);
  if constexpr (sizeof(T) == 8) return (raw)_mm512_maskz_loadu_epi64((__mmask8)first_lanes(n), p);
  if constexpr (sizeof(T) == 1) return (raw)_mm512_maskz_loadu_epi8(first_lanes(n), p);
#else
#if defined(__AVX2__)
  if constexpr (sizeof(T) == 4) return (raw)_mm256_maskload_epi32((const int*)p, first_words(n));
  if constexpr (sizeof(T) == 8) return (raw)_mm256_maskload_epi64((const long long*)p, first_words(2 * n));
#endif
  // Lane by lane for the wide types: a small copy loop through memory costs several times as much.
  if constexpr (size <= 4) {
    raw lanes = {};
    if (n > 0) lanes[0] = p[0];
    if (n > 1) lanes[1] = p[1];
    if constexpr (size > 2) {
      if (n > 2) lanes[2] = p[2];
      if (n > 3) lanes[3] = p[3];
    }
    return lanes;
  }
  alignas(kVecBytes) T lanes[size] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
#endif
}
template <class T>
TG_INLINE void Vec<T>::store_partial(T* p, int64_t n) const {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) _mm512_mask_storeu_epi32(p, (__mmask16)first_lanes(n), (__m512i)v);
  if constexpr (sizeof(T) == 8) _mm512_mask_storeu_epi64(p, (__mmask8)first_lanes(n), (__m512i)v);
  if constexpr (sizeof(T) == 1) _mm512_mask_storeu_epi8(p, first_lanes(n), (__m512i)v);
#else
#if defined(__AVX2__)
  if constexpr (sizeof(T) == 4) return _mm256_maskstore_epi32((int*)p, first_words(n), (__m256i)v);
  if constexpr (sizeof(T) == 8) return _mm256_maskstore_epi64((long long*)p, first_words(2 * n), (__m256i)v);
#endif
  if constexpr (size <= 4) {
    if (n > 0) p[0] = v[0];
    if (n > 1) p[1] = v[1];
    if constexpr (size > 2) {
      if (n > 2) p[2] = v[2];
      if (n > 3) p[3] = v[3];
    }
    return;
  }
  alignas(kVecBytes) T lanes[size];
  store(lanes);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
#endif
}

template <class T>
struct Iota {
  T value[Vec<T>::size];
  constexpr Iota() : value() {
    for (int i = 0; i < Vec<T>::size; ++i) value[i] = T(i);
  }
};
template <class T>
constexpr Iota<T> kIota;

// The vector at p of which `left` elements exist (any number above size means all); the other lanes are 0, or `fill`.
template <class T>
TG_INLINE Vec<T> load_upto(const T* p, int64_t left) {
  return left >= Vec<T>::size ? Vec<T>::load(p) : Vec<T>::load_partial(p, left);
}
template <class T>
TG_INLINE Vec<T> load_upto(const T* p, int64_t left, T fill) {
  if (left >= Vec<T>::size) return Vec<T>::load(p);
  return select(Vec<T>::load(kIota<T>.value) < Vec<T>(T(left)), Vec<T>::load_partial(p, left), Vec<T>(fill));
}
template <class T>
TG_INLINE void store_upto(T* p, int64_t left, Vec<T> v) {
  left >= Vec<T>::size ? v.store(p) : v.store_partial(p, left);
}
// The last n elements of the row x[0..end) and `fill`, in any lanes; 0 < n < size. Whole loads where the row allows.
template <class T>
TG_INLINE Vec<T> load_tail(const T* x, int64_t end, int64_t n, T fill) {
  if (end < Vec<T>::size) return load_upto(x, n, fill);
  const auto before = Vec<T>::load(kIota<T>.value) < Vec<T>(T(Vec<T>::size - n));
  return select(before, Vec<T>(fill), Vec<T>::load(x + end - Vec<T>::size));
}

}  // namespace
}  // namespace tg

// Dropout by Philox4x32-10 (Salmon et al. 2011), sixteen counters at a time.
#pragma once
#include "kernels/kernel_table.h"
#include "kernels/vec.h"

namespace tg {
namespace {

// The 64-bit products of the low words of the lanes; what their high words hold does not matter.
TG_INLINE Vec<int64_t> multiply_low_words(Vec<int64_t> a, Vec<int64_t> b) {
#if defined(__AVX512F__)
  return (Vec<int64_t>::raw)_mm512_maskz_mul_epu32(0xff, (__m512i)a.v, (__m512i)b.v);
#elif defined(__AVX2__)
  return (Vec<int64_t>::raw)_mm256_mul_epu32((__m256i)a.v, (__m256i)b.v);
#elif defined(__x86_64__)
  return (Vec<int64_t>::raw)_mm_mul_epu32((__m128i)a.v, (__m128i)b.v);
#else
  return (a & Vec<int64_t>(UINT32_MAX)) * (b & Vec<int64_t>(UINT32_MAX));
#endif
}

// One counter per lane, its four words in the low halves of four vectors.
struct Philox {
  Vec<int64_t> x[4];

  TG_INLINE void run(uint64_t key) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const Vec<int64_t> a = multiply_low_words(x[0], Vec<int64_t>(0xd2511f53));
      const Vec<int64_t> b = multiply_low_words(x[2], Vec<int64_t>(0xcd9e8d57));
      x[0] = shift_right_zero(b, 32) ^ x[1] ^ Vec<int64_t>(k0);
      x[2] = shift_right_zero(a, 32) ^ x[3] ^ Vec<int64_t>(k1);
      x[1] = b;
      x[3] = a;
      k0 += 0x9e3779b9u;
      k1 += 0xbb67ae85u;
    }
  }
};

constexpr int kDropoutLanes = 16;  // counters of a group
constexpr int kDropoutGroup = 4 * kDropoutLanes;
alignas(64) constexpr int64_t kEvenCounters[] = {0, 2, 4, 6, 8, 10, 12, 14};

TG_INLINE void drop(Mask<int32_t> keep, Vec<float> scale, const float* x, float* y) {
  select(keep, Vec<float>::load(x) * scale, Vec<float>(0)).store(y);
}
TG_INLINE void drop(Mask<int32_t> keep, Vec<double> scale, const double* x, double* y) {
  using Wide = Vec<double>::mask;
  constexpr int n = Vec<int32_t>::size;
  const Wide low = {__builtin_convertvector(low_half<n>(keep.v), Wide::raw)};
  const Wide high = {__builtin_convertvector(high_half<n>(keep.v), Wide::raw)};
  select(low, Vec<double>::load(x) * scale, Vec<double>(0)).store(y);
  select(high, Vec<double>::load(x + n / 2) * scale, Vec<double>(0)).store(y + n / 2);
}

// 64 elements: they take the first words of 16 consecutive 64-bit counters, then their second, third and fourth words,
// which spares a transposition. The counters run in two sets, the even and the odd ones.
template <class T>
TG_INLINE void drop_group(uint64_t key, int64_t group, Vec<int32_t> threshold, Vec<T> scale, const T* x, T* y) {
  const Vec<int32_t> sign(INT32_MIN);  // makes the signed comparison one of unsigned words
  const uint64_t first = (uint64_t)group * kDropoutLanes;
  for (int lane = 0; lane < kDropoutLanes; lane += Vec<int32_t>::size) {
    Philox even, odd;
    even.x[0] = Vec<int64_t>::load(kEvenCounters) + Vec<int64_t>((uint32_t)first + lane);  // no carry: 16 divides first
    odd.x[0] = even.x[0] + Vec<int64_t>(1);
    even.x[1] = odd.x[1] = Vec<int64_t>(int64_t(first >> 32));
    even.x[2] = odd.x[2] = even.x[3] = odd.x[3] = Vec<int64_t>(0);
    even.run(key);
    odd.run(key);
    for (int j = 0; j < 4; ++j) {
      const Vec<int64_t> words = (even.x[j] & Vec<int64_t>(UINT32_MAX)) | (odd.x[j] << 32);
      const Mask<int32_t> keep = (bitcast<int32_t>(words) ^ sign) >= (threshold ^ sign);
      drop(keep, scale, x + j * kDropoutLanes + lane, y + j * kDropoutLanes + lane);
    }
  }
}

template <class T>
void dropout(int64_t n, const void* x_, void* y_, int64_t first, const DropoutArgs* a) {
  const T* x = static_cast<const T*>(x_);
  T* y = static_cast<T*>(y_);
  const Vec<int32_t> threshold((int32_t)(uint32_t)(a->p * 0x1p32));
  const Vec<T> scale(T(1 / (1 - a->p)));
  int64_t at = 0, group = first / kDropoutGroup;
  for (; at + kDropoutGroup <= n; at += kDropoutGroup) drop_group<T>(a->key, group++, threshold, scale, x + at, y + at);
  if (at == n) return;
  T rest[kDropoutGroup] = {};
  for (int64_t i = 0; i < n - at; ++i) rest[i] = x[at + i];
  drop_group<T>(a->key, group, threshold, scale, rest, rest);
  for (int64_t i = 0; i < n - at; ++i) y[at + i] = rest[i];
}

constexpr RandomKernels kRandom = {{dropout<float>, dropout<double>}};

}  // namespace
}  // namespace tg

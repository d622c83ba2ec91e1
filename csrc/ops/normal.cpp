// Normal fills: Box-Muller over blocks of 16, with the digits of PyTorch's CPU kernels.
#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <string>

#include "ops/generator.h"
#include "threads/parallel.h"

#define TG_INLINE inline __attribute__((always_inline))

namespace tg {
namespace {

// Values per step of the float32 Box-Muller: eight blocks of 16.
constexpr int kPairs = 64;

template <bool kFma>
TG_INLINE float fma(float a, float b, float c) {
  if constexpr (kFma) return __builtin_fmaf(a, b, c);
  return static_cast<float>(static_cast<double>(a) * b + c);
}

// log of a normal positive float, Cephes logf: the operations and coefficients of PyTorch's kernel, for its very
// digits.
template <bool kFma>
TG_INLINE float log_cephes(float a) {
  const uint32_t bits = std::bit_cast<uint32_t>(a);
  const uint32_t mantissa = (bits & 0x007fffffu) | 0x3f000000u;  // m in [0.5, 1)
  const float m = std::bit_cast<float>(mantissa);
  const uint32_t small = -static_cast<uint32_t>(mantissa < 0x3f3504f3u);  // m < sqrt(1/2); a mask: branches stay scalar
  const float e =
      static_cast<float>(static_cast<int32_t>(bits >> 23) - 126) - std::bit_cast<float>(small & 0x3f800000u);
  const float x = (m - 1.0f) + std::bit_cast<float>(small & mantissa);
  const float z = x * x;
  float y = 7.0376836292e-2f;
  y = fma<kFma>(y, x, -1.1514610310e-1f);
  y = fma<kFma>(y, x, 1.1676998740e-1f);
  y = fma<kFma>(y, x, -1.2420140846e-1f);
  y = fma<kFma>(y, x, 1.4249322787e-1f);
  y = fma<kFma>(y, x, -1.6668057665e-1f);
  y = fma<kFma>(y, x, 2.0000714765e-1f);
  y = fma<kFma>(y, x, -2.4999993993e-1f);
  y = fma<kFma>(y, x, 3.3333331174e-1f);
  y = fma<kFma>(y * x, z, e * -2.12194440e-4f);
  y = fma<kFma>(z, -0.5f, y);
  return fma<kFma>(e, 0.693359375f, x + y);
}

struct SinCos {
  float sin, cos;
};

// Cephes sinf and cosf for x in [0, 8192), likewise.
template <bool kFma>
TG_INLINE SinCos sincos_cephes(float x) {
  const int32_t octant = (static_cast<int32_t>(x * 1.27323954473516f) + 1) & ~1;
  const float k = static_cast<float>(octant);
  x = fma<kFma>(k, -0.78515625f, x);
  x = fma<kFma>(k, -2.4187564849853515625e-4f, x);
  x = fma<kFma>(k, -3.77489497744594108e-8f, x);
  const float z = x * x;
  float c = 2.443315711809948e-5f;
  c = fma<kFma>(c, z, -1.388731625493765e-3f);
  c = fma<kFma>(c, z, 4.166664568298827e-2f);
  c = fma<kFma>(c * z, z, z * -0.5f) + 1.0f;
  float s = -1.9515295891e-4f;
  s = fma<kFma>(s, z, 8.3321608736e-3f);
  s = fma<kFma>(s, z, -1.6666654611e-1f);
  s = fma<kFma>(s * z, x, x);
  const bool swap = (octant & 2) != 0;
  const uint32_t sin_sign = static_cast<uint32_t>(octant & 4) << 29;
  const uint32_t cos_sign = static_cast<uint32_t>(~(octant - 2) & 4) << 29;
  return {std::bit_cast<float>(std::bit_cast<uint32_t>(swap ? c : s) ^ sin_sign),
          std::bit_cast<float>(std::bit_cast<uint32_t>(swap ? s : c) ^ cos_sign)};
}

// Turns eight blocks of 16 uniforms (u1, then u2) into normals.
template <bool kFma>
TG_INLINE void box_muller_step(float* d, float mean, float std) {
  alignas(64) float r[kPairs], theta[kPairs], c[kPairs], s[kPairs];
  for (int b = 0; b < 8; ++b) {
    std::copy(d + 16 * b, d + 16 * b + 8, r + 8 * b);
    std::copy(d + 16 * b + 8, d + 16 * b + 16, theta + 8 * b);
  }
  for (int i = 0; i < kPairs; ++i) r[i] = -2.0f * log_cephes<kFma>(1.0f - r[i]);
  for (int i = 0; i < kPairs; ++i) r[i] = std::sqrt(r[i]);  // a loop of its own: -fno-math-errno vectorises it
  for (int i = 0; i < kPairs; ++i) {
    const SinCos v = sincos_cephes<kFma>(6.2831853071795864769f * theta[i]);
    c[i] = fma<kFma>(r[i] * v.cos, std, mean);
    s[i] = fma<kFma>(r[i] * v.sin, std, mean);
  }
  for (int b = 0; b < 8; ++b) {
    std::copy(c + 8 * b, c + 8 * b + 8, d + 16 * b);
    std::copy(s + 8 * b, s + 8 * b + 8, d + 16 * b + 8);
  }
}

template <bool kFma>
TG_INLINE void box_muller_loop(float* d, int64_t blocks, float mean, float std) {
  for (; blocks >= 8; blocks -= 8, d += 2 * kPairs) box_muller_step<kFma>(d, mean, std);
  if (blocks > 0) {
    float rest[2 * kPairs] = {};
    std::copy(d, d + 16 * blocks, rest);
    box_muller_step<kFma>(rest, mean, std);
    std::copy(rest, rest + 16 * blocks, d);
  }
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) void box_muller_avx2(float* d, int64_t blocks, float mean, float std) {
  box_muller_loop<true>(d, blocks, mean, std);
}
#endif

void box_muller(float* d, int64_t blocks, float mean, float std) {
#if defined(__x86_64__)
  static const bool has_fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (has_fma) return box_muller_avx2(d, blocks, mean, std);
#endif
#if defined(__aarch64__)
  box_muller_loop<true>(d, blocks, mean, std);
#else
  box_muller_loop<false>(d, blocks, mean, std);
#endif
}

void box_muller(double* d, int64_t blocks, double mean, double std) {
  for (; blocks > 0; --blocks, d += 16) {
    for (int j = 0; j < 8; ++j) {
      const double r = std::sqrt(-2.0 * std::log(1.0 - d[j]));
      const double theta = 2.0 * std::numbers::pi * d[j + 8];
      d[j] = std::fma(r * std::cos(theta), std, mean);
      d[j + 8] = std::fma(r * std::sin(theta), std, mean);
    }
  }
}

template <class T>
void checked_normal(Generator& g, T* out, int64_t n, double mean, double std, bool contiguous) {
  if (!(std >= 0)) throw std::invalid_argument("normal: expected std >= 0, got " + std::to_string(std));
  const std::lock_guard lock(g.mutex);
  if (n < 16 || !contiguous) {
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(std::fma(g.normal(), std, mean));
    return;
  }
  g.uniform(out, n);
  T tail[16];  // overwrites the last 16 when they are not a block of their own
  if (n % 16 != 0) g.uniform(tail, 16);
  constexpr double kNormalNs = 2;
  const T m = static_cast<T>(mean), s = static_cast<T>(std);
  parallel_for(
      n / 16, 1024, [=](int64_t begin, int64_t end) { box_muller(out + 16 * begin, end - begin, m, s); },
      16 * kNormalNs);
  if (n % 16 != 0) {
    box_muller(tail, 1, m, s);
    std::copy(tail, tail + 16, out + n - 16);
  }
}

}  // namespace

void normal(Generator& g, float* out, int64_t n, double mean, double std, bool contiguous) {
  checked_normal(g, out, n, mean, std, contiguous);
}
void normal(Generator& g, double* out, int64_t n, double mean, double std, bool contiguous) {
  checked_normal(g, out, n, mean, std, contiguous);
}

}  // namespace tg

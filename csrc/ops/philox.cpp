// Philox4x32-10: random words as a function of (key, index), for masks that do not depend on how work is cut.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "ops/generator.h"

#define TG_INLINE inline __attribute__((always_inline))

namespace tg {
namespace {

constexpr int kLanes = 16;  // counters worked on at a time
constexpr int kGroup = 4 * kLanes;

struct Words {
  uint32_t x0, x1, x2, x3;
};

TG_INLINE Words philox_rounds(Words x, uint32_t k0, uint32_t k1) {
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xd2511f53u} * x.x0, b = uint64_t{0xcd9e8d57u} * x.x2;
    x = {static_cast<uint32_t>(b >> 32) ^ x.x1 ^ k0, static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ x.x3 ^ k1, static_cast<uint32_t>(a)};
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return x;
}

// Words [kGroup * group, kGroup * (group + 1)) of the sequence of `key`: the first words of 16 consecutive 64-bit
// counters, then their second, third and fourth words, which spares a transposition.
TG_INLINE void philox_group(uint64_t key, uint64_t group, uint32_t* __restrict words) {
  const uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  const uint32_t low = static_cast<uint32_t>(group * kLanes), high = static_cast<uint32_t>(group * kLanes >> 32);
  for (uint32_t j = 0; j < kLanes; ++j) {
    const Words x = philox_rounds({low + j, high, 0, 0}, k0, k1);  // low is a multiple of 16: no carry
    words[j] = x.x0;
    words[kLanes + j] = x.x1;
    words[2 * kLanes + j] = x.x2;
    words[3 * kLanes + j] = x.x3;
  }
}

void group_any(uint64_t key, uint64_t group, uint32_t* words) { philox_group(key, group, words); }
#if defined(__x86_64__)
__attribute__((target("avx2"))) void group_avx2(uint64_t key, uint64_t group, uint32_t* words) {
  philox_group(key, group, words);
}
#endif

using GroupFunction = void (*)(uint64_t, uint64_t, uint32_t*);

GroupFunction group_function() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return group_avx2;
#endif
  return group_any;
}

// Calls use(words, count, at) for pieces of the words [first, first + n); `at` counts from 0.
template <class F>
TG_INLINE void for_words(uint64_t key, uint64_t first, int64_t n, F&& use) {
  static const GroupFunction fill = group_function();
  alignas(64) uint32_t words[kGroup];
  for (int64_t at = 0; at < n;) {
    const uint64_t word = first + static_cast<uint64_t>(at);
    const int offset = static_cast<int>(word % kGroup);
    const int count = static_cast<int>(std::min<int64_t>(kGroup - offset, n - at));
    fill(key, word / kGroup, words);
    use(words + offset, count, at);
    at += count;
  }
}

}  // namespace

void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  const Words x = philox_rounds({counter[0], counter[1], counter[2], counter[3]}, key[0], key[1]);
  out[0] = x.x0;
  out[1] = x.x1;
  out[2] = x.x2;
  out[3] = x.x3;
}

void philox_keep_mask(uint64_t key, uint64_t first, int64_t n, double p_drop, uint8_t* keep) {
  if (!(p_drop >= 0 && p_drop <= 1)) {
    throw std::invalid_argument("dropout: expected 0 <= p <= 1, got " + std::to_string(p_drop));
  }
  if (p_drop == 1) {
    std::fill(keep, keep + n, uint8_t{0});
    return;
  }
  const uint32_t threshold = static_cast<uint32_t>(p_drop * 0x1p32);
  for_words(key, first, n, [=](const uint32_t* words, int count, int64_t at) {
    for (int i = 0; i < count; ++i) keep[at + i] = words[i] >= threshold;
  });
}

void philox_uniform(uint64_t key, uint64_t first, int64_t n, float* out) {
  for_words(key, first, n, [=](const uint32_t* words, int count, int64_t at) {
    for (int i = 0; i < count; ++i) out[at + i] = static_cast<float>(static_cast<int32_t>(words[i] >> 8)) * 0x1p-24f;
  });
}

void philox_uniform(uint64_t key, uint64_t first, int64_t n, double* out) {
  for_words(key, 2 * first, 2 * n, [=](const uint32_t* words, int count, int64_t at) {
    for (int i = 0; i < count / 2; ++i) {
      const uint64_t bits = uint64_t{words[2 * i]} << 32 | words[2 * i + 1];
      out[at / 2 + i] = static_cast<double>(bits >> 11) * 0x1p-53;
    }
  });
}

}  // namespace tg

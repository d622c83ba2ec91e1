// Stores past the caches, for outputs that would only drive other data out of them.
#pragma once
#include <algorithm>
#include <cstdint>
#ifdef __SSE2__
#include <emmintrin.h>
#include <unistd.h>
#endif

#include "kernels/kernel_table.h"
#include "threads/pool.h"

namespace tg {

// Whether an output of so many bytes is better streamed. Measured with two threads and 2 MiB of L2 each: an add that
// streams gains 1.8 from 1 MiB on, but what is read again at once loses 0.5 at 1 MiB, breaks even at 4 and gains 1.2
// from 16 on. So: beyond twice the L2 caches, and never small.
inline bool pays_to_stream(int64_t bytes) {
#ifdef __SSE2__
  constexpr int64_t kLeast = 8 << 20;
  if (bytes <= kLeast) return false;
  static const int64_t l2 = std::max<int64_t>(sysconf(_SC_LEVEL2_CACHE_SIZE), 0);
  return bytes > 2 * l2 * num_threads();
#else
  static_cast<void>(bytes);
  return false;
#endif
}

// Copies a block that lies in the L1 cache.
inline void stream_block(char* to, const char* block, int64_t bytes) {
#ifdef __SSE2__
  const int64_t head = std::min<int64_t>(-reinterpret_cast<intptr_t>(to) & 15, bytes);
  const int64_t end = head + (bytes - head) / 16 * 16;
  std::copy(block, block + head, to);
  for (int64_t i = head; i < end; i += 16) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + i), _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + i)));
  }
  std::copy(block + end, block + bytes, to + end);
#else
  std::copy(block, block + bytes, to);
#endif
}

// Before anyone is told that the work is done.
inline void end_streams() {
#ifdef __SSE2__
  _mm_sfence();
#endif
}

// Runs a kernel with an output that overlaps no operand: block by block into the L1 cache, and from there to memory.
inline void run_streaming(ElementwiseKernel kernel, int64_t n, char* out, int64_t item, const void* const* in,
                          const int64_t* step, const int64_t* bytes, size_t operands) {
  constexpr int64_t kBlockBytes = 8192;
  alignas(64) char block[kBlockBytes];
  const void* from[4];
  const int64_t size = kBlockBytes / item;
  for (int64_t at = 0; at < n; at += size) {
    const int64_t m = std::min(size, n - at);
    for (size_t k = 0; k < operands; ++k) from[k] = static_cast<const char*>(in[k]) + at * bytes[k];
    kernel(m, block, from, step);
    stream_block(out + at * item, block, m * item);
  }
  end_streams();
}

}  // namespace tg

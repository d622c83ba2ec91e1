// Memory for tensors: 64-byte aligned blocks from a caching pool.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tg {

constexpr size_t kAlignment = 64;

// For thread-local variables of a few bytes: read at a fixed offset instead of through a call. glibc keeps room for
// such variables of libraries that are loaded late; other C libraries do not.
#if defined(__GLIBC__) && defined(__x86_64__)
#define TG_STATIC_TLS __attribute__((tls_model("initial-exec")))
#else
#define TG_STATIC_TLS
#endif

// A block of at least `bytes` bytes, uninitialised; 0 is valid and gives a pointer of its own. Throws std::bad_alloc
// when memory runs out, and at once when the live blocks would outgrow physical memory and swap together.
void* allocate(size_t bytes);
// `bytes` as given to allocate. Any thread may free any block.
void deallocate(void* p, size_t bytes) noexcept;

// Gives cached blocks back to the system. Lists of other threads follow at their next allocation or when they end.
void empty_cache();

struct MemoryStats {
  int64_t allocated_bytes;  // in live blocks, as asked for
  int64_t peak_bytes;       // largest allocated_bytes so far; with several threads, to within 64 KiB for each
  int64_t cached_bytes;     // kept for reuse
  int64_t allocations;      // calls of allocate
  int64_t pool_hits;        // calls served from a cache
};
MemoryStats memory_stats();
void reset_peak();  // peak_bytes begins again at allocated_bytes

}  // namespace tg

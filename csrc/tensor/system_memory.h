// Where the caching pool gets its blocks: size classes, and memory from the system.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#ifdef __linux__
#include <sys/sysinfo.h>
#endif

#include "tensor/memory.h"

// Under AddressSanitizer cached blocks and the slack of size classes are poisoned, so that it sees wrong uses of them.
#if defined(__has_feature)
#define TG_HAS_FEATURE(x) __has_feature(x)
#else
#define TG_HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || TG_HAS_FEATURE(address_sanitizer)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) (static_cast<void>(p), static_cast<void>(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) (static_cast<void>(p), static_cast<void>(n))
#endif

namespace tg {

// Size classes: multiples of 64 up to 1 KiB, then four steps to each power of two.
constexpr size_t kSmallBytes = 64 << 10;  // up to here: per-thread lists
constexpr int kSmallClasses = 40;
constexpr int kClasses = kSmallClasses + 4 * 48;
constexpr size_t kMaxCacheBytes = size_t{2} << 30;
constexpr size_t kMapBytes = 1 << 20;  // from here on blocks are mapped directly
constexpr size_t kHugePage = 2 << 20;  // from here on in huge pages

struct SizeClass {
  int index;
  size_t size;
};

inline SizeClass size_class(size_t bytes) {
  if (bytes <= 1024) {
    const size_t units = bytes == 0 ? 1 : (bytes + 63) / 64;
    return {static_cast<int>(units) - 1, units * 64};
  }
  const int log2 = std::bit_width(bytes - 1) - 1;
  const size_t step = (bytes - 1) >> (log2 - 2);  // 4..7
  return {16 + 4 * (log2 - 10) + static_cast<int>(step - 4), (step + 1) << (log2 - 2)};
}

inline size_t class_bytes(int index) {
  return index < 16 ? static_cast<size_t>(index + 1) * 64 : static_cast<size_t>(5 + index % 4) << (4 + index / 4);
}

struct Machine {
  size_t memory;       // physical and swap: more is refused at once, before touching it could wake the OOM killer
  size_t cache_limit;  // of large blocks kept
};

inline Machine read_machine() {
#ifdef __linux__
  struct sysinfo info;
  if (sysinfo(&info) == 0) {
    const size_t unit = info.mem_unit, physical = info.totalram * unit;
    return {physical + info.totalswap * unit, std::min(physical / 8, kMaxCacheBytes)};
  }
#endif
  const size_t physical = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGE_SIZE));
  return {physical, std::min(physical / 8, kMaxCacheBytes)};
}

inline const Machine& machine() {
  static const Machine m = read_machine();
  return m;
}

// Whole huge pages where that costs less than a third: a tail in small pages would take up to 511 faults.
inline size_t mapped_size(size_t size) {
  return size < 2 * kHugePage ? size : (size + kHugePage - 1) & ~(kHugePage - 1);
}

// Null when there is no memory. Measured: first writing 2 MiB takes 0.77 ms in small pages, 0.19 ms in a huge one.
inline void* system_allocate(size_t size) {
  if (size < kMapBytes) return std::aligned_alloc(kAlignment, size);
  const size_t slack = size < kHugePage ? 0 : kHugePage;
  size = mapped_size(size);
  void* const base = mmap(nullptr, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  if (slack == 0) return base;
  const size_t skip = -reinterpret_cast<uintptr_t>(base) & (kHugePage - 1);
  char* const p = static_cast<char*>(base) + skip;
  if (skip > 0) munmap(base, skip);
  munmap(p + size, slack - skip);
#ifdef MADV_HUGEPAGE
  madvise(p, size, MADV_HUGEPAGE);
#endif
  return p;
}

inline void system_free(void* p, size_t size) noexcept {
  ASAN_UNPOISON_MEMORY_REGION(p, size);
  if (size < kMapBytes) {
    std::free(p);
  } else {
    munmap(p, mapped_size(size));
  }
}

}  // namespace tg

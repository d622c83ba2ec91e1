// The caching pool: size classes, lists per thread for small blocks without locks, one guarded list for large ones.
#include "tensor/memory.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>

#include "tensor/system_memory.h"

namespace tg {
namespace {

constexpr size_t kListBytes = 2 << 20;  // one list of one thread keeps no more than this, nor more than kListCount
constexpr int64_t kListCount = 256;
constexpr int64_t kReportBytes = 64 << 10;  // a thread reports its balance when it has moved this far

struct SmallBlock {
  SmallBlock* next;
};

struct FreeList {
  SmallBlock* head = nullptr;
  std::atomic<int64_t> count{0};
};

// What one thread keeps. Only that thread changes it; memory_stats() of any thread reads the counters.
struct ThreadCache {
  FreeList lists[kSmallClasses];
  unsigned epoch = 0;               // of the last empty_cache() followed
  std::atomic<int64_t> balance{0};  // bytes allocated less bytes freed since the last report
  std::atomic<int64_t> highest{0};  // largest balance since then
  std::atomic<int64_t> allocations{0}, misses{0};
  ThreadCache *next = nullptr, *prev = nullptr;

  void add(int64_t bytes);
  void report();
  void clear();
};

// A cached large block, linked into the list of its class and into the order of age.
struct LargeBlock {
  LargeBlock *next, *prev;
  LargeBlock *newer, *older;
  size_t size;
  int index;
};

void free_chain(LargeBlock* b) {
  while (b != nullptr) {
    LargeBlock* const next = b->next;
    system_free(b, b->size);
    b = next;
  }
}

// Constant-initialised and never destroyed, so that tensors may die at any point of the process's exit.
struct Shared {
  std::mutex mutex;  // guards all that is not atomic
  LargeBlock* large[kClasses] = {};
  LargeBlock *newest = nullptr, *oldest = nullptr;
  size_t large_bytes = 0;
  ThreadCache* caches = nullptr;
  bool handlers_installed = false;
  std::atomic<unsigned> epoch{0};
  std::atomic<int64_t> allocated{0}, peak{0}, allocations{0}, misses{0};

  void retire(ThreadCache* cache);
  void unlink(LargeBlock* b);
  void* take(SizeClass c);
  void put(void* p, SizeClass c);
  void release_large();
};

constinit Shared g_shared;
constinit thread_local ThreadCache* t_cache TG_STATIC_TLS = nullptr;
constinit thread_local bool t_ended TG_STATIC_TLS =
    false;  // the thread's destructors have run: nothing is cached for it any more

// One writer, many readers: no locked instruction needed.
inline int64_t bump(std::atomic<int64_t>& counter, int64_t by) {
  const int64_t value = counter.load(std::memory_order_relaxed) + by;
  counter.store(value, std::memory_order_relaxed);
  return value;
}

void add_allocated(int64_t balance, int64_t highest) {
  const int64_t top = g_shared.allocated.fetch_add(balance, std::memory_order_relaxed) + highest;
  int64_t peak = g_shared.peak.load(std::memory_order_relaxed);
  while (top > peak && !g_shared.peak.compare_exchange_weak(peak, top, std::memory_order_relaxed)) {}
}

void ThreadCache::report() {
  add_allocated(balance.load(std::memory_order_relaxed), highest.load(std::memory_order_relaxed));
  balance.store(0, std::memory_order_relaxed);
  highest.store(0, std::memory_order_relaxed);
}

inline void ThreadCache::add(int64_t bytes) {
  const int64_t now = bump(balance, bytes);
  if (now > highest.load(std::memory_order_relaxed)) highest.store(now, std::memory_order_relaxed);
  if (now > kReportBytes || now < -kReportBytes) report();
}

void ThreadCache::clear() {
  for (FreeList& list : lists) {
    while (SmallBlock* b = list.head) {
      list.head = b->next;
      std::free(b);
    }
    list.count.store(0, std::memory_order_relaxed);
  }
}

// Adds a cache's counters to the shared ones and takes it off the list. Under the mutex.
void Shared::retire(ThreadCache* cache) {
  cache->report();
  allocations.fetch_add(cache->allocations.load(std::memory_order_relaxed), std::memory_order_relaxed);
  misses.fetch_add(cache->misses.load(std::memory_order_relaxed), std::memory_order_relaxed);
  (cache->prev ? cache->prev->next : caches) = cache->next;
  if (cache->next) cache->next->prev = cache->prev;
}

// Ends a thread's cache with the thread.
struct ThreadEnd {
  ~ThreadEnd() {
    ThreadCache* const cache = t_cache;
    t_cache = nullptr;
    t_ended = true;
    {
      const std::lock_guard lock(g_shared.mutex);
      g_shared.retire(cache);
    }
    cache->clear();
    delete cache;
  }
};

// Of the parent's threads the child has only the one that forked. The other caches may have been caught half-way
// through a change, so their blocks are left where they are.
void after_fork_in_child() {
  for (ThreadCache* cache = g_shared.caches; cache != nullptr;) {
    ThreadCache* const next = cache->next;
    if (cache != t_cache) g_shared.retire(cache);
    cache = next;
  }
  g_shared.mutex.unlock();
}

ThreadCache* make_thread_cache() {
  if (t_ended) return nullptr;
  ThreadCache* const cache = new ThreadCache;
  cache->epoch = g_shared.epoch.load(std::memory_order_relaxed);
  {
    const std::lock_guard lock(g_shared.mutex);
    if (!g_shared.handlers_installed) {
      g_shared.handlers_installed =
          pthread_atfork([] { g_shared.mutex.lock(); }, [] { g_shared.mutex.unlock(); }, after_fork_in_child) == 0;
    }
    cache->next = g_shared.caches;
    if (cache->next) cache->next->prev = cache;
    g_shared.caches = cache;
  }
  t_cache = cache;
  static thread_local ThreadEnd end;
  static_cast<void>(end);
  return cache;
}

inline ThreadCache* thread_cache() { return t_cache != nullptr ? t_cache : make_thread_cache(); }

void Shared::unlink(LargeBlock* b) {
  (b->prev ? b->prev->next : large[b->index]) = b->next;
  if (b->next) b->next->prev = b->prev;
  (b->newer ? b->newer->older : newest) = b->older;
  (b->older ? b->older->newer : oldest) = b->newer;
  large_bytes -= b->size;
}

void* Shared::take(SizeClass c) {
  const std::lock_guard lock(mutex);
  LargeBlock* const b = large[c.index];
  if (b != nullptr) unlink(b);
  return b;
}

// Keeps a block and gives up the oldest ones beyond the bound.
void Shared::put(void* p, SizeClass c) {
  LargeBlock* surplus = nullptr;
  {
    const std::lock_guard lock(mutex);
    LargeBlock* const b = new (p) LargeBlock{large[c.index], nullptr, nullptr, newest, c.size, c.index};
    if (b->next) b->next->prev = b;
    (b->older ? b->older->newer : oldest) = b;
    large[c.index] = newest = b;
    large_bytes += c.size;
    while (large_bytes > machine().cache_limit) {
      LargeBlock* const old = oldest;
      unlink(old);
      old->next = surplus;
      surplus = old;
    }
  }
  free_chain(surplus);
}

void Shared::release_large() {
  LargeBlock* chain = nullptr;
  {
    const std::lock_guard lock(mutex);
    while (LargeBlock* const b = oldest) {
      unlink(b);
      b->next = chain;
      chain = b;
    }
  }
  free_chain(chain);
}

inline void count_allocation(ThreadCache* cache, size_t bytes, bool hit) {
  const int64_t size = static_cast<int64_t>(bytes);
  if (cache != nullptr) {
    bump(cache->allocations, 1);
    if (!hit) bump(cache->misses, 1);
    cache->add(size);
  } else {
    add_allocated(size, size);
    g_shared.allocations.fetch_add(1, std::memory_order_relaxed);
    g_shared.misses.fetch_add(!hit, std::memory_order_relaxed);
  }
}

void* fresh_block(size_t size, size_t bytes) {
  void* p = system_allocate(size);
  if (p == nullptr) {
    empty_cache();
    p = system_allocate(size);
    if (p == nullptr) throw std::bad_alloc();
  }
  ASAN_POISON_MEMORY_REGION(static_cast<char*>(p) + bytes, size - bytes);
  return p;
}

void* allocate_large(size_t bytes) {
  const size_t limit = machine().memory;
  const size_t live = static_cast<size_t>(std::max<int64_t>(g_shared.allocated.load(std::memory_order_relaxed), 0));
  if (bytes > limit || live > limit - bytes) throw std::bad_alloc();
  const SizeClass c = size_class(bytes);
  ThreadCache* const cache = thread_cache();
  void* p = g_shared.take(c);
  const bool hit = p != nullptr;
  if (hit) {
    ASAN_UNPOISON_MEMORY_REGION(p, bytes);
  } else {
    if (live + bytes + machine().cache_limit > limit) g_shared.release_large();
    p = fresh_block(c.size, bytes);
  }
  count_allocation(cache, bytes, hit);
  return p;
}

}  // namespace

void* allocate(size_t bytes) {
  if (bytes > kSmallBytes) return allocate_large(bytes);
  ThreadCache* const cache = thread_cache();
  const SizeClass c = size_class(bytes);
  if (cache == nullptr) {
    void* const p = fresh_block(c.size, bytes);
    count_allocation(cache, bytes, false);
    return p;
  }
  const unsigned epoch = g_shared.epoch.load(std::memory_order_relaxed);
  if (cache->epoch != epoch) {
    cache->clear();
    cache->epoch = epoch;
  }
  FreeList& list = cache->lists[c.index];
  SmallBlock* const b = list.head;
  if (b == nullptr) {
    void* const p = fresh_block(c.size, bytes);
    count_allocation(cache, bytes, false);
    return p;
  }
  list.head = b->next;
  bump(list.count, -1);
  count_allocation(cache, bytes, true);
  ASAN_UNPOISON_MEMORY_REGION(b, bytes);
  return b;
}

void deallocate(void* p, size_t bytes) noexcept {
  if (p == nullptr) return;
  ThreadCache* const cache = t_cache;
  if (cache != nullptr) {
    cache->add(-static_cast<int64_t>(bytes));
  } else {
    add_allocated(-static_cast<int64_t>(bytes), 0);
  }
  const SizeClass c = size_class(bytes);
  if (bytes > kSmallBytes) {
    if (c.size > machine().cache_limit) return system_free(p, c.size);
    ASAN_UNPOISON_MEMORY_REGION(p, sizeof(LargeBlock));
    ASAN_POISON_MEMORY_REGION(static_cast<char*>(p) + sizeof(LargeBlock), c.size - sizeof(LargeBlock));
    return g_shared.put(p, c);
  }
  if (cache == nullptr) return system_free(p, c.size);
  FreeList& list = cache->lists[c.index];
  const int64_t count = list.count.load(std::memory_order_relaxed) + 1;
  if (count > kListCount || static_cast<size_t>(count) * c.size > kListBytes) return system_free(p, c.size);
  list.count.store(count, std::memory_order_relaxed);
  ASAN_UNPOISON_MEMORY_REGION(p, sizeof(SmallBlock));
  ASAN_POISON_MEMORY_REGION(static_cast<char*>(p) + sizeof(SmallBlock), c.size - sizeof(SmallBlock));
  list.head = new (p) SmallBlock{list.head};
}

void empty_cache() {
  const unsigned epoch = g_shared.epoch.fetch_add(1, std::memory_order_relaxed) + 1;
  if (ThreadCache* const cache = t_cache) {
    cache->clear();
    cache->epoch = epoch;
  }
  g_shared.release_large();
}

MemoryStats memory_stats() {
  if (t_cache != nullptr) t_cache->report();
  const std::lock_guard lock(g_shared.mutex);
  int64_t allocated = g_shared.allocated.load(), allocations = g_shared.allocations.load();
  int64_t misses = g_shared.misses.load(), cached = static_cast<int64_t>(g_shared.large_bytes);
  for (const ThreadCache* c = g_shared.caches; c != nullptr; c = c->next) {
    allocated += c->balance.load(std::memory_order_relaxed);
    allocations += c->allocations.load(std::memory_order_relaxed);
    misses += c->misses.load(std::memory_order_relaxed);
    for (int i = 0; i < kSmallClasses; ++i) {
      cached += c->lists[i].count.load(std::memory_order_relaxed) * static_cast<int64_t>(class_bytes(i));
    }
  }
  return {allocated, std::max(g_shared.peak.load(), allocated), cached, allocations, allocations - misses};
}

void reset_peak() {
  const int64_t allocated = memory_stats().allocated_bytes;  // reports this thread's balance
  g_shared.peak.store(allocated);
}

}  // namespace tg

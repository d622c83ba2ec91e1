// Storage: bytes from the caching pool, or borrowed memory whose owner is held.
#pragma once
#include <cstddef>
#include <cstdint>
#include <new>

#include "tensor/memory.h"
#include "tensor/ref.h"

namespace tg {

struct Storage;

// Told of the storages that this thread makes, and of their end, while there is one.
struct StorageWatch {
  virtual ~StorageWatch() = default;
  virtual void born(Storage& s) = 0;
  virtual void died(const Storage& s) = 0;
};
extern constinit thread_local StorageWatch* storage_watch TG_STATIC_TLS;

struct Storage {
  int64_t refs = 0;
  char* data = nullptr;
  size_t bytes = 0;
  uint32_t version = 0;    // counts in-place writes; saved tensors compare it
  uint32_t exports = 0;    // references held by arrays and buffers, which have no history (tensor/outside.h)
  bool read_only = false;  // borrowed memory that must not be written
  bool taped = false;      // a node has saved it
  bool watched = false;    // tensor/outside.h knows its bytes
  uint32_t mark = 0;       // nonzero: made under a watch, which numbers them
  void* owner = nullptr;   // of borrowed memory
  void (*release)(void* owner) = nullptr;
  const char* writer = "";  // the op that wrote in place last

  void wrote(const char* op) { ++version, writer = op; }
  void unwatch();

  // Small storages lie in one block with their bytes: one trip to the pool instead of two.
  static constexpr size_t kHeader = 64, kTogether = 4096;
  static Ref<Storage> make(size_t bytes) {
    const bool together = bytes <= kTogether;
    char* block = static_cast<char*>(allocate(kHeader + (together ? bytes : 0)));
    Ref<Storage> s(new (block) Storage);
    if (!together)
      s->data = static_cast<char*>(allocate(bytes));
    else
      s->data = block + kHeader;
    s->bytes = bytes;
    if (storage_watch) [[unlikely]]
      storage_watch->born(*s);
    return s;
  }
  static Ref<Storage> borrow(void* data, size_t bytes, bool read_only, void* owner, void (*release)(void*)) {
    Ref<Storage> s(new (allocate(kHeader)) Storage);
    s->data = static_cast<char*>(data);
    s->bytes = bytes;
    s->read_only = read_only;
    s->owner = owner;
    s->release = release;
    if (storage_watch) [[unlikely]]
      storage_watch->born(*s);
    return s;
  }
  static void destroy(Storage* s) {
    if (s->mark && storage_watch) [[unlikely]]
      storage_watch->died(*s);
    if (s->watched) [[unlikely]]
      s->unwatch();
    const bool together = !s->release && s->data == reinterpret_cast<char*>(s) + kHeader;
    if (s->release)
      s->release(s->owner);
    else if (s->data && !together)
      deallocate(s->data, s->bytes);
    const size_t block = kHeader + (together ? s->bytes : 0);
    s->~Storage();
    deallocate(s, block);
  }
};
static_assert(sizeof(Storage) <= Storage::kHeader);

}  // namespace tg

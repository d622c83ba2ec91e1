// Storage: bytes from the caching pool, or borrowed memory whose owner is held.
#pragma once
#include <cstddef>
#include <cstdint>

#include "tensor/memory.h"
#include "tensor/ref.h"

namespace tg {

struct Storage {
  int64_t refs = 0;
  char* data = nullptr;
  size_t bytes = 0;
  uint32_t version = 0;         // counts in-place writes; saved tensors compare it
  bool read_only = false;       // borrowed memory that must not be written
  void* owner = nullptr;        // of borrowed memory
  void (*release)(void* owner) = nullptr;

  static Ref<Storage> make(size_t bytes) {
    Ref<Storage> s(new Storage);
    s->data = static_cast<char*>(allocate(bytes));
    s->bytes = bytes;
    return s;
  }
  static Ref<Storage> borrow(void* data, size_t bytes, bool read_only, void* owner, void (*release)(void*)) {
    Ref<Storage> s(new Storage);
    s->data = static_cast<char*>(data);
    s->bytes = bytes;
    s->read_only = read_only;
    s->owner = owner;
    s->release = release;
    return s;
  }
  static void destroy(Storage* s) {
    if (s->release) s->release(s->owner);
    else if (s->data) deallocate(s->data, s->bytes);
    delete s;
  }
  static void* operator new(size_t n) { return allocate(n); }
  static void operator delete(void* p, size_t n) { deallocate(p, n); }
};

}  // namespace tg

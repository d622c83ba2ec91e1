// Writes to a tensor's memory from outside, through a NumPy array, which raise no version: found by checksums.
#pragma once
#include <cstdint>

#include "tensor/tensor.h"

namespace tg {

// Whether others than tensors can write to the storage.
inline bool open_to_writes(const Storage& s) { return s.exports > 0 || (s.release && !s.read_only); }

// Of the bytes between a tensor's first and last element; of evenly spaced stretches where that is over 32 KiB.
uint64_t checksum(const Tensor& t);

// Remembers the bytes of a storage, so that a later notice_writes() finds what was written in between.
void watch(Storage& s);
// A holder of the storage that is no tensor begins; it ends with --exports.
inline void lend(Storage& s) {
  if (s.taped && !s.release) watch(s);
  ++s.exports;
}
// Raises the version of a watched storage where its bytes have changed since, but the version has not.
void look_for_writes(Storage& s);
inline void notice_writes(Storage& s) {
  if (s.watched) [[unlikely]]
    look_for_writes(s);
}

}  // namespace tg

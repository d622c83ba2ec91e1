// What the indexing ops share: index checks, and how to cut columns that are added into.
#pragma once
#include <stdexcept>
#include <string>

#include "tensor/tensor.h"
#include "threads/parallel.h"

namespace tg {

inline constexpr int64_t kIndexGrain = 16384;  // elements per task

// The position that i names in a dimension; negative ones count from its end.
inline int64_t checked_index(const char* op, int64_t i, int64_t size) {
  if (i < -size || i >= size) {
    throw std::out_of_range(std::string(op) + ": index " + std::to_string(i) +
                            " is out of range for a dimension of size " + std::to_string(size));
  }
  return i < 0 ? i + size : i;
}

[[noreturn]] inline void fail_negative(const char* op, int64_t i) {
  throw std::out_of_range(std::string(op) + ": index " + std::to_string(i) +
                          " is negative; only x[...] counts from the end");
}

// How many columns one of the tasks takes that add into `columns` columns side by side: whole cache lines, or all when
// there is little work. Each element of the result sees its terms in one order however the columns are cut.
inline int64_t column_grain(int64_t columns, int64_t work, size_t item) {
  const int64_t line = 64 / static_cast<int64_t>(item), share = (columns - 1) / num_threads() + 1;
  return work <= kIndexGrain ? columns : (share + line - 1) / line * line;
}

}  // namespace tg

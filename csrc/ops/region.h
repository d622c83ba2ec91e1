// The part of a tensor that ints and slices pick.
#pragma once
#include <vector>

#include "ops/ops.h"

namespace tg::ops {

struct Range {
  int64_t start, length, step;
};
using Region = std::vector<Range>;  // one for every dimension

// Writes value, which broadcasts to the region's lengths, into the region of self.
void region_put_(const Tensor& self, const Region& region, const Tensor& value);

}  // namespace tg::ops

// What a tensor alone keeps alive of its graph: for Python's garbage collector, which finds cycles through it.
#pragma once
#include "tape/extras.h"

namespace tg {

struct Owned {
  std::vector<Node*> nodes;              // that have extras
  std::vector<GradientExtras*> tensors;  // of leaves
};
// Everything that only the one holder of `t` refers to, directly or not; at most some thousand nodes far.
Owned owned_by_holder_of(const Tensor& t) noexcept;

}  // namespace tg

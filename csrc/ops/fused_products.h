// Products that a planner puts in the place of several ops: what follows is done with each part of the result while it
// is still in the cache of the core that made it.
#pragma once
#include "tape/op.h"

namespace tg {

// The product of two matrices, then the derivative of an activation: f'(y) * matmul(g, w).
// Inputs: g (m, k), w (k, n), y, the m * n contiguous results of the activation; attrs.pointer: the Activation.
extern const Op kMatmulMasked;

// An optimizer's step on elements [offset, offset + n) of a contiguous parameter, whose gradient is g. Runs on any
// thread, must not throw; elements come in any order, each once.
struct TileUpdate {
  void (*run)(const void* ctx, int64_t offset, int64_t n, const void* g);
  const void* ctx;
};
// The product of two matrices as the gradient of a parameter, which is updated and not stored.
// Inputs: the parameter of m * n elements, a (m, k), b (k, n), then what else the update writes; attrs.pointer: the
// TileUpdate.
extern const Op kMatmulUpdate;

}  // namespace tg

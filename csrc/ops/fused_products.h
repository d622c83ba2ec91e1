// Ops that a planner puts in the place of two: what follows a product is done with each part of its result while that
// is still in the cache of the core that made it. Null where there is none.
#pragma once
#include "tape/op.h"

namespace tg {

// linear(x, weight, bias), then an activation. Inputs: those of linear.
const Op* linear_with(const Op& linear, const Op& activation);

// matmul(g, w) of two matrices, then the derivative of an activation whose contiguous result is y. Inputs: g, w, y.
const Op* masked_product(const Op& matmul, const Op& derivative);

// matmul(a, b) of two matrices or weight_gradient(g, x), then the step of the parameter whose gradient that is. Inputs:
// see optim.cpp.
bool is_product(const Op& matmul);
bool is_weight_gradient(const Op& op);
const Op* step_behind_product(const Op& step);

}  // namespace tg

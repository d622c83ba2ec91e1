// What a call computes and moves, as its op states it. `out`: what run() is given.
#pragma once
#include "tape/op.h"

namespace tg {

double flops_of(const Call& call, std::span<const Tensor> out);
double bytes_of(const Call& call, std::span<const Tensor> out);

}  // namespace tg

// What the losses share: how the losses of a batch become the result.
#pragma once
#include <string>

#include "ops/ops.h"

namespace tg {

enum class Reduction : int64_t { None, Mean, Sum };
Reduction parse_reduction(const char* op, const std::string& s);
Tensor reduce_all(const Tensor& losses, Reduction r);

}  // namespace tg

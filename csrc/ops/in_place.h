// In-place forms: a result written into the first operand.
#pragma once
#include <initializer_list>

#include "ops/execute.h"

namespace tg {

// op(operands...), written into self. The operands are in the dtype of the computation; the first is self where that is
// self's own. Operands that overlap self in memory, and gradients that need what self held, are taken care of.
Tensor write_into(const Tensor& self, const Op& op, std::initializer_list<Tensor> operands);

// The result of the op `name`, written into self. Refuses another shape, and a dtype of a higher category.
Tensor write_into(const Tensor& self, const char* name, const Tensor& result);

}  // namespace tg

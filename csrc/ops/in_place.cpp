// In-place forms: directly where nothing is lost by it, else through a temporary.
#include "ops/in_place.h"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "ops/loop.h"
#include "ops/ops.h"

namespace tg {

Tensor write_into(const Tensor& self, const char* name, const Tensor& result) {
  if (category(result.dtype()) > category(self.dtype())) {
    throw std::invalid_argument(std::string(name) + "_: the result dtype " + tg::name(result.dtype()) +
                                " cannot be stored in place in " + describe(self) + "; use an out-of-place operation");
  }
  if (!(result.shape() == self.shape())) {
    throw std::runtime_error(std::string(name) + "_: the result of shape " + to_string(result.shape()) +
                             " does not fit in place into " + describe(self));
  }
  return ops::copy_(self, result);
}

Tensor write_into(const Tensor& self, const Op& op, std::initializer_list<Tensor> operands) {
  std::array<Tensor, kMaxOperands> in;
  std::copy(operands.begin(), operands.end(), in.begin());
  const std::span<const Tensor> used(in.data(), operands.size());
  if (!in[0].is(self)) return write_into(self, op.name, execute(op, used));
  bool lost = false;
  for (size_t i = 0; i < used.size(); ++i) {
    if (!in[i].is(self) && in[i]->storage.get() == self->storage.get()) in[i] = ops::clone(in[i]);
    lost |= grad_enabled() && in[i].requires_grad() && (op.saves[std::min<size_t>(i, 2)] & kSaveA);
  }
  if (lost) {
    in[0] = ops::clone(self);
    return write_into(self, op.name, execute(op, used));
  }
  execute_in_place(op, used);
  return self;
}

}  // namespace tg

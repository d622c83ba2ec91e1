// What the random fills share: in-place ops that draw from a generator.
#pragma once
#include "ops/ops.h"

namespace tg {

// attrs.pointer: the generator, null for the default one; attrs.scalar or attrs.integer: the distribution's parameters.
inline Generator& generator_of(const Call& c) {
  return c.attrs.pointer ? *static_cast<Generator*>(const_cast<void*>(c.attrs.pointer)) : default_generator();
}

// What was there before has no part in the result.
inline void forget_vjp(Backward&) {}

// Fills a tensor with draws. Keeps the GIL: a fork from another Python thread must not find the generator locked.
constexpr Op draw_op(const char* name, void (*run)(const Call&, std::span<Tensor>), void (*vjp)(Backward&) = nullptr) {
  return {.name = name,
          .run = run,
          .vjp = vjp,
          .in_place = true,
          .keep_gil = true,
          .overwrites = true,
          .flops = no_flops,
          .bytes = written_bytes};
}

// Fills go straight into contiguous memory, or through a contiguous tensor. `more`: the op's inputs behind self.
Tensor fill_by(const Op& op, Tensor self, const Attrs& attrs, const ops::TensorList& more = {});

}  // namespace tg

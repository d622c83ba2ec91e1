// The gradient of a view of a part: zero but for that part.
#pragma once
#include "ops/loop.h"
#include "ops/ops.h"

namespace tg {

using View = Tensor (*)(const Call&);

// out = zeros, with input 0 in the place that `view` shows.
inline void run_place(const Call& c, View view, const Tensor& out) {
  fill_zero(out);
  run_copy(view({c.op, std::span<const Tensor>(&out, 1), c.attrs}), c.in[0]);
}

// Adds g, the gradient of a view of input 0, to the input's: to its part of the sum so far, or as the result of
// `place`, an op that makes zeros of attrs.dims2 with g in that part. So many parts cost no more than the whole.
inline void add_part(Backward& b, const Op& place, View view, const Tensor& g, Attrs attrs) {
  attrs.dims2 = b.input_shape(0);
  if (Tensor* total = b.total()) {
    Tensor part = view({place, std::span<const Tensor>(total, 1), attrs});
    tape_ops::add_in_place(part, g);
  } else {
    b.set_made(execute(place, {g}, attrs));
  }
}

}  // namespace tg

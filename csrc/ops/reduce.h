// Sums and means of elements that are made while they are added up.
#pragma once
#include "ops/reduce_loop.h"
#include "tape/op.h"

namespace tg {

extern const Op kSum, kMean;

// Whether `op` is one of them, and reads x in a way that a source of elements can serve. x needs no memory.
bool sums_in_order(const Op& op, const Tensor& x, const Attrs& attrs);
// The same bits as op.run() on a tensor that holds the elements.
void run_sum(const Op& op, const Tensor& x, const Attrs& attrs, const ElementSource& source, const Tensor& out);

}  // namespace tg

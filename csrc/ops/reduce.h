// What the reductions share, and sums and means of elements that are made while they are added up.
#pragma once
#include "ops/ops.h"
#include "ops/reduce_loop.h"

namespace tg {

// A reduction's attributes: attrs.integer[0] has a bit for every reduced dimension, attrs.flag = keepdim.
inline uint64_t reduced_dims(const Attrs& a) { return static_cast<uint64_t>(a.integer[0]); }
uint64_t dims_mask(const char* op, int rank, const ops::MaybeDims& dim);  // none given: all
Dims dims_in(uint64_t mask);
Tensor reduce_dims(const Op& op, const Tensor& input, const ops::MaybeDims& dim, bool keepdim, double correction = 0);
void infer_reduce(const Call& c, OutSpec* out);
// `t`, of the shape of the result, with the reduced dimensions back, as size 1.
Tensor with_reduced_dims(const Backward& b, const Tensor& t);
inline ops::MaybeDims as_dims(ops::MaybeDim dim) { return dim ? ops::MaybeDims(Dims{*dim}) : ops::MaybeDims(); }
// Narrow integers are added up, or multiplied, in int64: modulo their own size the result is the same.
Tensor to_sum_dtype(const Tensor& input, ops::MaybeDType dtype);

extern const Op kSum, kMean, kEuclideanNorm;

// Whether `op` is one of them, and reads x in a way that a source of elements can serve. x needs no memory.
bool sums_in_order(const Op& op, const Tensor& x, const Attrs& attrs);
// The same bits as op.run() on a tensor that holds the elements.
void run_sum(const Op& op, const Tensor& x, const Attrs& attrs, const ElementSource& source, const Tensor& out);

}  // namespace tg

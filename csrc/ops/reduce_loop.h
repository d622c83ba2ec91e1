// The loop under every reduction: any dimensions of a tensor of any strides, in chunks that do not depend on threads.
#pragma once
#include "kernels/kernel_table.h"
#include "tensor/tensor.h"

namespace tg {

// Dimensions in elements, from the outermost in; neighbours that are walked as one are joined.
struct Axes {
  struct Axis {
    int64_t size, stride;
  };
  int count = 0;
  Axis at[Dims::kMaxRank];

  void push(Axis a);
  Axis pop_last(Axis otherwise);
  int64_t numel() const;
  int64_t offset(int64_t position) const;  // of the element at a flat position
};

// A reduction cut into pieces: output o is made from the `chunks` partial results at partial[c * outputs + o].
struct Pieces {
  const char* x;  // first element
  int64_t item;   // bytes of an element
  Axes outer_kept, outer_reduced;
  Axes::Axis lane, n;  // the innermost kept dimension, the innermost reduced one
  int64_t outputs, n_step, n_chunks, chunks;

  int64_t length(int64_t chunk) const { return std::min(n_step, n.size - chunk % n_chunks * n_step); }
  // Position among the reduced elements, and offset from x, of element j of a chunk.
  int64_t position(int64_t chunk, int64_t j) const { return chunk / n_chunks * n.size + start(chunk) + j; }
  int64_t offset(int64_t output, int64_t chunk, int64_t j) const {
    return outer_kept.offset(output / lane.size) + output % lane.size * lane.stride +
           outer_reduced.offset(chunk / n_chunks) + (start(chunk) + j) * n.stride;
  }
  int64_t start(int64_t chunk) const { return chunk % n_chunks * n_step; }
};

// Elements that are made when they are wanted: those at [begin, end) of a contiguous tensor, of which nothing else is
// read. They may be put into `room`; the result tells where they are.
struct ElementSource {
  const char* (*elements)(const void* context, int64_t begin, int64_t end, char* room);
  const void* context;
};

struct Reduction {
  const ReduceKernels& kernels;
  int dtype;         // of the elements
  int64_t out_item;  // bytes of a result
  // out[o] = the partial results of output o, joined
  void (*join)(const Reduction&, const Pieces&, const char* partial, char* out);
  bool in_order = false;                  // positions count: the reduced dimensions are walked in their own order
  const ElementSource* source = nullptr;  // of a tensor without memory that walks_in_order()
};

// Reduces x, which is not empty, over the dimensions whose bits are set in `mask`. `out` is contiguous and has the
// other dimensions of x in order (and any of size 1).
void run_reduction(const Reduction& r, const Tensor& x, uint64_t mask, const Tensor& out);

// Whether the loop over x, contiguous, takes pieces of elements that lie side by side, each element once.
bool walks_in_order(const Tensor& x, uint64_t mask);

// The joins: of values by the kernels themselves, of positions (argmax, argmin), of Moments.
void join_values(const Reduction&, const Pieces&, const char* partial, char* out);
void join_positions(const Reduction&, const Pieces&, const char* partial, char* out);
void join_moments(const Reduction&, const Pieces&, const char* partial, char* out);

}  // namespace tg

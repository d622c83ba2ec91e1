// chain: elementwise ops run one after another over blocks of elements that stay in the L1 cache between them.
#pragma once
#include <vector>

#include "ops/cost.h"
#include "ops/loop.h"

namespace tg {

struct Chain {
  static constexpr int64_t kBufferBytes = 8192;
  static constexpr int kBuffers = 8;  // at most
  static constexpr int kPlaces = 64;  // at most
  static constexpr int kUnread = -1;

  // Where a step finds an operand or leaves its result. Element i of the block loop lies
  struct Place {
    enum class Kind : uint8_t {
      Buffer,   // in a buffer: it never gets to memory
      Whole,    // at i in a tensor
      Single,   // at 0: the tensor's value for all i
      Strided,  // at i / cols * row + i % cols * col bytes
      Summed,   // where the sum at the chain's end finds it, in no tensor
    };
    Kind kind = Kind::Buffer;
    DType dtype = DType::Float32;
    int tensor = -1;  // counted over the inputs, then the outputs
    int buffer = -1;  // Whole: -1, or where it is before it is streamed to memory. Strided: where it is packed
    int64_t cols = 0, row = 0, col = 0;
    bool packed_once = false;  // Strided: every block is alike

    int64_t item() const { return static_cast<int64_t>(itemsize(dtype)); }
  };
  struct Step {
    ElementwiseKernel kernel;
    size_t operands;
    int in[kMaxOperands];  // places, or kUnread
    int out;
  };

  int64_t n = 0;      // elements
  int64_t block = 1;  // of them at a time, at most
  int64_t row = 0;    // 0, or: blocks end at its multiples
  double ns = 0;      // that one takes
  std::vector<Place> places;
  std::vector<Step> steps;

  // At the end: the sum or mean of a place that is Summed or Whole. Its result is the last output.
  struct Sum {
    const Op* op = nullptr;  // null: none
    std::shared_ptr<const Attrs> attrs;
    Tensor x;  // without memory
    int place = 0;
  } sum;
};

// in: the tensors that are read; out: those that are written, which may be among the former. attrs.plan: the Chain.
extern const Op kChain;

}  // namespace tg

// Op: what execute() and the tape know of an operation. One row of ops.def leads to one Op.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace tg {

struct Backward;

// Numbers that live outside the program, e.g. an optimizer's options: read anew at every run of a captured program.
struct Cell {
  std::vector<double> values;
  virtual void refresh() {}
  virtual ~Cell() = default;
};

// The arguments of an op that are not tensors. Each op says in its file which of them it uses.
struct Attrs {
  Dims dims, dims2;
  double scalar[2] = {0, 0};
  int64_t integer[2] = {0, 0};
  DType dtype = DType::Float32;
  bool flag = false;
  std::vector<int64_t> list;
  std::shared_ptr<Cell> cell;
  const void* pointer = nullptr;     // generators only: not owned, for ops that the tape never records
  std::shared_ptr<const void> plan;  // of an op that only a plan of a captured program makes: what it runs
};

extern const Attrs kNoAttrs;
inline const Attrs& no_attrs() { return kNoAttrs; }

struct Call {
  const struct Op& op;
  std::span<const Tensor> in;
  const Attrs& attrs;
};

// What an op will write: filled by infer(), allocated by execute().
struct OutSpec {
  Dims shape;
  DType dtype = DType::Float32;
};
inline constexpr int kMaxOutputs = 2;

// What the gradient of an input needs: bits of the inputs, and the first and second output.
enum : unsigned { kSaveA = 1, kSaveB = 2, kSaveC = 4, kSaveOutput = 1u << 31, kSaveSecond = 1u << 30 };

struct Elementwise;

struct Op {
  const char* name;
  // Exactly one of infer, view, and `in_place` says where the outputs come from.
  void (*infer)(const Call&, OutSpec* out);         // checks, shape and dtype of each output
  Tensor (*view)(const Call&);                      // the output shares the input's memory
  void (*run)(const Call&, std::span<Tensor> out);  // computes; touches memory only, may run without the GIL
  void (*vjp)(Backward&);                           // null: no gradient flows
  unsigned saves[3] = {0, 0, 0};                    // for the gradient of input 0, 1, and 2 or later
  int outputs = 1;
  bool in_place = false;                             // run() writes input 0 (or more); no output of its own
  bool keep_gil = false;                             // run() is not safe beside other Python threads
  bool (*writes)(const Call&, int input) = nullptr;  // of in-place ops that write more than input 0; by attrs alone
  bool overwrites = false;                           // in place: what input 0 held does not matter
  bool may_stop = false;  // run() throws for some values: a plan writes nothing lasting before it that came after it
  // What run() computes and moves. Null: an operation per element of the largest tensor; every tensor once, and twice
  // where `writes` says that an input is written too.
  double (*flops)(const Call&) = nullptr;
  double (*bytes)(const Call&, std::span<const Tensor> out) = nullptr;
  // Null, or: the op is one kernel over the elements of its output, this one (ops/loop.h). Reads no values.
  Elementwise (*elementwise)(const Call&) = nullptr;

  bool writes_input(const Call& c, int input) const { return writes ? writes(c, input) : input == 0; }
};

}  // namespace tg

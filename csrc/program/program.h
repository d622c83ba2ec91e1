// Program: a captured run as a flat list of instructions over values, and its replay.
#pragma once
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "tape/tape.h"

namespace tg {

class GilRelease;

// A piece of memory of the captured run. The instructions' tensors see it through `storage`, a handle of the program's
// own, so that a replay without the GIL counts no reference that others count.
struct Value {
  enum class Kind : uint8_t {
    Argument,  // the memory of a tensor that each call brings along
    State,     // memory that was there before: parameters, buffers, optimizer state
    Constant,  // made during the capture, but by no instruction: Python numbers and lists, frozen as they were
    Internal,  // made by an instruction
  };
  Kind kind = Kind::Internal;
  bool in_arena() const { return kind == Kind::Internal ? home == Home::Arena : kind == Kind::Constant && written; }
  bool written = false;                                                              // by an instruction
  enum class Home : uint8_t { Arena, Output, Gradient, Result } home = Home::Arena;  // Internal: whose memory it is
  int argument = -1;                                                                 // Argument: which
  size_t bytes = 0;
  Tensor source;  // State: a tensor on that memory. Constant: the values at capture
  Ref<Storage> storage;
  std::vector<int> slots;  // the tensors over it
  size_t arena_offset = 0;
  // State, as the capture found `source`.
  const char* data = nullptr;
  uint32_t layout = 0;
  bool requires_grad = false;
};

// A tensor over a value, as instructions read and write it. Offset in bytes.
struct Slot {
  int value = 0;
  int64_t offset = 0;
  Tensor tensor;
};

struct Instruction {
  const Op* op = nullptr;
  std::shared_ptr<const Attrs> attrs;          // null: none
  std::vector<int> in, out;                    // slots; no `out`: written in place
  std::vector<int> from;                       // the captured instructions that it stands for, by number
  int file = -1, line = 0;                     // of the Python code that ran it
  bool backward = false;                       // ran in the reverse sweep
  void stands_for(const Instruction& other) {  // in its place, or beside others
    from.insert(from.end(), other.from.begin(), other.from.end());
    backward |= other.backward;
  }
  const Attrs& arguments() const { return attrs ? *attrs : no_attrs(); }
  bool in_place() const { return out.empty(); }
  bool writes(size_t input) const {
    return in_place() && op->writes_input({*op, {}, arguments()}, static_cast<int>(input));
  }
};

// What the run did to the .grad of a leaf.
struct LeafGradient {
  Ref<TensorImpl> leaf;
  bool read = false;       // the value before the run matters: `before`
  bool written = false;    // `after` is what the run leaves
  Ref<TensorImpl> before;  // null: none
  enum class After : uint8_t { None, Same, Made, Elided } after = After::None;
  Ref<TensorImpl> tensor;  // Same: on memory that was there before. Made: the gradient as the last replay left it
  int slot = -1;           // Made
};

// What a call returns for one of its tensors.
struct Output {
  enum class Kind : uint8_t { Argument, State, Made } kind = Kind::Made;
  int argument = -1;  // the very argument
  int slot = -1;      // a tensor over a value
  Tensor tensor;      // State: the very tensor
};

// The backward pass of an output that carries a graph out of the run, captured behind everything else.
struct BackwardPart {
  int output = 0;
  size_t begin = 0, end = 0;   // its instructions
  int gradient = 0;            // the value that holds the incoming gradient
  std::vector<Tensor> leaves;  // what it was computed from: leaves that are state, or
  std::vector<int> arguments;  // arguments (-1: the leaf)
  std::vector<int> results;    // the slots of their gradients; -1: none flows there
};

class Program : public std::enable_shared_from_this<Program> {
 public:
  // Reads what is outside anew. False where something that the capture took for granted is different now: capture
  // again.
  bool fits(std::span<const Tensor> arguments) const;
  // Whether a run leaves everything as the next one takes it for granted: gradients that are added up begin as none.
  bool repeats() const;
  // Runs everything once. One call at a time; others wait.
  std::vector<Tensor> replay(std::span<const Tensor> arguments);

  // Filled by the capture and changed by the plan. Values and slots are never removed, only left unused.
  std::vector<Value> values;
  std::vector<Slot> slots;
  std::vector<Instruction> instructions;
  size_t value_of(int slot) const { return static_cast<size_t>(slots[static_cast<size_t>(slot)].value); }
  // As they were before the plan: the instructions, and the value of each slot.
  std::vector<Instruction> captured;
  std::vector<int> captured_values;
  std::vector<LeafGradient> gradients;
  std::vector<Output> outputs;
  std::vector<BackwardPart> parts;
  std::vector<std::string> files;
  std::vector<Tensor> arguments;  // as they were at capture, without memory: shape, strides, dtype
  size_t arena_bytes = 0;

  void prepare();  // after the plan: lays out the arena, makes the tensors
  size_t forward_end() const { return parts.empty() ? instructions.size() : parts.front().begin; }

  // What a backward pass needs of the run before it.
  struct Pending {
    std::shared_ptr<Program> program;
    int part = 0;
    std::vector<Tensor> arguments;
    Ref<Storage> arena;
    std::vector<Ref<Storage>> outputs;
    std::vector<std::pair<Ref<Storage>, uint32_t>> versions;  // memory that it reads, as the run left it
  };
  // The gradients of the part's leaves; empty tensors where none flows.
  std::vector<Tensor> replay_backward(const Pending& run, const Tensor& gradient);

 private:
  void plan_arena();
  friend class Batches;  // many replays in one call
  std::unique_lock<std::mutex> lock();
  // replay() in pieces. begin() and end() hold the GIL; between them run() may come several times. `released`: where
  // the GIL is not held, how to take it back; null: it is.
  void begin();
  void run(std::span<const Tensor> arguments, GilRelease* released);
  void end(std::span<const Tensor> arguments, bool finished);
  void bind(int value, char* base);
  void bind_arguments(std::span<const Tensor> arguments);
  void bind_arena(Ref<Storage> arena);
  void attach_graph(std::vector<Tensor>& made, std::span<const Tensor> arguments);
  void bind_outputs();
  void bind_gradients();
  void run_steps(size_t begin, size_t end, GilRelease* released);
  void leave_gradients();
  std::vector<Tensor> make_outputs(std::span<const Tensor> arguments);
  Ref<Storage> storage_of(const Value& v, std::span<const Tensor> arguments) const;

  // What a replay walks: the operands of all instructions lie one after another.
  struct Step {
    const Op* op;
    const Attrs* attrs;
    size_t first, inputs, outputs;
    bool keeps_gil, backward;
  };
  std::vector<Step> steps_;
  std::vector<Tensor> operands_;
  std::vector<std::pair<Cell*, uint64_t>> cells_;              // with which of their numbers are zero
  std::vector<int> argument_values_, state_values_, written_;  // the last: arguments and state that the run writes to
  std::vector<int> arena_values_, outputs_, restored_;         // the last: constants that the run writes to
  std::vector<Ref<Storage>> made_;                             // the outputs' memory in this call
  Ref<Storage> arena_;
  bool releases_gil_ = false;
  std::mutex mutex_;
};

}  // namespace tg

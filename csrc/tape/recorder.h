// Recorder: what a capture sees of a run. execute(), the tape and the bindings report to it.
#pragma once
#include <span>
#include <stdexcept>
#include <string>

#include "tape/op.h"

namespace tg {

struct Node;

// Something in a run that its replay could not repeat. The message names the line and the way out.
struct CaptureError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Recorder : StorageWatch {
  // Before the kernel runs. `out` has no values yet; empty: in place, input 0 (or more) is written.
  virtual void record(const Call& call, std::span<const Tensor> out) = 0;
  virtual void read_grad(TensorImpl& leaf) = 0;   // before .grad is read
  virtual void write_grad(TensorImpl& leaf) = 0;  // before it is replaced
  virtual void visit(const Node& node) = 0;       // before the reverse sweep runs its vjp
  // Something that a replay could not do again, such as reading a value into Python. Throws, or gives up the capture.
  virtual void refuse(const std::string& what) = 0;
  // The same where `t` holds a value that another run would change.
  virtual void refuse_reading(const Tensor& t, const char* by) = 0;
};

// What runs in its scope is not part of the capture, and what it makes is there as if from before.
class CapturePause {
 public:
  CapturePause();
  ~CapturePause();
  CapturePause(const CapturePause&) = delete;

 private:
  Recorder* recorder_;
};

extern constinit thread_local Recorder* recorder TG_STATIC_TLS;  // null: nothing is being captured in this thread

// A leaf's gradient as the rest of the house reads and writes it. Throws where a replay did not store it.
const Ref<TensorImpl>& grad_of(TensorImpl& leaf);
void set_grad(TensorImpl& leaf, Ref<TensorImpl> grad);

inline void refuse_reading(const Tensor& t, const char* by) {
  if (recorder) [[unlikely]]
    recorder->refuse_reading(t, by);
}

}  // namespace tg

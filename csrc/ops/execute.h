// The one way an op runs: check, allocate, run, record.
#pragma once
#include <initializer_list>
#include <span>

#include "tape/tape.h"

namespace tg {

// Runs `op` and returns output 0, recorded on the tape where a gradient is wanted.
Tensor execute(const Op& op, std::span<const Tensor> in, const Attrs& attrs = no_attrs());
inline Tensor execute(const Op& op, std::initializer_list<Tensor> in, const Attrs& attrs = no_attrs()) {
  return execute(op, std::span<const Tensor>(in.begin(), in.size()), attrs);
}
// The same for ops with several outputs; only output 0 takes part in the graph.
void execute(const Op& op, std::span<const Tensor> in, const Attrs& attrs, std::span<Tensor> out);

// Runs `op` with input 0 as its output. Refuses what would make a gradient wrong.
void execute_in_place(const Op& op, std::span<const Tensor> in, const Attrs& attrs = no_attrs());
inline void execute_in_place(const Op& op, std::initializer_list<Tensor> in, const Attrs& attrs = no_attrs()) {
  execute_in_place(op, std::span<const Tensor>(in.begin(), in.size()), attrs);
}

// Shape rules and work estimates that several ops share.
inline void infer_like_first(const Call& c, OutSpec* out) {
  out->shape = c.in[0].shape(), out->dtype = c.in[0].dtype();
}
inline double no_flops(const Call&) { return 0; }
double bytes_of(const Tensor& t);  // its elements, each once even where a stride of 0 repeats it
inline double taken_bytes(const Call& c, std::span<const Tensor> out) {  // the elements that in[1] and later point at
  double sum = 2 * bytes_of(out[0]);
  for (const Tensor& t : c.in.subspan(1)) sum += bytes_of(t);
  return sum;
}
inline double written_bytes(const Call&, std::span<const Tensor> out) { return bytes_of(out[0]); }

// Runs the kernels of `call` into `out`, timed where a profile is being made. Everything that computes goes through
// here.
void run_op(const Call& call, std::span<Tensor> out);

// How to let other Python threads run during long kernels; set once by the bindings.
struct GilHooks {
  void* (*release)();
  void (*restore)(void*);
};
void set_gil_hooks(GilHooks hooks);
class GilRelease {  // scoped
 public:
  explicit GilRelease(bool wanted);
  ~GilRelease();
  GilRelease(const GilRelease&) = delete;
  void pause();  // takes it back for a while
  void resume();

 private:
  void* state_;
};

DType default_dtype();
void set_default_dtype(DType t);

// The dtype two operands are computed in: PyTorch's rule of categories.
DType result_type(const Tensor& a, const Tensor& b);

}  // namespace tg

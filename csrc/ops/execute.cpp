// execute(): the single gate through which every op passes, forward, backward and optimizer alike.
#include "ops/execute.h"

#include <new>
#include <stdexcept>
#include <utility>

#include "ops/cost.h"
#include "ops/work.h"
#include "tape/anomaly.h"
#include "tape/profile.h"
#include "tape/recorder.h"

namespace tg {
namespace {

GilHooks gil{nullptr, nullptr};
DType default_float = DType::Float32;

int64_t distinct(const Tensor& t) {
  int64_t count = t.numel();
  for (int i = 0; i < t.rank(); ++i) {
    if (t.strides()[i] == 0 && count) count /= t.size(i);
  }
  return count;
}
inline int64_t count_bytes(const Tensor& t) {
  return (t.contiguous() ? t.numel() : distinct(t)) * static_cast<int64_t>(itemsize(t.dtype()));
}

// Some 10 us: other Python threads get a chance meanwhile.
bool takes_long(const Call& call, std::span<const Tensor> out) {
  constexpr double kBytes = 10000 / kByteNs, kFlops = 10000 / kFlopNs;
  return bytes_of(call, out) > kBytes || (call.op.flops && call.op.flops(call) > kFlops);
}

void run(const Call& call, std::span<Tensor> out) {
  const GilRelease released(!call.op.keep_gil && takes_long(call, out));
  run_op(call, out);
}

bool wants_gradient(const Call& call) {
  if (!call.op.vjp || !grad_enabled()) return false;
  for (const Tensor& t : call.in) {
    if (t.requires_grad()) return true;
  }
  return false;
}

// Where the written tensor's history would have to change in a way that the tape cannot express.
void check_in_place(const Call& call, bool recording) {
  const Tensor& self = call.in[0];
  const std::string op = call.op.name;
  if (self->storage->read_only) {
    throw std::runtime_error(op + ": the tensor " + describe(self) +
                             " shares read-only memory and cannot be written; use a clone()");
  }
  for (int i = 0; self.numel() && i < self.rank(); ++i) {
    if (self.size(i) > 1 && self.strides()[i] == 0) {
      throw std::runtime_error(op + ": several elements of the expanded tensor " + describe(self) +
                               " share one memory location; use a clone() before writing in place");
    }
  }
  if (!grad_enabled()) return;
  if (self->requires_grad) {
    throw std::runtime_error(op + ": a leaf tensor that requires grad (" + describe(self) +
                             ") cannot be modified in place; do it under no_grad() or on a detach()ed tensor");
  }
  // Another tensor on the same memory (a view, its base) would keep a history that no longer tells its values.
  if (recording && self->storage->refs - self->storage->exports > 1) {
    throw std::runtime_error(
        op + ": an in-place write to " + describe(self) +
        ", whose memory another tensor or the graph still uses, would make a gradient wrong; use an "
        "out-of-place operation (x[i] = x[i] + y for x[i] += y), or a clone()");
  }
}

}  // namespace

double flops_of(const Call& call, std::span<const Tensor> out) {
  if (call.op.flops) return call.op.flops(call);
  int64_t most = 0;
  for (const Tensor& t : call.in) most = std::max(most, t.numel());
  for (const Tensor& t : out) most = std::max(most, t.numel());
  return static_cast<double>(most);
}

double bytes_of(const Call& call, std::span<const Tensor> out) {
  if (call.op.bytes) return call.op.bytes(call, out);
  int64_t sum = 0;
  if (call.op.writes) {
    for (size_t i = 0; i < call.in.size(); ++i) {
      sum += count_bytes(call.in[i]) * (call.op.writes(call, static_cast<int>(i)) ? 2 : 1);
    }
    return static_cast<double>(sum);
  }
  for (const Tensor& t : call.in) sum += count_bytes(t);
  for (const Tensor& t : out) sum += count_bytes(t);
  return static_cast<double>(sum);
}

double bytes_of(const Tensor& t) { return static_cast<double>(count_bytes(t)); }

void run_op(const Call& call, std::span<Tensor> out) {
  if (!profiling()) [[likely]]
    return call.op.run(call, out);
  const int64_t start = profile_clock();
  call.op.run(call, out);
  profile_op(call.op, start, flops_of(call, out), bytes_of(call, out), out[0]);
}

void set_gil_hooks(GilHooks hooks) { gil = hooks; }
GilRelease::GilRelease(bool wanted) : state_(wanted && !keep_gil && gil.release ? gil.release() : nullptr) {}
GilRelease::~GilRelease() { pause(); }
void GilRelease::pause() {
  if (state_) gil.restore(std::exchange(state_, nullptr));
}
void GilRelease::resume() {
  if (gil.release) state_ = gil.release();
}
DType default_dtype() { return default_float; }
void set_default_dtype(DType t) {
  if (!is_float(t))
    throw std::invalid_argument(std::string("set_default_dtype: expected a float dtype, got ") + name(t));
  default_float = t;
}

DType result_type(const Tensor& a, const Tensor& b) {
  const auto level = [](const Tensor& t) { return t->wrapped_number ? 0 : t.rank() == 0 ? 1 : 2; };
  const auto dtype = [](const Tensor& t) {
    return t->wrapped_number && is_float(t.dtype()) ? default_float : t.dtype();
  };
  const int la = level(a), lb = level(b);
  const DType da = dtype(a), db = dtype(b);
  if (la == lb) return promote(da, db);
  const DType high = la > lb ? da : db, low = la > lb ? db : da;
  return category(low) > category(high) ? low : high;
}

void execute(const Op& op, std::span<const Tensor> in, const Attrs& attrs, std::span<Tensor> out) {
  const Call call{op, in, attrs};
  const NanCheck nan(call);
  if (op.view) {
    out[0] = op.view(call);
  } else {
    OutSpec specs[kMaxOutputs];
    op.infer(call, specs);
    for (int i = 0; i < op.outputs; ++i) out[static_cast<size_t>(i)] = Tensor::empty(specs[i].shape, specs[i].dtype);
    const std::span<Tensor> made = out.first(static_cast<size_t>(op.outputs));
    if (recorder) [[unlikely]]
      recorder->record(call, made);
    run(call, made);
  }
  nan.end(call, out[0]);
  if (wants_gradient(call) && is_float(out[0].dtype())) record(call, out);
}

Tensor execute(const Op& op, std::span<const Tensor> in, const Attrs& attrs) {
  Tensor out[kMaxOutputs];
  execute(op, in, attrs, std::span<Tensor>(out, static_cast<size_t>(op.outputs)));
  return std::move(out[0]);
}

void execute_in_place(const Op& op, std::span<const Tensor> in, const Attrs& attrs) {
  Tensor self = in[0];
  const Call call{op, in, attrs};
  const bool recording = wants_gradient(call);
  check_in_place(call, recording);
  if (op.infer) {
    OutSpec spec[kMaxOutputs];
    op.infer(call, spec);
    if (!(spec[0].shape == self.shape()) || spec[0].dtype != self.dtype()) {
      throw std::runtime_error(std::string(op.name) + "_: the result " + name(spec[0].dtype) + " " +
                               to_string(spec[0].shape) + " does not fit in place into " + describe(self));
    }
  }
  if (recorder) [[unlikely]]
    recorder->record(call, {});
  const NanCheck nan(call);
  if (!recording) {
    run(call, std::span<Tensor>(&self, 1));
    nan.end(call, self);
    self->storage->wrote(op.name);
    return;
  }
  // The node must not hold `self`, whose grad_fn it becomes: it sees the tensor as it was before.
  Tensor before = self.detach();
  before->grad_fn = self->grad_fn;
  before->output = self->output;
  std::vector<Tensor> inputs(in.begin(), in.end());
  for (Tensor& t : inputs) {
    if (t.is(self)) t = before;
  }
  run(call, std::span<Tensor>(&self, 1));
  nan.end(call, self);
  record({op, inputs, attrs}, std::span<Tensor>(&self, 1), true);
  self->storage->wrote(op.name);
}

}  // namespace tg

// Optimizer steps over lists of tensors, in place, one pass over memory.
#include <stdexcept>

#include "kernels/kernel_table.h"
#include "ops/ops.h"
#include "ops/rows.h"
#include "ops/subnormals.h"
#include "threads/parallel.h"

namespace tg {
namespace {

// body(tensor, offset in elements, n) over all the parameters, cut into tasks of one chunk each. Elements do not meet,
// so the cut may follow the total: longer chunks stream better, more chunks spread better.
template <class F>
void for_chunks(std::span<const Tensor> params, F&& body) {
  constexpr int64_t kParallel = 32768, kMin = 16384, kMax = 131072;
  constexpr double kNs = 0.3;  // of an element, Adam in the caches
  int64_t total = 0;
  for (const Tensor& p : params) total += p.numel();
  const int64_t length = std::clamp(total / 16 / 1024 * 1024, kMin, kMax);
  std::vector<std::pair<size_t, int64_t>> chunks;
  for (size_t i = 0; i < params.size(); ++i) {
    for (int64_t at = 0; at < params[i].numel(); at += length) chunks.emplace_back(i, at);
  }
  const auto count = static_cast<int64_t>(chunks.size());
  const auto some = [&](int64_t b, int64_t e) {
    const FlushSubnormals flush;
    for (int64_t k = b; k < e; ++k) {
      const auto [i, at] = chunks[static_cast<size_t>(k)];
      body(i, at, std::min(length, params[i].numel() - at));
    }
  };
  parallel_for(count, total > kParallel ? 1 : std::max<int64_t>(count, 1), some, kNs * double(total) / double(count));
}

void* element(const Tensor& t, int64_t at) { return t.data<char>() + at * static_cast<int64_t>(itemsize(t.dtype())); }

// Inputs: n parameters, n gradients, and the state, list after list; attrs.integer[0] = n, attrs.pointer the options.
void run_sgd(const Call& c, std::span<Tensor>) {
  const auto n = static_cast<size_t>(c.attrs.integer[0]);
  const auto& o = *static_cast<const ops::SgdOptions*>(c.attrs.pointer);
  const SgdArgs args = {o.lr, o.momentum, o.dampening, o.weight_decay, o.nesterov, o.maximize, o.first};
  for_chunks(c.in.first(n), [&](size_t i, int64_t at, int64_t m) {
    void* buf = c.in.size() > 2 * n ? element(c.in[2 * n + i], at) : nullptr;
    kernels().optim.sgd[float_index(c.in[i])](m, element(c.in[i], at), element(c.in[n + i], at), buf, &args);
  });
}
constexpr Op kSgd = {"sgd_step_", nullptr, nullptr, run_sgd, nullptr, {0}, 1, true};

void run_adam(const Call& c, std::span<Tensor>) {
  const auto n = static_cast<size_t>(c.attrs.integer[0]);
  const auto& o = *static_cast<const ops::AdamOptions*>(c.attrs.pointer);
  const AdamArgs args = {o.lr, o.beta1, o.beta2, o.eps, o.weight_decay, o.step, o.decoupled, o.maximize};
  for_chunks(c.in.first(n), [&](size_t i, int64_t at, int64_t m) {
    kernels().optim.adam[float_index(c.in[i])](m, element(c.in[i], at), element(c.in[n + i], at),
                                               element(c.in[2 * n + i], at), element(c.in[3 * n + i], at), &args);
  });
}
constexpr Op kAdam = {"adam_step_", nullptr, nullptr, run_adam, nullptr, {0}, 1, true};

void check_state(const char* op, const Tensor& p, const Tensor& s, const char* what) {
  if (s.shape() == p.shape() && s.dtype() == p.dtype()) return;
  throw std::invalid_argument(std::string(op) + ": the " + what + " " + describe(s) + " does not match its parameter " +
                              describe(p));
}

// Checks the lists, runs the step, and raises the version of everything that was written.
void step(const Op& op, std::initializer_list<const ops::TensorList*> lists, const void* options) {
  const ops::TensorList& params = **lists.begin();
  if (params.empty()) return;
  GradMode off(false);
  std::vector<Tensor> in;
  in.reserve(lists.size() * params.size());
  std::vector<std::pair<Tensor, Tensor>> write_back;  // (target, contiguous copy)
  size_t list = 0;
  for (const ops::TensorList* tensors : lists) {
    if (tensors->size() != params.size()) {
      throw std::invalid_argument(std::string(op.name) + ": lists of " + std::to_string(params.size()) + " and " +
                                  std::to_string(tensors->size()) + " tensors; expected one length");
    }
    for (size_t i = 0; i < params.size(); ++i) {
      const Tensor& t = (*tensors)[i];
      if (!is_float(t.dtype()))
        throw std::invalid_argument(std::string(op.name) + ": " + describe(t) + " is no float tensor");
      check_state(op.name, params[i], t, list == 1 ? "gradient" : "state");
      if (list != 1 && t->storage->read_only) {
        throw std::runtime_error(std::string(op.name) + ": " + describe(t) + " shares read-only memory");
      }
      in.push_back(t.contiguous() ? t : ops::contiguous(t));
      if (list != 1) ++t->storage->version;
      if (list != 1 && !t.contiguous()) write_back.emplace_back(t, in.back());
    }
    ++list;
  }
  Attrs attrs;
  attrs.integer[0] = static_cast<int64_t>(params.size());
  attrs.pointer = options;
  execute_in_place(op, in, attrs);
  for (const auto& [target, copy] : write_back) ops::copy_(target, copy);
}

}  // namespace

namespace ops {

void sgd_step_(const TensorList& params, const TensorList& grads, const TensorList& bufs, const SgdOptions& options) {
  if (bufs.empty())
    step(kSgd, {&params, &grads}, &options);
  else
    step(kSgd, {&params, &grads, &bufs}, &options);
}

void adam_step_(const TensorList& params, const TensorList& grads, const TensorList& exp_avgs,
                const TensorList& exp_avg_sqs, const AdamOptions& options) {
  step(kAdam, {&params, &grads, &exp_avgs, &exp_avg_sqs}, &options);
}

}  // namespace ops
}  // namespace tg

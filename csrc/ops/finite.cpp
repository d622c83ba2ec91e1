// require_finite: run() itself looks at the value, so that a replay stops like the run that was captured.
#include "ops/finite.h"

#include <cmath>
#include <cstring>

#include "ops/execute.h"

namespace tg {
namespace {

void infer_require_finite(const Call& c, OutSpec* out) { *out = {{}, c.in[0].dtype()}; }
void run_require_finite(const Call& c, std::span<Tensor> out) {
  std::memcpy(out[0].data(), c.in[0].data(), itemsize(out[0].dtype()));
  if (!is_float(out[0].dtype())) return;
  const double value = out[0].dtype() == DType::Float32 ? *out[0].data<float>() : *out[0].data<double>();
  if (!std::isfinite(value)) throw NotFinite(value);
}
constexpr Op kRequireFinite = {.name = "require_finite",
                               .infer = infer_require_finite,
                               .run = run_require_finite,
                               .may_stop = true,
                               .flops = no_flops};

}  // namespace

Tensor ops::require_finite(const Tensor& x) {
  if (x.numel() != 1) {
    throw std::invalid_argument("the loss must be a scalar, got shape " + to_string(x.shape()) +
                                "; use reduction='mean'");
  }
  return execute(kRequireFinite, {x});
}

}  // namespace tg

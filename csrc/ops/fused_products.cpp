// Input gradients masked by an activation's derivative where they are made.
#include "ops/fused_products.h"

#include "ops/activation.h"
#include "ops/gemm.h"

namespace tg {
namespace {

void infer_masked(const Call& c, OutSpec* out) { *out = {{c.in[0].size(0), c.in[1].size(1)}, c.in[0].dtype()}; }

double masked_flops(const Call& c) { return 2.0 * double(c.in[0].numel()) * double(c.in[1].size(1)); }

template <const Activation& F>
void run_masked(const Call& c, std::span<Tensor> out) {
  struct Mask {
    ElementwiseKernel kernel;
    const char* y;
    int64_t width, item;
  };
  GemmArgs g = gemm_args(c.in[0], c.in[1], out[0].data());
  const Mask mask = {(kernels().*F.kernels).grad[g.dtype], c.in[2].data<char>(), g.n,
                     static_cast<int64_t>(itemsize(out[0].dtype()))};
  const auto run = [](const void* ctx, const GemmPart& part) {
    const Mask& m = *static_cast<const Mask*>(ctx);
    part.for_rows(m.width, m.item, [&m](int64_t at, int64_t n, void* values) {
      const void* const in[] = {values, nullptr, m.y + at * m.item};
      const int64_t step[] = {1, 0, 1};
      m.kernel(n, values, in, step);
    });
  };
  g.hook = {run, &mask};
  gemm(g);
}

template <const Activation& F>
constexpr Op kMasked = {.name = "matmul_masked", .infer = infer_masked, .run = run_masked<F>, .flops = masked_flops};

}  // namespace

const Op* masked_product(const Op& matmul, const Op& derivative) {
  if (!is_product(matmul)) return nullptr;
  if (&derivative == kRelu.backward) return &kMasked<kRelu>;
  if (&derivative == kTanh.backward) return &kMasked<kTanh>;
  if (&derivative == kSigmoid.backward) return &kMasked<kSigmoid>;
  return nullptr;
}

}  // namespace tg

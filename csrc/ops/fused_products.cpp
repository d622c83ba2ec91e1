// Products whose parts are consumed where they are made: masked input gradients, weight gradients with their update.
#include "ops/fused_products.h"

#include "ops/activation.h"
#include "ops/gemm.h"
#include "ops/subnormals.h"

namespace tg {
namespace {

void infer_masked(const Call& c, OutSpec* out) { *out = {{c.in[0].size(0), c.in[1].size(1)}, c.in[0].dtype()}; }

double masked_flops(const Call& c) { return 2.0 * double(c.in[0].numel()) * double(c.in[1].size(1)); }
double update_flops(const Call& c) { return 2.0 * double(c.in[1].numel()) * double(c.in[2].size(1)); }

void run_masked(const Call& c, std::span<Tensor> out) {
  struct Mask {
    ElementwiseKernel kernel;
    const char* y;
    int64_t width, item;
  };
  GemmArgs g = gemm_args(c.in[0], c.in[1], out[0].data());
  const auto& activation = *static_cast<const Activation*>(c.attrs.pointer);
  const Mask mask = {(kernels().*activation.kernels).grad[g.dtype], c.in[2].data<char>(), g.n,
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

void run_update(const Call& c, std::span<Tensor>) {
  struct Target {
    TileUpdate update;
    int64_t width, item;
  };
  GemmArgs g = gemm_args(c.in[1], c.in[2], nullptr);
  const Target target = {*static_cast<const TileUpdate*>(c.attrs.pointer), g.n,
                         static_cast<int64_t>(itemsize(c.in[1].dtype()))};
  const auto run = [](const void* ctx, const GemmPart& part) {
    const Target& t = *static_cast<const Target*>(ctx);
    const FlushSubnormals flush;
    part.for_rows(t.width, t.item,
                  [&t](int64_t at, int64_t n, const void* values) { t.update.run(t.update.ctx, at, n, values); });
  };
  g.hook = {run, &target};
  gemm(g);
}

}  // namespace

constexpr Op kMatmulMasked = {.name = "matmul_masked", .infer = infer_masked, .run = run_masked, .flops = masked_flops};
constexpr Op kMatmulUpdate = {.name = "matmul_update", .run = run_update, .in_place = true, .flops = update_flops};

}  // namespace tg

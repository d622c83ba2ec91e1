// Builds the kernel table of one ISA level. The including file names it: TG_TABLE (the symbol) and TG_ISA (the level).
#include "kernels/elementwise_loops.inl.h"
#include "kernels/gemm.inl.h"
#include "kernels/kernel_table.h"
#include "kernels/layer_norm.inl.h"
#include "kernels/moments.inl.h"
#include "kernels/optim.inl.h"
#include "kernels/pack.inl.h"
#include "kernels/random.inl.h"
#include "kernels/reduce.inl.h"
#include "kernels/softmax.inl.h"
#include "kernels/squares.inl.h"

namespace tg {
namespace {

constexpr KernelTable make_table() {
  KernelTable table = {};
  table.isa = TG_ISA;
  fill_elementwise(table);
  fill_pack(table);
  table.sum = kSum;
  table.max = kMax;
  table.min = kMin;
  table.argmax = kArgmax;
  table.argmin = kArgmin;
  table.moments = kMoments;
  table.squares = kSquares;
  table.softmax = kSoftmax;
  table.layer_norm = kLayerNorm;
  table.optim = kOptim;
  table.random = kRandom;
  table.gemm[kFloat32 - kFloat32] = kGemmF32;
  table.gemm[kFloat64 - kFloat32] = kGemmF64;
  return table;
}

}  // namespace

extern const KernelTable TG_TABLE;
constexpr KernelTable TG_TABLE = make_table();  // a constant: no code runs before main, none is shared between levels

}  // namespace tg

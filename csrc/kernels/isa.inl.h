// Builds the kernel table of one ISA level. The including file names it: TG_TABLE (the symbol) and TG_ISA (the level).
#include "kernels/elementwise_loops.inl.h"
#include "kernels/kernel_table.h"
#if __has_include("kernels/reduce.inl.h")
#include "kernels/reduce.inl.h"
#define HAVE_REDUCE
#endif
#if __has_include("kernels/softmax.inl.h")
#include "kernels/softmax.inl.h"
#define HAVE_SOFTMAX
#endif
#if __has_include("kernels/optim.inl.h")
#include "kernels/optim.inl.h"
#define HAVE_OPTIM
#endif
#if __has_include("kernels/gemm.inl.h")
#include "kernels/gemm.inl.h"
#define HAVE_GEMM
#endif

namespace tg {
namespace {

constexpr KernelTable make_table() {
  KernelTable table = {};
  table.isa = TG_ISA;
  fill_elementwise(table);
#ifdef HAVE_REDUCE
  table.sum = kSum;
  table.prod = kProd;
  table.max = kMax;
  table.min = kMin;
  table.argmax = kArgmax;
  table.argmin = kArgmin;
#endif
#ifdef HAVE_SOFTMAX
  table.softmax = kSoftmax;
#endif
#ifdef HAVE_OPTIM
  table.optim = kOptim;
#endif
#ifdef HAVE_GEMM
  table.gemm[kFloat32 - kFloat32] = kGemmF32;
  table.gemm[kFloat64 - kFloat32] = kGemmF64;
#endif
  return table;
}

}  // namespace

extern const KernelTable TG_TABLE;
constexpr KernelTable TG_TABLE = make_table();

}  // namespace tg

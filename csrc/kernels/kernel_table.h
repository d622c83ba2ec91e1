// The sole interface between the per-ISA kernel files and the rest: plain function pointers in one struct.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "kernels/inline.h"

namespace tg {

// Position of a dtype in a kernel array; equals the value of DType in tensor/dtype.h.
enum { kBool, kUInt8, kInt32, kInt64, kFloat32, kFloat64, kDTypeCount };
// Position in arrays that hold only the floating dtypes: dtype - kFloat32.
enum { kFloatCount = 2 };

// out[i] = f(in[0][i], in[1][i], ...) over n contiguous elements. step[k] is 1, or 0 where in[k] is one value.
// in[] and out may be the same buffer (exactly), never partly overlap. A gradient kernel gets in = {g, x, y} (unary) or
// {g, a, b, y} (binary); operands its functor does not need are null.
using ElementwiseKernel = void (*)(int64_t n, void* out, const void* const* in, const int64_t* step);
struct UnaryKernels {
  ElementwiseKernel forward[kDTypeCount];
  ElementwiseKernel grad[kDTypeCount];  // null but for the floats
};
struct BinaryKernels {
  ElementwiseKernel forward[kDTypeCount];
  ElementwiseKernel grad_a[kDTypeCount];
  ElementwiseKernel grad_b[kDTypeCount];
};
struct CompareKernels {
  ElementwiseKernel forward[kDTypeCount];  // in: that dtype, out: bool
};

// rows: out[r] = reduce over j of x[r * row_stride + j], j < n (contiguous rows).
// cols: out[j] = reduce over i of x[i * ld + j], i < n, j < cols. n >= 1. Strides in elements.
// Sums are blocked so that the error stays near one rounding; the result depends on the arguments alone.
// max and min propagate nan; of bool values they are `any` and `all`, and stop early. argmax and argmin write int64
// (first position; first nan wins), n < 2^31.
struct ReduceKernels {
  void (*rows[kDTypeCount])(int64_t rows, int64_t n, const void* x, int64_t row_stride, void* out);
  void (*cols[kDTypeCount])(int64_t n, int64_t cols, const void* x, int64_t ld, void* out);
};

// The mean of n elements and the sum of their squared deviations from it; what the kernels of `moments` write.
struct Moments {
  double mean, squares;
};
// The moments of two sets together, of `count` and of n elements (Chan, Golub & LeVeque, "Updating formulae and a
// pairwise algorithm for computing sample variances", 1979).
TG_INLINE void merge_moments(Moments& all, double count, const Moments& part, double n) {
  const double delta = part.mean - all.mean, share = n / (count + n);
  all.mean += delta * share;
  all.squares += part.squares + delta * delta * share * count;
}

struct SquareKernels {
  // out[r] = the sum of the squares of x[r * row_stride + j], j < n: double.
  void (*rows[kFloatCount])(int64_t rows, int64_t n, const void* x, int64_t row_stride, void* out);
  // out[i * ld + j] = the Euclidean distance between row i of a and row j of b, rows of m contiguous elements.
  void (*distances[kFloatCount])(int64_t rows, int64_t columns, int64_t m, const void* a, const void* b, void* out,
                                 int64_t ld);
};

// All on contiguous rows of n, one entry for float32 and one for float64.
struct SoftmaxKernels {
  void (*softmax[kFloatCount])(int64_t rows, int64_t n, const void* x, void* y);
  void (*log_softmax[kFloatCount])(int64_t rows, int64_t n, const void* x, void* y);
  // out = y * (g - sum(g * y)) and out = g - exp(y) * sum(g), row by row.
  void (*softmax_backward[kFloatCount])(int64_t rows, int64_t n, const void* g, const void* y, void* out);
  void (*log_softmax_backward[kFloatCount])(int64_t rows, int64_t n, const void* g, const void* y, void* out);
  // stats[r] = {max(x[r]), log(sum(exp(x[r] - max)))}: apart, so that large logits lose nothing.
  // loss[r] = logsumexp(x[r]) - x[r][target[r]]. Targets are checked by the caller.
  void (*cross_entropy[kFloatCount])(int64_t rows, int64_t n, const void* x, const int64_t* target, void* loss,
                                     void* stats);
  // out[r][j] = (softmax(x[r])[j] - (j == target[r])) * scale[r * scale_step].
  void (*cross_entropy_backward[kFloatCount])(int64_t rows, int64_t n, const void* x, const int64_t* target,
                                              const void* stats, const void* scale, int64_t scale_step, void* out);
};

enum { kLayerNormStats = 3 };  // of a row
struct LayerNormBackward {
  int64_t rows, n;
  const void *g, *x, *weight;  // weight null: ones
  const double* stats;
  void* dx;       // null: not wanted
  void* columns;  // the sums over the rows of g * (x - mean) * rstd, then those of g, 2 n in all; null: not wanted
};
// All on contiguous rows of n.
struct LayerNormKernels {
  // y = (x - mean) * rstd * weight + bias, rstd = 1 / sqrt(var + eps); weight, bias null: ones, zeros.
  // stats[r] = {mean, what it lost when it was rounded, rstd}.
  void (*forward[kFloatCount])(int64_t rows, int64_t n, const void* x, const void* weight, const void* bias, double eps,
                               void* y, double* stats);
  void (*backward[kFloatCount])(const LayerNormBackward&);
};

// What the steps of the optimizers are told, as their rules (ops/optim_rules.h) make it of options and step count.
struct StepArgs {
  double lr, weight_decay;
  bool maximize;
  bool decoupled;  // p *= 1 - lr * weight_decay, instead of g += weight_decay * p
};
struct SgdArgs : StepArgs {
  double momentum, dampening;  // no momentum: no buffer
  bool nesterov;
  bool first;  // the momentum buffer is to be set to the gradient, not updated
};
// p -= step * (g_share * g + m_share * m) / (scale * sqrt(v) + eps), m_share being 1 where g_share is 0. State: m, v,
// largest v (amsgrad).
struct AdamArgs : StepArgs {
  double beta1, beta2, eps, step, g_share, m_share, scale;
};
struct AdamaxArgs : StepArgs {  // state: m, largest |g|
  double beta1, beta2, eps, step;
};
struct AdagradArgs : StepArgs {  // state: sum of g^2
  double step, eps;
};
struct RmspropArgs : StepArgs {  // state: mean of g^2, momentum buffer, mean of g
  double alpha, eps, momentum;
  bool centered;
};
struct AdadeltaArgs : StepArgs {  // state: mean of g^2, mean of the steps' squares
  double rho, eps;
};
struct RpropArgs : StepArgs {  // state: last g, step size
  double eta_minus, eta_plus, least, most;
};
struct LionArgs : StepArgs {  // state: m
  double beta1, beta2;
};
// The momentum of Muon: buf moves to g; "p", which is not read, becomes what the products start from.
struct MuonArgs : StepArgs {
  double momentum;
  bool nesterov;
};
// One pass over n contiguous elements, in place, by PyTorch's single-tensor formulas. lists: parameter, gradient, and
// the state as above, null where the options ask for none. args: those of the kernel.
using StepKernel = void (*)(int64_t n, void* const* lists, const void* args);
struct OptimKernels {
  StepKernel sgd[kFloatCount], adam[kFloatCount], adamax[kFloatCount], adagrad[kFloatCount], rmsprop[kFloatCount],
      adadelta[kFloatCount], rprop[kFloatCount], lion[kFloatCount], muon[kFloatCount];
};

struct DropoutArgs {
  uint64_t key;
  double p;  // of dropping, < 1
};
// y = x / (1 - p) where the element is kept, 0 elsewhere. Element i of the tensor is kept or not by (key, i) alone;
// `first`, the number of x[0], is a multiple of 64. x may be y.
struct RandomKernels {
  void (*dropout[kFloatCount])(int64_t n, const void* x, void* y, int64_t first, const DropoutArgs*);
};

// One block of a product: C[m, n] = A[m, k] B[k, n], plus C where `accumulate`, plus the bias if any. k >= 1.
// A and B may be packed or the matrices themselves: element (i, p) of A, i = q * rows + r, lies at
// a + q * a_panel + r * ars + p * acs; element (p, j) of B, j = q * nr + r, at b + q * b_panel + p * brs + r.
// One of crs, ccs is 1; the bias runs along that direction of C. Strides in elements.
struct GemmBlock {
  int64_t m, n, k;
  int64_t rows;  // of a panel of A, at most mr
  const void* a;
  int64_t ars, acs, a_panel;
  const void* b;
  int64_t brs, b_panel;
  bool padded;  // the last panel of B may be read up to nr columns; else it may be read backwards to that width
  void* c;
  int64_t crs, ccs;
  bool accumulate;
  const void* bias;
};
// A product with m vectors of k contiguous elements (`row` takes one): n results y for each, plus y where `accumulate`,
// plus the bias if any.
struct GemvArgs {
  int64_t m, n, k;
  const void* a;
  int64_t lda;
  const void* x;
  int64_t ldx;
  void* y;
  int64_t incy, ldy;
  bool accumulate;
  const void* bias;
  int64_t incbias, ldbias;
};
// Driven by ops/gemm.cpp.
struct GemmKernels {
  int64_t mr, nr;  // register tile
  void (*block)(const GemmBlock&);
  // Packs a k x n matrix into panels of `width` columns, dst[panel][k][width], the last panel padded with zeros. A is
  // packed by this too, as its transpose.
  void (*pack)(int64_t k, int64_t n, const void* src, int64_t rs, int64_t cs, int64_t width, void* dst);
  void (*dot)(const GemvArgs&);  // y[i] = sum over p of a[i * lda + p] * x[p], for each x
  void (*row)(const GemvArgs&);  // y[j] = sum over p of x[p] * a[p * lda + j]
};

// dst[r][c] = src[r][c] for a block of rows x cols elements. pack reads any strides (0 too), unpack
// writes any. The other side's columns are contiguous. Strides in bytes.
using PackKernel = void (*)(int64_t rows, int64_t cols, const char* src, int64_t row, int64_t col, char* dst,
                            int64_t dst_row);
using UnpackKernel = void (*)(int64_t rows, int64_t cols, const char* src, int64_t src_row, char* dst, int64_t row,
                              int64_t col);

struct KernelTable {
  const char* isa;  // "baseline", "avx2", "avx512"
#define UNARY(name, ...) UnaryKernels name;
#define BINARY(name, ...) BinaryKernels name;
#define COMPARE(name, ...) CompareKernels name;
#define PARAMETRIC(name, ...) UnaryKernels name;  // in: {x, p, q}, and {g, x, p, q} for the gradient
#include "ops/ops.def"
  ElementwiseKernel clamp[kDTypeCount];              // in: {x, low, high}
  ElementwiseKernel clamp_grad[kDTypeCount];         // in: {g, x, low, high}
  ElementwiseKernel lerp[kDTypeCount];               // in: {a, b, weight}
  ElementwiseKernel addcmul[kDTypeCount];            // in: {a, b, c, value}: a + value * b * c
  ElementwiseKernel where[kDTypeCount];              // in: {bool cond, a, b}
  ElementwiseKernel cast[kDTypeCount][kDTypeCount];  // [from][to]; to bool: x != 0; float to int truncates
  PackKernel pack[kDTypeCount];
  UnpackKernel unpack[kDTypeCount];
  ReduceKernels sum, max, min, argmax, argmin;  // sum: floats and int64 only
  ReduceKernels moments;                        // floats only
  SquareKernels squares;
  SoftmaxKernels softmax;
  LayerNormKernels layer_norm;
  OptimKernels optim;
  RandomKernels random;
  GemmKernels gemm[kFloatCount];
};

const KernelTable& kernels();  // the active level's table; chosen on first use

}  // namespace tg

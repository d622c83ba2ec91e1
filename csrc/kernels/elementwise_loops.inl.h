// The loops around the elementwise functors, where and cast, and the rows of the kernel table made from them.
#pragma once
#include "kernels/elementwise.inl.h"
#include "kernels/kernel_table.h"
#include "kernels/math.inl.h"
#include "kernels/parametric.inl.h"

namespace tg {
namespace {

// ---- loops over Vec: arithmetic

// `unroll` vectors of one value. Apart from Operand, so that the pointers there stay in registers.
template <class T, int unroll, bool used>
struct Spread {
  alignas(kVecBytes) T lanes[unroll * Vec<T>::size];
};
template <class T, int unroll>
struct Spread<T, unroll, false> {};

// An operand of a loop that takes `unroll` vectors at a time: the caller's array, or one value spread over a buffer
// that the loop then reads again and again, so that it needs no branch. An operand that is not `used` may be anything.
template <class T, int unroll, bool used>
struct Operand {
  const T* p;
  int64_t step;

  TG_INLINE Operand(const void* const* in, const int64_t* steps, int k, Spread<T, unroll, true>& spread)
      : p((const T*)in[k]), step(steps[k]) {
    if (step == 0) {
      Vec<T> value(*p);
      for (int u = 0; u < unroll; ++u) value.store(spread.lanes + u * Vec<T>::size);
      p = spread.lanes;
    }
  }
  TG_INLINE Vec<T> load(int u) const { return Vec<T>::load(p + u * Vec<T>::size); }
  TG_INLINE Vec<T> load_partial(int64_t n) const { return Vec<T>::load_partial(p, n); }
  TG_INLINE void advance(int64_t vectors) { p += step * vectors * Vec<T>::size; }
};
template <class T, int unroll>
struct Operand<T, unroll, false> {
  TG_INLINE Operand(const void* const*, const int64_t*, int, Spread<T, unroll, false>&) {}
  TG_INLINE Vec<T> load(int) const { return Vec<T>(T(0)); }
  TG_INLINE Vec<T> load_partial(int64_t) const { return Vec<T>(T(0)); }
  TG_INLINE void advance(int64_t) {}
};

// out[i] = f(in[0][i], ...), the operands being those whose bit is set in `used`. The last, partial vector goes through
// the same f, so that a result does not depend on its position.
template <class T, unsigned used, int unroll, class F>
TG_INLINE void map(int64_t n, void* out_, const void* const* in, const int64_t* step, F f) {
  constexpr int size = Vec<T>::size;
  T* out = (T*)out_;
  constexpr bool has_a = (used & 1) != 0, has_b = (used & 2) != 0, has_c = (used & 4) != 0, has_d = (used & 8) != 0;
  Spread<T, unroll, has_a> spread_a;
  Spread<T, unroll, has_b> spread_b;
  Spread<T, unroll, has_c> spread_c;
  Spread<T, unroll, has_d> spread_d;
  Operand<T, unroll, has_a> a(in, step, 0, spread_a);
  Operand<T, unroll, has_b> b(in, step, 1, spread_b);
  Operand<T, unroll, has_c> c(in, step, 2, spread_c);
  Operand<T, unroll, has_d> d(in, step, 3, spread_d);
  if constexpr (unroll > 1) {
    for (; n >= unroll * size; n -= unroll * size, out += unroll * size) {
      Vec<T> y[unroll];  // all loads come before all stores: out may be an operand
      for (int u = 0; u < unroll; ++u) y[u] = f(a.load(u), b.load(u), c.load(u), d.load(u));
      for (int u = 0; u < unroll; ++u) y[u].store(out + u * size);
      a.advance(unroll), b.advance(unroll), c.advance(unroll), d.advance(unroll);
    }
  }
  for (; n > 0; n -= size, out += size) {
    if (n >= size) {
      f(a.load(0), b.load(0), c.load(0), d.load(0)).store(out);
    } else {
      f(a.load_partial(n), b.load_partial(n), c.load_partial(n), d.load_partial(n)).store_partial(out, n);
    }
    a.advance(1), b.advance(1), c.advance(1), d.advance(1);
  }
}

// Vectors per turn: cheap ops gain from several, dear ones only grow.
template <class F>
constexpr int kUnroll = requires { F::ns; } ? 1 : 4;

template <class F, class T>
void unary_forward(int64_t n, void* out, const void* const* in, const int64_t* step) {
  using V = Vec<T>;
  map<T, 1, kUnroll<F>>(n, out, in, step, [](V x, V, V, V) { return F::forward(x); });
}
template <class F, class T>
void unary_grad(int64_t n, void* out, const void* const* in, const int64_t* step) {
  using V = Vec<T>;
  constexpr unsigned used = 1 | ((F::needs & kNeedsA) ? 2 : 0) | ((F::needs & kNeedsY) ? 4 : 0);
  map<T, used, kUnroll<F>>(n, out, in, step, [](V g, V x, V y, V) { return F::grad(g, x, y); });
}
template <class F, class T>
void binary_forward(int64_t n, void* out, const void* const* in, const int64_t* step) {
  using V = Vec<T>;
  map<T, 3, kUnroll<F>>(n, out, in, step, [](V a, V b, V, V) { return F::forward(a, b); });
}
template <class F, class T, unsigned operands>
void forward_of_many(int64_t n, void* out, const void* const* in, const int64_t* step) {
  using V = Vec<T>;
  map<T, (1u << operands) - 1, kUnroll<F>>(n, out, in, step, [](V a, V b, V c, V d) { return F::forward(a, b, c, d); });
}
constexpr unsigned grad_operands(unsigned needs) {
  return 1 | ((needs & kNeedsA) ? 2 : 0) | ((needs & kNeedsB) ? 4 : 0) | ((needs & kNeedsY) ? 8 : 0);
}
template <class F, class T>
void binary_grad_a(int64_t n, void* out, const void* const* in, const int64_t* step) {
  using V = Vec<T>;
  map<T, grad_operands(F::needs_a), kUnroll<F>>(n, out, in, step,
                                                [](V g, V a, V b, V y) { return F::grad_a(g, a, b, y); });
}
template <class F, class T>
void binary_grad_b(int64_t n, void* out, const void* const* in, const int64_t* step) {
  using V = Vec<T>;
  map<T, grad_operands(F::needs_b), kUnroll<F>>(n, out, in, step,
                                                [](V g, V a, V b, V y) { return F::grad_b(g, a, b, y); });
}
template <class F, class T>
void parametric_forward(int64_t n, void* out, const void* const* in, const int64_t* step) {
  using V = Vec<T>;
  map<T, F::numbers == 2 ? 7 : 3, kUnroll<F>>(n, out, in, step, [](V x, V p, V q, V) { return F::forward(x, p, q); });
}
template <class F, class T>
void parametric_grad(int64_t n, void* out, const void* const* in, const int64_t* step) {
  using V = Vec<T>;
  map<T, F::numbers == 2 ? 15 : 7, kUnroll<F>>(n, out, in, step,
                                               [](V g, V x, V p, V q) { return F::grad(g, x, p, q); });
}

// x ** 2 and x ** 3 are common and worth loops of their own.
template <class T>
TG_INLINE bool is_value(T value, const void* exponent, int64_t step) {
  return step == 0 && *(const T*)exponent == value;
}
template <class T>
void pow_forward(int64_t n, void* out, const void* const* in, const int64_t* step) {
  if (is_value(T(2), in[1], step[1])) return unary_forward<Square, T>(n, out, in, step);
  if (is_value(T(3), in[1], step[1])) return unary_forward<Cube, T>(n, out, in, step);
  binary_forward<Pow, T>(n, out, in, step);
}
template <class T>
void pow_grad_a(int64_t n, void* out, const void* const* in, const int64_t* step) {
  if (is_value(T(2), in[2], step[2])) return unary_grad<Square, T>(n, out, in, step);
  if (is_value(T(3), in[2], step[2])) return unary_grad<Cube, T>(n, out, in, step);
  binary_grad_a<Pow, T>(n, out, in, step);
}

// ---- loops over scalars, vectorised by the compiler: comparisons, where, cast

// As Operand, for loops that run over blocks of kBlock.
constexpr int64_t kBlock = 256;
template <class T>
struct BlockOperand {
  T spread[kBlock];
  const T* p;
  int64_t step;

  TG_INLINE BlockOperand(const void* const* in, const int64_t* steps, int k, int64_t n)
      : p((const T*)in[k]), step(steps[k]) {
    if (step == 0) {
      T value = *p;
      for (int64_t i = 0; i < (n < kBlock ? n : kBlock); ++i) spread[i] = value;
      p = spread;
    }
  }
};

template <class F, class T>
void compare(int64_t n, void* out_, const void* const* in, const int64_t* step) {
  BlockOperand<T> a(in, step, 0, n), b(in, step, 1, n);
  uint8_t* out = (uint8_t*)out_;
  while (n > 0) {
    int64_t m = (a.step && b.step) || n < kBlock ? n : kBlock;
    TG_IVDEP
    for (int64_t i = 0; i < m; ++i) out[i] = F::forward(a.p[i], b.p[i]);
    a.p += a.step * m, b.p += b.step * m, out += m, n -= m;
  }
}

template <class T>
void where(int64_t n, void* out_, const void* const* in, const int64_t* step) {
  BlockOperand<uint8_t> condition(in, step, 0, n);
  BlockOperand<T> a(in, step, 1, n), b(in, step, 2, n);
  T* out = (T*)out_;
  while (n > 0) {
    int64_t m = (condition.step && a.step && b.step) || n < kBlock ? n : kBlock;
    TG_IVDEP
    for (int64_t i = 0; i < m; ++i) {
      T x = a.p[i], y = b.p[i];
      out[i] = condition.p[i] ? x : y;
    }
    condition.p += condition.step * m, a.p += a.step * m, b.p += b.step * m, out += m, n -= m;
  }
}

template <class To, class From>
TG_INLINE To cast_value(From x) {
  if constexpr (sizeof(To) == 1 && sizeof(From) >= 4 && From(0.5) != From(0)) {
    return (To)(int32_t)x;  // -1.0 to 255, as NumPy does
  } else {
    return (To)x;
  }
}
template <class From, class To>
void cast(int64_t n, void* out_, const void* const* in, const int64_t* step) {
  BlockOperand<From> a(in, step, 0, n);
  To* out = (To*)out_;
  while (n > 0) {
    int64_t m = a.step || n < kBlock ? n : kBlock;
    TG_IVDEP
    for (int64_t i = 0; i < m; ++i) out[i] = cast_value<To>(a.p[i]);
    a.p += a.step * m, out += m, n -= m;
  }
}
template <class From>
void cast_to_bool(int64_t n, void* out_, const void* const* in, const int64_t* step) {
  BlockOperand<From> a(in, step, 0, n);
  uint8_t* out = (uint8_t*)out_;
  while (n > 0) {
    int64_t m = a.step || n < kBlock ? n : kBlock;
    TG_IVDEP
    for (int64_t i = 0; i < m; ++i) out[i] = a.p[i] != From(0);
    a.p += a.step * m, out += m, n -= m;
  }
}

// ---- table rows

constexpr unsigned kFLOAT = 1u << kFloat32 | 1u << kFloat64;
constexpr unsigned kINTEGRAL = 1u << kBool | 1u << kUInt8 | 1u << kInt32 | 1u << kInt64;
constexpr unsigned kALL = kFLOAT | kINTEGRAL;
constexpr unsigned kNUMERIC = kALL & ~(1u << kBool);

// The op that does on bytes of 0 and 1 what F means for bool.
template <class F>
struct BoolForm {
  using type = F;
};
template <>
struct BoolForm<Add> {
  using type = BitOr;
};
template <>
struct BoolForm<Mul> {
  using type = BitAnd;
};
template <>
struct BoolForm<Maximum> {
  using type = BitOr;
};
template <>
struct BoolForm<Minimum> {
  using type = BitAnd;
};

template <class F, unsigned dtypes>
constexpr UnaryKernels unary_row() {
  UnaryKernels row = {};
  row.forward[kFloat32] = unary_forward<F, float>;
  row.forward[kFloat64] = unary_forward<F, double>;
  if constexpr ((dtypes >> kUInt8 & 1) != 0 && !keeps<F>(kUInt8)) {
    row.forward[kUInt8] = unary_forward<F, uint8_t>;
    row.forward[kInt32] = unary_forward<F, int32_t>;
    row.forward[kInt64] = unary_forward<F, int64_t>;
  }
  if constexpr (has_gradient_kernel(F::needs)) {
    row.grad[kFloat32] = unary_grad<F, float>;
    row.grad[kFloat64] = unary_grad<F, double>;
  }
  return row;
}

template <class F, unsigned dtypes>
constexpr BinaryKernels binary_row() {
  BinaryKernels row = {};
  if constexpr ((dtypes >> kBool & 1) != 0) row.forward[kBool] = binary_forward<typename BoolForm<F>::type, uint8_t>;
  if constexpr ((dtypes >> kUInt8 & 1) != 0) {
    row.forward[kUInt8] = binary_forward<F, uint8_t>;
    row.forward[kInt32] = binary_forward<F, int32_t>;
    row.forward[kInt64] = binary_forward<F, int64_t>;
  }
  if constexpr ((dtypes >> kFloat32 & 1) != 0) {
    row.forward[kFloat32] = binary_forward<F, float>;
    row.forward[kFloat64] = binary_forward<F, double>;
    if constexpr (has_gradient_kernel(F::needs_a)) {
      row.grad_a[kFloat32] = binary_grad_a<F, float>;
      row.grad_a[kFloat64] = binary_grad_a<F, double>;
    }
    if constexpr (has_gradient_kernel(F::needs_b)) {
      row.grad_b[kFloat32] = binary_grad_b<F, float>;
      row.grad_b[kFloat64] = binary_grad_b<F, double>;
    }
  }
  return row;
}

template <class F>
constexpr CompareKernels compare_row() {
  return {{compare<F, uint8_t>, compare<F, uint8_t>, compare<F, int32_t>, compare<F, int64_t>, compare<F, float>,
           compare<F, double>}};
}

template <class F>
constexpr UnaryKernels parametric_row() {
  UnaryKernels row = {};
  row.forward[kFloat32] = parametric_forward<F, float>;
  row.forward[kFloat64] = parametric_forward<F, double>;
  row.grad[kFloat32] = parametric_grad<F, float>;
  row.grad[kFloat64] = parametric_grad<F, double>;
  return row;
}

// A functor of three or four operands.
template <class F, unsigned operands>
constexpr void fill_floats(ElementwiseKernel* row) {
  row[kFloat32] = forward_of_many<F, float, operands>;
  row[kFloat64] = forward_of_many<F, double, operands>;
}

template <class From>
constexpr void fill_cast_row(ElementwiseKernel* row) {
  row[kBool] = cast_to_bool<From>;
  row[kUInt8] = cast<From, uint8_t>;
  row[kInt32] = cast<From, int32_t>;
  row[kInt64] = cast<From, int64_t>;
  row[kFloat32] = cast<From, float>;
  row[kFloat64] = cast<From, double>;
}

constexpr void fill_elementwise(KernelTable& table) {
#define UNARY(name, Functor, DTYPES, doc) table.name = unary_row<Functor, k##DTYPES>();
#define BINARY(name, Functor, DTYPES, doc) table.name = binary_row<Functor, k##DTYPES>();
#define COMPARE(name, Functor, doc) table.name = compare_row<Functor>();
#define PARAMETRIC(name, Functor) table.name = parametric_row<Functor>();
#include "ops/ops.def"
  table.pow.forward[kFloat32] = pow_forward<float>;
  table.pow.forward[kFloat64] = pow_forward<double>;
  table.pow.grad_a[kFloat32] = pow_grad_a<float>;
  table.pow.grad_a[kFloat64] = pow_grad_a<double>;
  fill_floats<Clamp, 3>(table.clamp);
  fill_floats<ClampGrad, 4>(table.clamp_grad);
  fill_floats<Lerp, 3>(table.lerp);
  fill_floats<Addcmul, 4>(table.addcmul);
  table.where[kBool] = table.where[kUInt8] = where<uint8_t>;
  table.where[kInt32] = table.where[kFloat32] = where<int32_t>;
  table.where[kInt64] = table.where[kFloat64] = where<int64_t>;
  fill_cast_row<uint8_t>(table.cast[kBool]);
  fill_cast_row<uint8_t>(table.cast[kUInt8]);
  fill_cast_row<int32_t>(table.cast[kInt32]);
  fill_cast_row<int64_t>(table.cast[kInt64]);
  fill_cast_row<float>(table.cast[kFloat32]);
  fill_cast_row<double>(table.cast[kFloat64]);
}

}  // namespace
}  // namespace tg

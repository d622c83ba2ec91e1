// Ops without inputs: full, arange, linspace, eye.
#include <cmath>
#include <limits>
#include <stdexcept>

#include "ops/loop.h"
#include "ops/ops.h"
#include "ops/promotion.h"
#include "threads/parallel.h"

namespace tg {
namespace {

// attrs.dims = shape, attrs.dtype; numbers in attrs.scalar or attrs.integer
void infer_from_attrs(const Call& c, OutSpec* out) { *out = {c.attrs.dims, c.attrs.dtype}; }

// out[i] = value(i, tag), by blocks: value(first) gives the function of the offset in a block, whose small integers
// convert to floats in vectors.
template <class F>
void fill_with(const Tensor& out, F&& value) {
  constexpr int64_t kGrain = 16384;
  dispatch(out.dtype(), [&](auto tag) {
    using T = decltype(tag);
    T* const to = out.data<T>();
    parallel_for(out.numel(), kGrain, [&](int64_t begin, int64_t end) {
      const auto at = value(begin, tag);
      const auto n = static_cast<int32_t>(end - begin);
      for (int32_t i = 0; i < n; ++i) to[begin + i] = convert_element<T>(at(i));
    });
  });
}

// integer = {first, step} for integers, scalar = {first, step} for floats
void run_arange(const Call& c, std::span<Tensor> out) {
  if (is_float(out[0].dtype())) {
    fill_with(out[0], [&](int64_t begin, auto) {
      return [first = c.attrs.scalar[0], step = c.attrs.scalar[1], base = static_cast<double>(begin)](int32_t i) {
        return first + (base + i) * step;
      };
    });
  } else {
    const auto first = static_cast<uint64_t>(c.attrs.integer[0]), step = static_cast<uint64_t>(c.attrs.integer[1]);
    fill_with(out[0], [&](int64_t begin, auto) {
      return [=, base = first + static_cast<uint64_t>(begin) * step](int32_t i) {
        return static_cast<int64_t>(base + static_cast<uint64_t>(i) * step);
      };
    });
  }
}
constexpr Op kArange = {"arange", infer_from_attrs, nullptr, run_arange, nullptr};

// scalar = {start, end}. As PyTorch: counted from the nearer end, in the dtype itself.
void run_linspace(const Call& c, std::span<Tensor> out) {
  const int64_t n = out[0].numel();
  fill_with(out[0], [&](int64_t begin, auto tag) {
    using T = std::conditional_t<std::is_floating_point_v<decltype(tag)>, decltype(tag), double>;
    const T start = static_cast<T>(c.attrs.scalar[0]), end = static_cast<T>(c.attrs.scalar[1]);
    const T step = n == 1 ? T{0} : (end - start) / static_cast<T>(n - 1);
    return [=](int32_t offset) {
      const int64_t i = begin + offset;
      return n == 1 ? start : i < n / 2 ? start + step * static_cast<T>(i) : end - step * static_cast<T>(n - 1 - i);
    };
  });
}
constexpr Op kLinspace = {"linspace", infer_from_attrs, nullptr, run_linspace, nullptr};

void run_eye(const Call& c, std::span<Tensor> out) {
  const int64_t columns = c.attrs.dims[1], n = std::min(c.attrs.dims[0], columns);
  fill_zero(out[0]);
  dispatch(out[0].dtype(), [&](auto tag) {
    for (int64_t i = 0; i < n; ++i) out[0].data<decltype(tag)>()[i * (columns + 1)] = decltype(tag){1};
  });
}
constexpr Op kEye = {"eye", infer_from_attrs, nullptr, run_eye, nullptr};

Attrs attrs_for(const Dims& shape, DType dtype) {
  Attrs a;
  a.dims = shape;
  a.dtype = dtype;
  return a;
}

}  // namespace

namespace ops {

Tensor full(const Dims& shape, const Tensor& value, DType dtype) { return fill_(Tensor::empty(shape, dtype), value); }

Tensor arange(double start, double end, double step, DType dtype) {
  const double count = std::ceil((end - start) / step);
  if (step == 0 || !std::isfinite(count) || count > 9e18) {
    throw std::invalid_argument("arange: no finite number of steps of " + std::to_string(step) + " from " +
                                std::to_string(start) + " to " + std::to_string(end));
  }
  if (count < 0) {
    throw std::invalid_argument("arange: a step of " + std::to_string(step) + " does not lead from " +
                                std::to_string(start) + " to " + std::to_string(end));
  }
  Attrs a = attrs_for({static_cast<int64_t>(count)}, dtype);
  a.scalar[0] = start;
  a.scalar[1] = step;
  a.integer[0] = convert_element<int64_t>(start);
  a.integer[1] = convert_element<int64_t>(step);
  return execute(kArange, {}, a);
}

Tensor arange(int64_t start, int64_t end, int64_t step, DType dtype) {
  using Wide = __int128;
  const Wide span = Wide{end} - start;
  if (step == 0 || (span != 0 && (span > 0) != (step > 0))) {
    throw std::invalid_argument("arange: a step of " + std::to_string(step) + " does not lead from " +
                                std::to_string(start) + " to " + std::to_string(end));
  }
  const Wide count = (span + step - (step > 0 ? 1 : -1)) / step;
  if (count > std::numeric_limits<int64_t>::max())
    throw std::invalid_argument("arange: more elements than can be addressed");
  Attrs a = attrs_for({static_cast<int64_t>(count)}, dtype);
  a.scalar[0] = static_cast<double>(start);
  a.scalar[1] = static_cast<double>(step);
  a.integer[0] = start;
  a.integer[1] = step;
  return execute(kArange, {}, a);
}

Tensor linspace(double start, double end, int64_t steps, DType dtype) {
  if (steps < 0) throw std::invalid_argument("linspace: steps must be >= 0, got " + std::to_string(steps));
  Attrs a = attrs_for({steps}, dtype);
  a.scalar[0] = start;
  a.scalar[1] = end;
  return execute(kLinspace, {}, a);
}

Tensor logspace(double start, double end, int64_t steps, double base, DType dtype) {
  const DType computed = is_float(dtype) ? dtype : DType::Float64;
  if (steps < 0) throw std::invalid_argument("logspace: steps must be >= 0, got " + std::to_string(steps));
  return to(pow(Tensor::scalar(base, computed), linspace(start, end, steps, computed)), dtype);
}

Tensor eye(int64_t n, int64_t m, DType dtype) { return execute(kEye, {}, attrs_for({n, m}, dtype)); }

}  // namespace ops
}  // namespace tg

// scatter, scatter_add and gather's gradient: values go where an index points.
#include "ops/index_walk.h"
#include "ops/loop.h"
#include "ops/promotion.h"

namespace tg {
namespace {

// scatter_(self, index, src): attrs.integer[0] = dim; src contiguous in the index's shape, or one value for all.
// put(element, value) for every index; however the work is cut, one element gets its values in the index's order.
template <class T, class Put>
void put_along(Walk& walk, T* self, const T* src, int64_t step, Put&& put) {
  const auto one = [&](int64_t i, int64_t at) { put(self[at], src[i * step]); };
  if (walk.in_rows()) {
    parallel_for(walk.rows(), std::max<int64_t>(1, kIndexGrain / walk.length()),
                 [&](int64_t begin, int64_t end) { walk.run(begin, end, 0, walk.length(), one); });
  } else {
    parallel_for(
        walk.length(), column_grain(walk.length(), walk.rows() * walk.length(), sizeof(T)),
        [&](int64_t from, int64_t to) { walk.run(0, walk.rows(), from, to, one); }, double(walk.rows()));
  }
}

struct Set {
  template <class T>
  void operator()(T& y, T v) const {
    y = v;
  }
};
struct Multiply {
  template <class T>
  void operator()(T& y, T v) const {
    y = static_cast<T>(Wrapping<T>(y) * Wrapping<T>(v));
  }
};

template <class Put>
void scatter_into(const char* op, const Tensor& self, int dim, const Tensor& index, const Tensor& src) {
  if (index.numel() == 0) return;
  const int64_t size = self.rank() ? self.size(dim) : 1;
  if (!all_within(index, size)) {  // nothing is written where one index is wrong
    for (int64_t i = 0; i < index.numel(); ++i) {
      if (index.data<int64_t>()[i] < 0) fail_negative(op, index.data<int64_t>()[i]);
      checked_index(op, index.data<int64_t>()[i], size);
    }
  }
  Walk walk(op, index, dim, self.shape(), self.strides());
  dispatch(self.dtype(), [&](auto tag) {
    using T = decltype(tag);
    put_along(walk, self.data<T>(), src.data<T>(), src.numel() == 1 ? 0 : 1, Put{});
  });
}
template <class Put>
void run_scatter(const Call& c, std::span<Tensor> out) {
  scatter_into<Put>(c.op.name, out[0], static_cast<int>(c.attrs.integer[0]), c.in[1], c.in[2]);
}

template <class Put>
constexpr Op scatter_op(const char* name, void (*vjp)(Backward&)) {
  return {.name = name,
          .run = run_scatter<Put>,
          .vjp = vjp,
          .saves = {kSaveB, 0, kSaveB},
          .in_place = true,
          .may_stop = true,
          .flops = no_flops,
          .bytes = [](const Call& c, std::span<const Tensor>) { return bytes_of(c.in[1]) + 2 * bytes_of(c.in[2]); }};
}
void scatter_vjp(Backward& b) {
  const int64_t dim = b.attrs().integer[0];
  const Tensor at = b.input(1);
  if (b.needs(0)) b.set(0, ops::scatter(b.g, dim, at, {}, Tensor::number(0.0)));
  if (b.needs(2)) b.set(2, ops::gather(b.g, dim, at));
}
void scatter_add_vjp(Backward& b) {
  if (b.needs(0)) b.set(0, b.g);
  if (b.needs(2)) b.set(2, ops::gather(b.g, b.attrs().integer[0], b.input(1)));
}
void refuse_vjp(Backward&) {
  throw std::runtime_error("scatter_: reduce='multiply' has no gradient; multiply by a tensor scattered into ones");
}
constexpr Op kScatter = scatter_op<Set>("scatter_", scatter_vjp);
constexpr Op kScatterAdd = scatter_op<Add>("scatter_add_", scatter_add_vjp);
constexpr Op kScatterMultiply = scatter_op<Multiply>("scatter_", refuse_vjp);

// gather_backward(g contiguous, index): zeros of attrs.dims, g added where the index points
void infer_gather_backward(const Call& c, OutSpec* out) { *out = {c.attrs.dims, c.in[0].dtype()}; }
void run_gather_backward(const Call& c, std::span<Tensor> out) {
  fill_zero(out[0]);
  scatter_into<Add>("gather", out[0], static_cast<int>(c.attrs.integer[0]), c.in[1], c.in[0]);
}
void gather_backward_vjp(Backward& b) { b.set(0, ops::gather(b.g, b.attrs().integer[0], b.input(1))); }
constexpr Op kGatherBackward = {"gather_backward",   infer_gather_backward, nullptr,
                                run_gather_backward, gather_backward_vjp,   {kSaveB}};

Tensor scatter_with(const Op& op, const Tensor& self, int64_t dim, const Tensor& index, const Tensor& src) {
  const int d = normalize_dim(op.name, dim, self.rank());
  check_walk(op.name, self, d, index);
  Tensor values = src;
  if (src->wrapped_number) {
    values = cast(src, self.dtype());
  } else {
    check_same_dtype(op.name, self, src);
    bool fits = src.rank() == index.rank();
    for (int i = 0; fits && i < src.rank(); ++i) fits = index.size(i) <= src.size(i);
    if (!fits) {
      throw std::invalid_argument(std::string(op.name) + ": the source " + describe(src) +
                                  " must cover the index, of shape " + to_string(index.shape()));
    }
    for (int i = 0; i < src.rank(); ++i) {
      if (index.size(i) < src.size(i)) values = ops::slice(values, i, 0, index.size(i), 1);
    }
  }
  Attrs attrs;
  attrs.integer[0] = d;
  const Tensor at = ops::contiguous(ops::to(index, DType::Int64));
  execute_in_place(op, {self, apart_from(self, at), ops::contiguous(apart_from(self, values))}, attrs);
  return self;
}

}  // namespace

Tensor gather_backward(const Tensor& g, int64_t dim, const Tensor& index, const Dims& shape) {
  Attrs attrs;
  attrs.integer[0] = dim;
  attrs.dims = shape;
  return execute(kGatherBackward, {ops::contiguous(g), index}, attrs);
}

namespace ops {

Tensor scatter_(Tensor self, int64_t dim, const Tensor& index_, const Tensor& src, const Tensor& value,
                const std::optional<std::string>& reduce) {
  if (!src == !value) throw std::invalid_argument("scatter_: expected either src or value");
  if (reduce && *reduce != "add" && *reduce != "multiply") {
    throw std::invalid_argument("scatter_: reduce must be 'add', 'multiply' or None, got '" + *reduce + "'");
  }
  const Op& op = !reduce ? kScatter : *reduce == "add" ? kScatterAdd : kScatterMultiply;
  return scatter_with(op, self, dim, index_, src ? src : value);
}
Tensor scatter(const Tensor& input, int64_t dim, const Tensor& index_, const Tensor& src, const Tensor& value,
               const std::optional<std::string>& reduce) {
  return scatter_(clone(input), dim, index_, src, value, reduce);
}

Tensor scatter_add_(Tensor self, int64_t dim, const Tensor& index_, const Tensor& src) {
  return scatter_with(kScatterAdd, self, dim, index_, src);
}
Tensor scatter_add(const Tensor& input, int64_t dim, const Tensor& index_, const Tensor& src) {
  return scatter_add_(clone(input), dim, index_, src);
}

}  // namespace ops
}  // namespace tg

// region_put_: assignment to x[key] for a key of ints and slices, with a gradient to x and to the value.
#include "ops/region.h"

#include "ops/loop.h"

namespace tg {
namespace {

// region_put_(self, value): attrs.list = start, length and step for every dimension of self; value broadcasts to the
// lengths.
Tensor region_of(const Tensor& t, const std::vector<int64_t>& list) {
  Dims shape, strides;
  int64_t offset = 0;
  for (int d = 0; d < t.rank(); ++d) {
    const int64_t* const part = list.data() + 3 * d;
    shape.push_back(part[1]);
    strides.push_back(t.strides()[d] * (part[1] > 1 ? part[2] : 1));
    if (part[1]) offset += part[0] * t.strides()[d];
  }
  return t.alias(shape, strides, offset);
}
void run_region_put(const Call& c, std::span<Tensor> out) { run_copy(region_of(out[0], c.attrs.list), c.in[1]); }
void region_put_vjp(Backward& b) {
  const Attrs& a = b.attrs();
  if (b.needs(0)) {
    const Tensor rest = ops::clone(b.g);
    execute_in_place(*b.node.op, {rest, Tensor::scalar(0.0, rest.dtype())}, a);
    b.set(0, rest);
  }
  if (!b.needs(1)) return;
  Tensor g = b.g;
  for (int d = 0; d < g.rank(); ++d) {
    const int64_t* const part = a.list.data() + 3 * d;
    if (part[1] != g.size(d)) g = ops::slice(g, d, part[0], part[1], part[2]);
  }
  b.set(1, g);
}
// Keeps the GIL: the view it makes counts a reference of memory that other threads may hold.
constexpr Op kRegionPut = {.name = "region_put_",
                           .run = run_region_put,
                           .vjp = region_put_vjp,
                           .in_place = true,
                           .keep_gil = true,
                           .flops = no_flops,
                           .bytes = [](const Call& c, std::span<const Tensor>) { return 2 * bytes_of(c.in[1]); }};

}  // namespace

namespace ops {

void region_put_(const Tensor& self, const Region& region, const Tensor& value) {
  Attrs attrs;
  for (const Range& r : region) attrs.list.insert(attrs.list.end(), {r.start, r.length, r.step});
  execute_in_place(kRegionPut, {self, value}, attrs);
}

}  // namespace ops
}  // namespace tg

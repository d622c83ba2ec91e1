// Order along a dimension: sort, argsort, topk, kthvalue, median, nanmedian. Ops find positions, gather takes values.
#include "ops/sort.h"

#include <bit>
#include <cmath>

#include "ops/index.h"
#include "ops/loop.h"
#include "ops/promotion.h"
#include "ops/reduce.h"

namespace tg {
namespace {

// Unsigned integers in the order of the values: -0 and 0 are equal, so are all nan, which come last.
template <class T>
auto key_of(T x) {
  using U = std::conditional_t<sizeof(T) <= 4, uint32_t, uint64_t>;
  constexpr U top = U{1} << (8 * sizeof(U) - 1);
  if constexpr (std::is_floating_point_v<T>) {
    if (x != x) return ~U{0};
    const U bits = std::bit_cast<U>(x + T{0});
    return bits & top ? ~bits : bits | top;
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<U>(x) ^ top;
  } else {
    return U{x};
  }
}

// A key and its position, ordered by both: so every order of items is a stable order of values.
struct WideItem {
  uint64_t key;
  int64_t at;
  bool operator<(const WideItem& o) const { return key != o.key ? key < o.key : at < o.at; }
};
struct NarrowItem {  // of 32-bit keys, in rows that are not too long for it
  uint64_t both;
  bool operator<(const NarrowItem& o) const { return both < o.both; }
};
template <class T>
using ItemOf = std::conditional_t<sizeof(T) <= 4, NarrowItem, WideItem>;

WideItem make_item(uint64_t key, int64_t at) { return {key, at}; }
NarrowItem make_item(uint32_t key, int64_t at) { return {uint64_t{key} << 32 | static_cast<uint64_t>(at)}; }
int64_t position(const WideItem& i) { return i.at; }
int64_t position(const NarrowItem& i) { return static_cast<int64_t>(i.both & 0xffffffff); }
// Byte b of the key.
size_t digit(const WideItem& i, int b) { return i.key >> 8 * b & 255; }
size_t digit(const NarrowItem& i, int b) { return i.both >> (32 + 8 * b) & 255; }
bool is_last(const WideItem& i) { return i.key == ~uint64_t{0}; }  // of floats: nan
bool is_last(const NarrowItem& i) { return i.both >> 32 == ~uint32_t{0}; }
constexpr int key_bytes(const WideItem&) { return 8; }
constexpr int key_bytes(const NarrowItem&) { return 4; }

// Radix sort from the last byte up; a byte that all keys share takes no pass. Returns where the result is.
template <class Item>
Item* sort_items(Item* items, Item* room, int64_t n) {
  if (n < 512) {
    std::sort(items, items + n);
    return items;
  }
  constexpr int bytes = key_bytes(Item{});
  std::vector<int64_t> counts(256 * bytes, 0);
  for (int64_t i = 0; i < n; ++i) {
    for (int b = 0; b < bytes; ++b) ++counts[256 * static_cast<size_t>(b) + digit(items[i], b)];
  }
  for (int b = 0; b < bytes; ++b) {
    int64_t* count = counts.data() + 256 * b;
    if (count[digit(items[0], b)] == n) continue;
    for (int64_t k = 0, sum = 0; k < 256; ++k) sum += std::exchange(count[k], sum);
    for (int64_t i = 0; i < n; ++i) room[count[digit(items[i], b)]++] = items[i];
    std::swap(items, room);
  }
  return items;
}

template <class T>
void fill_items(const void* row, int64_t n, bool descending, ItemOf<T>* items) {
  for (int64_t i = 0; i < n; ++i) {
    const auto key = key_of(static_cast<const T*>(row)[i]);
    items[i] = make_item(descending ? ~key : key, i);
  }
}

template <class Item, class F>
void for_rows_of(const Tensor& x, bool descending, void (*fill)(const void*, int64_t, bool, Item*), const Tensor& out,
                 F&& body) {
  const int64_t n = x.shape().back(), k = out.shape().back(), item = static_cast<int64_t>(itemsize(x.dtype()));
  parallel_for(
      x.numel() / n, std::max<int64_t>(1, 1024 / n),
      [&](int64_t begin, int64_t end) {
        const Tensor memory = Tensor::empty({2 * n * static_cast<int64_t>(sizeof(Item))}, DType::UInt8);
        auto* items = memory.data<Item>();
        for (int64_t r = begin; r < end; ++r) {
          fill(x.data<char>() + r * n * item, n, descending, items);
          body(items, items + n, out.data<int64_t>() + r * k);
        }
      },
      static_cast<double>(n) * 20);
}

// The rows of x, contiguous, one after the other: body(items, room for as many, positions of the result).
template <class F>
void for_item_rows(const Tensor& x, bool descending, const Tensor& out, F&& body) {
  if (out.numel() == 0) return;
  switch (x.dtype()) {
    case DType::Float32: return for_rows_of(x, descending, fill_items<float>, out, body);
    case DType::Float64: return for_rows_of(x, descending, fill_items<double>, out, body);
    case DType::Int64: return for_rows_of(x, descending, fill_items<int64_t>, out, body);
    case DType::Int32: return for_rows_of(x, descending, fill_items<int32_t>, out, body);
    default: return for_rows_of(x, descending, fill_items<uint8_t>, out, body);
  }
}

template <class Item>
void write_positions(const Item* items, int64_t n, int64_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = position(items[i]);
}

// sort(x): attrs.flag = descending. All of these work along the last dimension of a contiguous x.
void infer_sort(const Call& c, OutSpec* out) { *out = {c.in[0].shape(), DType::Int64}; }
void run_sort(const Call& c, std::span<Tensor> out) {
  const int64_t n = c.in[0].shape().back();
  for_item_rows(c.in[0], c.attrs.flag, out[0],
                [n](auto* items, auto* room, int64_t* to) { write_positions(sort_items(items, room, n), n, to); });
}
constexpr Op kSort = {"sort", infer_sort, nullptr, run_sort, nullptr};

// topk(x): attrs.integer[0] = k, attrs.flag = the largest; of equals the first
void infer_topk(const Call& c, OutSpec* out) {
  infer_sort(c, out);
  out->shape[out->shape.size() - 1] = c.attrs.integer[0];
}
void run_topk(const Call& c, std::span<Tensor> out) {
  const int64_t n = c.in[0].shape().back(), k = c.attrs.integer[0];
  for_item_rows(c.in[0], c.attrs.flag, out[0], [n, k](auto* items, auto* room, int64_t* to) {
    if (k > n / 8) return write_positions(sort_items(items, room, n), k, to);
    std::partial_sort(items, items + k, items + n);
    write_positions(items, k, to);
  });
}
constexpr Op kTopk = {"topk", infer_topk, nullptr, run_topk, nullptr};

// rank(x): the position of the element of rank attrs.integer[0] or, by attrs.integer[1], of a median
enum Rank { kGiven, kMedian, kNanMedian };
void infer_rank(const Call& c, OutSpec* out) {
  infer_sort(c, out);
  out->shape[out->shape.size() - 1] = 1;
}
void run_rank(const Call& c, std::span<Tensor> out) {
  const int64_t n = c.in[0].shape().back(), mode = c.attrs.integer[1];
  for_item_rows(c.in[0], false, out[0], [&](auto* items, auto*, int64_t* to) {
    int64_t rank = c.attrs.integer[0];
    if (mode != kGiven) {
      const bool floats = is_float(c.in[0].dtype());
      const int64_t numbers = std::count_if(items, items + n, [=](const auto& i) { return !(floats && is_last(i)); });
      rank = mode == kMedian && numbers < n ? numbers : std::max<int64_t>(numbers - 1, 0) / 2;
    }
    std::nth_element(items, items + rank, items + n);
    *to = position(items[rank]);
  });
}
constexpr Op kRank = {"rank", infer_rank, nullptr, run_rank, nullptr};

// median of all of x, one-dimensional, at a position: in[1]. Its equals share the gradient. nan of nothing.
void infer_scalar(const Call& c, OutSpec* out) { *out = {{}, c.in[0].dtype()}; }
void run_pick(const Call& c, std::span<Tensor> out) {
  if (c.in[0].numel() == 0) return run_copy(out[0], Tensor::scalar(std::nan(""), out[0].dtype()));
  const size_t item = itemsize(out[0].dtype());
  std::memcpy(out[0].data(), c.in[0].data<char>() + static_cast<size_t>(*c.in[1].data<int64_t>()) * item, item);
}
void pick_vjp(Backward& b) {
  const Tensor x = b.input(0), y = b.output();
  const Tensor nan = ops::bitwise_and(ops::ne(x, x), ops::ne(y, y));
  const Tensor equal = ops::to(ops::bitwise_or(ops::eq(x, y), nan), b.g.dtype());
  b.set(0, ops::mul(equal, ops::div(b.g, ops::sum(equal))));
}
constexpr Op kPick = {"median", infer_scalar, nullptr, run_pick, pick_vjp, {kSaveA | kSaveOutput}};

// row_order(x): the rows of the matrix x in lexicographic order
void infer_row_order(const Call& c, OutSpec* out) { *out = {{c.in[0].size(0)}, DType::Int64}; }
void run_row_order(const Call& c, std::span<Tensor> out) {
  const int64_t columns = c.in[0].size(1);
  int64_t* order = out[0].data<int64_t>();
  for (int64_t i = 0; i < out[0].numel(); ++i) order[i] = i;
  dispatch_stored(c.in[0].dtype(), [&](auto tag) {
    const auto* x = c.in[0].data<decltype(tag)>();
    const auto before = [](auto a, auto b) { return key_of(a) < key_of(b); };
    std::stable_sort(order, order + out[0].numel(), [&](int64_t a, int64_t b) {
      const auto *p = x + a * columns, *q = x + b * columns;
      return std::lexicographical_compare(p, p + columns, q, q + columns, before);
    });
  });
}
constexpr Op kRowOrder = {"unique", infer_row_order, nullptr, run_row_order, nullptr};

// An op's positions along `dim`, of the shape of x but for that dimension.
Tensor positions_along(const Op& op, const Tensor& x, int64_t dim_, const Attrs& attrs) {
  if (x.rank() == 0) return ops::reshape(execute(op, {ops::reshape(x, {1})}, attrs), {});
  const int dim = normalize_dim(op.name, dim_, x.rank()), last = x.rank() - 1;
  if (x.size(dim) > int64_t{1} << 32) fail_dtype(op.name, x, "has more than 2^32 elements in a row");
  if (dim == last) return execute(op, {ops::contiguous(x)}, attrs);
  const Tensor y = execute(op, {ops::contiguous(ops::transpose(x, dim, last))}, attrs);
  return ops::contiguous(ops::transpose(y, dim, last));
}

Attrs sort_attrs(bool flag, int64_t number = 0, int64_t mode = kGiven) {
  Attrs attrs;
  attrs.flag = flag;
  attrs.integer[0] = number;
  attrs.integer[1] = mode;
  return attrs;
}

// The element of a rank, or a median, along a dimension.
ops::ValuesIndices at_rank(const char* name, const Tensor& x, int64_t dim, bool keepdim, int64_t rank, Rank mode) {
  const int d = normalize_dim(name, dim, x.rank());
  if (x.dtype() == DType::Bool) fail_dtype(name, x, "is not supported; convert with .to(tapegrad.uint8)");
  if (x.rank() && x.size(d) == 0) {
    throw std::out_of_range(std::string(name) + ": no elements along dim " + std::to_string(d) + " of " + describe(x));
  }
  const Tensor at = positions_along(kRank, x, d, sort_attrs(false, rank, mode)), values = ops::gather(x, d, at);
  if (keepdim || x.rank() == 0) return {values, at};
  return {ops::squeeze(values, Dims{d}), ops::squeeze(at, Dims{d})};
}

ops::MinMax median_of(const char* name, const Tensor& x, ops::MaybeDim dim, bool keepdim, Rank mode) {
  if (dim) return at_rank(name, x, *dim, keepdim, 0, mode);
  if (keepdim) throw std::invalid_argument(std::string(name) + ": keepdim needs a dim");
  const Tensor flat = ops::contiguous(ops::reshape(x, {x.numel()}));
  const bool nothing = flat.numel() == 0 && is_float(x.dtype());
  return execute(kPick, {flat, nothing ? Tensor::scalar(int64_t{0}, DType::Int64)
                                       : at_rank(name, flat, 0, false, 0, mode).indices});
}

}  // namespace

Tensor row_order(const Tensor& x) { return execute(kRowOrder, {ops::contiguous(x)}); }

namespace ops {

Tensor argsort(const Tensor& input, int64_t dim, bool descending, bool) {
  return positions_along(kSort, input, dim, sort_attrs(descending));
}
ValuesIndices sort(const Tensor& input, int64_t dim, bool descending, bool stable) {
  const Tensor at = argsort(input, dim, descending, stable);
  return {gather(input, dim, at), at};
}

ValuesIndices topk(const Tensor& input, int64_t k, int64_t dim, bool largest, bool) {
  const int d = normalize_dim("topk", dim, input.rank());
  const int64_t n = input.rank() ? input.size(d) : 1;
  if (input.dtype() == DType::Bool) fail_dtype("topk", input, "is not supported; convert with .to(tapegrad.uint8)");
  if (k < 0 || k > n) {
    throw std::out_of_range("topk: k = " + std::to_string(k) + " is out of range for a dimension of size " +
                            std::to_string(n) + " of " + describe(input));
  }
  if (input.rank() == 0 && k == 0) fail_dtype("topk", input, "has no dimension that could become one of size 0");
  const Tensor at = positions_along(kTopk, input, d, sort_attrs(largest, k));
  return {gather(input, d, at), at};
}

ValuesIndices kthvalue(const Tensor& input, int64_t k, int64_t dim, bool keepdim) {
  const int64_t n = input.rank() ? input.size(normalize_dim("kthvalue", dim, input.rank())) : 1;
  if (n > 0 && (k < 1 || k > n)) {
    throw std::out_of_range("kthvalue: k = " + std::to_string(k) + " is out of range for a dimension of size " +
                            std::to_string(n) + " of " + describe(input));
  }
  return at_rank("kthvalue", input, dim, keepdim, k - 1, kGiven);
}

MinMax median(const Tensor& input, MaybeDim dim, bool keepdim) {
  return median_of("median", input, dim, keepdim, kMedian);
}
MinMax nanmedian(const Tensor& input, MaybeDim dim, bool keepdim) {
  return median_of("nanmedian", input, dim, keepdim, kNanMedian);
}

}  // namespace ops
}  // namespace tg

// The loop under every reduction: layout to rows or columns, packing where neither is contiguous, chunks and threads.
#include "ops/reduce_loop.h"

#include "ops/loop.h"
#include "threads/parallel.h"

namespace tg {
namespace {

constexpr int64_t kGrainBytes = 128 << 10;  // per task
constexpr int64_t kPackBytes = 32 << 10;  // elements that lie apart are first brought together, in pieces of this size

// Outermost first: decreasing strides, repeated elements (stride 0) before all others.
bool goes_outside(const Tensor& x, int a, int b) {
  const int64_t sa = std::abs(x.strides()[a]), sb = std::abs(x.strides()[b]);
  return sa != sb && sb != 0 && (sa == 0 || sa > sb);
}

// How the elements lie: which dimensions are kept, in `order`, and which are reduced.
struct Layout {
  Axes kept, reduced;
  bool permuted = false;  // the kept dimensions are not walked in their own order
  int order[Dims::kMaxRank];
  int kept_count = 0;

  Layout(const Tensor& x, uint64_t mask, bool in_order, bool may_permute) {
    int dims[Dims::kMaxRank];
    int count = 0;
    for (int d = 0; d < x.rank(); ++d) {
      if (x.size(d) != 1 && mask >> d & 1) insert(x, dims, count, d, !in_order);
      if (x.size(d) != 1 && !(mask >> d & 1)) permuted |= insert(x, order, kept_count, d, may_permute);
    }
    for (int i = 0; i < count; ++i) reduced.push({x.size(dims[i]), x.strides()[dims[i]]});
    for (int i = 0; i < kept_count; ++i) kept.push({x.size(order[i]), x.strides()[order[i]]});
  }
  static bool insert(const Tensor& x, int* dims, int& count, int d, bool sorted) {
    int i = count++;
    for (; sorted && i > 0 && goes_outside(x, d, dims[i - 1]); --i) dims[i] = dims[i - 1];
    dims[i] = d;
    return i + 1 < count;
  }
};

// What one task does: `outer` positions of the outer kept dimensions, `lanes` of the innermost, `n` reduced elements.
struct Steps {
  bool rows, packed;
  int64_t outer, lanes, n;
};

Steps choose_steps(const Pieces& p) {
  Steps s;
  const int64_t outer = p.outer_kept.numel(), n = p.n.size, lanes = p.lane.size, matrix = n * lanes;
  const int64_t sn = std::abs(p.n.stride), sl = std::abs(p.lane.stride);
  s.rows = p.outputs == 1 || (n > 1 && sn != 0 && (sl == 0 || sn < sl));
  s.packed = (s.rows ? p.n : p.lane).stride != 1 && (s.rows ? n : lanes) > 1;
  const int64_t grain = (s.packed ? kPackBytes : kGrainBytes) / p.item, whole = s.packed ? grain : 2 * grain;
  s.outer = 1;
  s.n = n;
  s.lanes = lanes;
  if (matrix <= whole) {
    s.outer = std::clamp<int64_t>(grain / matrix, 1, s.packed ? 1 : outer);
  } else if (s.rows) {
    if (n > whole) s.n = grain;
    s.lanes = std::clamp<int64_t>(grain / s.n, 1, lanes);
  } else if (!s.packed && n < 2 * lanes) {  // wide: cut the columns
    s.lanes = std::max<int64_t>(64, grain / n / 64 * 64);
  } else {
    if (s.packed) s.lanes = std::min<int64_t>(lanes, 512);
    s.n = std::max<int64_t>(1, grain / s.lanes);
  }
  return s;
}

// One rectangle of elements into `out`.
void run_block(const Reduction& r, const Pieces& p, const Steps& s, const char* x, int64_t lanes, int64_t n,
               char* out) {
  const auto rows = r.kernels.rows[r.dtype], cols = r.kernels.cols[r.dtype];
  if (!s.packed) return s.rows ? rows(lanes, n, x, p.lane.stride, out) : cols(n, lanes, x, p.n.stride, out);
  alignas(64) char packed[kPackBytes];
  const int64_t down = s.rows ? lanes : n, across = s.rows ? n : lanes;
  const Axes::Axis &a = s.rows ? p.lane : p.n, &b = s.rows ? p.n : p.lane;
  kernels().pack[r.dtype](down, across, x, a.stride * p.item, b.stride * p.item, packed, across * p.item);
  s.rows ? rows(lanes, n, packed, n, out) : cols(n, lanes, packed, lanes, out);
}

void reduce_pieces(const Reduction& r, Pieces& p, char* out) {
  const Steps s = choose_steps(p);
  const int64_t outer = p.outer_kept.numel();
  p.n_step = s.n;
  p.n_chunks = (p.n.size + s.n - 1) / s.n;
  p.chunks = p.n_chunks * p.outer_reduced.numel();
  Tensor partial;
  char* results = out;
  if (p.chunks > 1) {
    partial = Tensor::empty({p.chunks * p.outputs * r.out_item}, DType::UInt8);
    results = partial.data<char>();
  }
  const int64_t lane_tasks = (p.lane.size + s.lanes - 1) / s.lanes, outer_tasks = (outer + s.outer - 1) / s.outer;
  const int64_t elements = s.outer * s.lanes * s.n;
  const int64_t grain = std::max<int64_t>(1, kGrainBytes / p.item / elements);
  parallel_for(outer_tasks * p.chunks * lane_tasks, grain, [&](int64_t begin, int64_t end) {
    const Ref<Storage> room = r.source ? Storage::make(static_cast<size_t>(s.lanes * s.n * p.item)) : Ref<Storage>();
    for (int64_t t = begin; t < end; ++t) {
      const int64_t lane = t % lane_tasks * s.lanes, lanes = std::min(s.lanes, p.lane.size - lane);
      const int64_t chunk = t / lane_tasks % p.chunks, first = t / lane_tasks / p.chunks * s.outer;
      for (int64_t o = first; o < std::min(first + s.outer, outer); ++o) {
        const int64_t output = o * p.lane.size + lane, at = p.offset(output, chunk, 0), n = p.length(chunk);
        const char* x =
            r.source ? r.source->elements(r.source->context, at, at + lanes * n, room->data) : p.x + at * p.item;
        run_block(r, p, s, x, lanes, n, results + (chunk * p.outputs + output) * r.out_item);
      }
    }
  });
  if (p.chunks > 1) r.join(r, p, results, out);
}

Pieces make_pieces(const char* x, int64_t item, const Axes& kept, const Axes& reduced) {
  Pieces p{x, item, kept, reduced, {}, {}, kept.numel(), 0, 0, 0};
  p.lane = p.outer_kept.pop_last({1, 1});
  p.n = p.outer_reduced.pop_last({1, 1});
  return p;
}

}  // namespace

void Axes::push(Axis a) {
  if (count && at[count - 1].stride == a.size * a.stride)
    at[count - 1] = {at[count - 1].size * a.size, a.stride};
  else
    at[count++] = a;
}
Axes::Axis Axes::pop_last(Axis otherwise) { return count ? at[--count] : otherwise; }
int64_t Axes::numel() const {
  int64_t n = 1;
  for (int i = 0; i < count; ++i) n *= at[i].size;
  return n;
}
int64_t Axes::offset(int64_t position) const {
  int64_t offset = 0;
  for (int i = count - 1; i > 0; --i) {
    offset += position % at[i].size * at[i].stride;
    position /= at[i].size;
  }
  return count ? offset + position * at[0].stride : 0;
}

void run_reduction(const Reduction& r, const Tensor& x, uint64_t mask, const Tensor& out) {
  // run_copy() knows no Moments: theirs come in the order of the dimensions at once.
  const Layout layout(x, mask, r.in_order, r.out_item < int64_t{sizeof(Moments)});
  Pieces p = make_pieces(x.data<char>(), static_cast<int64_t>(itemsize(x.dtype())), layout.kept, layout.reduced);
  if (!layout.permuted) return reduce_pieces(r, p, out.data<char>());
  // The results come in the order of memory; `out` wants the order of the dimensions.
  const Tensor results = Tensor::empty(out.shape(), out.dtype());
  reduce_pieces(r, p, results.data<char>());
  int64_t stride_of[Dims::kMaxRank], stride = 1;
  for (int i = layout.kept_count - 1; i >= 0; --i) {
    stride_of[layout.order[i]] = stride;
    stride *= x.size(layout.order[i]);
  }
  const bool keepdim = out.rank() == x.rank();
  Dims strides;
  for (int d = 0; d < x.rank(); ++d) {
    const bool kept = !(mask >> d & 1);
    if (kept || keepdim) strides.push_back(kept && x.size(d) != 1 ? stride_of[d] : 1);
  }
  run_copy(out, results.alias(out.shape(), strides));
}

bool walks_in_order(const Tensor& x, uint64_t mask) {
  const Layout layout(x, mask, false, true);
  if (!x.contiguous() || layout.permuted) return false;
  const Pieces p = make_pieces(nullptr, static_cast<int64_t>(itemsize(x.dtype())), layout.kept, layout.reduced);
  const Steps s = choose_steps(p);
  if (s.packed) return false;
  if (!s.rows) return p.n.stride == p.lane.size && s.lanes == p.lane.size;
  return s.lanes == 1 || (s.n == p.n.size && p.lane.stride == p.n.size);
}

void join_values(const Reduction& r, const Pieces& p, const char* partial, char* out) {
  Axes kept, reduced;
  if (p.outputs > 1) kept.push({p.outputs, 1});
  reduced.push({p.chunks, p.outputs});
  Pieces rest = make_pieces(partial, r.out_item, kept, reduced);
  Reduction of_partial = r;
  of_partial.source = nullptr;
  reduce_pieces(of_partial, rest, out);
}

void join_positions(const Reduction& r, const Pieces& p, const char* partial, char* out) {
  const auto* local = reinterpret_cast<const int64_t*>(partial);
  const Tensor best = Tensor::empty({p.chunks * p.outputs * p.item}, DType::UInt8);
  parallel_for(p.outputs, std::max<int64_t>(1, 4096 / p.chunks), [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    char* const values = best.data<char>() + begin * p.chunks * p.item;
    for (int64_t c = 0; c < p.chunks; ++c) {
      for (int64_t o = begin; o < end; ++o) {
        std::memcpy(values + (c * count + o - begin) * p.item, p.x + p.offset(o, c, local[c * p.outputs + o]) * p.item,
                    static_cast<size_t>(p.item));
      }
    }
    auto* result = reinterpret_cast<int64_t*>(out) + begin;
    r.kernels.cols[r.dtype](p.chunks, count, values, count, result);
    for (int64_t o = begin; o < end; ++o, ++result) *result = p.position(*result, local[*result * p.outputs + o]);
  });
}

void join_moments(const Reduction&, const Pieces& p, const char* partial, char* out) {
  const auto* parts = reinterpret_cast<const Moments*>(partial);
  auto* results = reinterpret_cast<Moments*>(out);
  for (int64_t o = 0; o < p.outputs; ++o) {
    Moments all = parts[o];
    auto count = static_cast<double>(p.length(0));
    for (int64_t c = 1; c < p.chunks; ++c) {
      const auto n = static_cast<double>(p.length(c));
      merge_moments(all, count, parts[c * p.outputs + o], n);
      count += n;
    }
    results[o] = all;
  }
}

}  // namespace tg

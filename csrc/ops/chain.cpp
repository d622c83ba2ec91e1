// The block loop under a chain of elementwise ops.
#include "ops/chain.h"

#include "ops/reduce.h"
#include "ops/stream.h"
#include "threads/parallel.h"

namespace tg {
namespace {

// Elements [begin, begin + n) of a strided operand, brought together.
void pack_block(const Chain::Place& p, const char* base, int64_t begin, int64_t n, char* to) {
  const PackKernel pack = kernels().pack[static_cast<int>(p.dtype)];
  int64_t row = begin / p.cols, col = begin % p.cols;
  while (n > 0) {
    const bool whole = col == 0 && n >= p.cols;
    const int64_t rows = whole ? n / p.cols : 1, cols = whole ? p.cols : std::min(n, p.cols - col);
    pack(rows, cols, base + row * p.row + col * p.col, p.row, p.col, to, cols * p.item());
    to += rows * cols * p.item();
    n -= rows * cols;
    row += rows;
    col = 0;
  }
}

class Blocks {
 public:
  Blocks(const Chain& chain, const Call& c, std::span<Tensor> out) : chain_(chain) {
    for (size_t k = 0; k < chain.places.size(); ++k) {
      const Chain::Place& p = chain.places[k];
      base_[k] = nullptr;
      step_[k] = p.kind != Chain::Place::Kind::Single;
      streams_[k] = false;
      if (p.tensor < 0) continue;
      const auto t = static_cast<size_t>(p.tensor);
      const bool written = t >= c.in.size();
      base_[k] = (written ? out[t - c.in.size()] : c.in[t]).data<char>();
      streams_[k] = written && p.buffer >= 0 && pays_to_stream(chain.n * p.item());
      any_streams_ |= streams_[k];
    }
  }

  // `room`: for the elements of the place that is summed.
  void run(int64_t begin, int64_t end, char* room = nullptr) const {
    alignas(64) char buffers[Chain::kBuffers][Chain::kBufferBytes];
    char* at[Chain::kPlaces];
    int64_t step[Chain::kPlaces];
    for (size_t k = 0; k < chain_.places.size(); ++k) {
      const Chain::Place& p = chain_.places[k];
      const bool here = p.kind == Chain::Place::Kind::Buffer || streams_[k];
      at[k] = here ? buffers[p.buffer] : base_[k];
      step[k] = step_[k];
    }
    for (int64_t i = begin, n; i < end; i += n) {
      n = std::min(chain_.block, end - i);
      if (chain_.row) n = std::min(n, chain_.row - i % chain_.row);
      for (size_t k = 0; k < chain_.places.size(); ++k) {
        const Chain::Place& p = chain_.places[k];
        if (p.kind == Chain::Place::Kind::Whole && !streams_[k]) at[k] = base_[k] + i * p.item();
        if (p.kind == Chain::Place::Kind::Summed) at[k] = room + (i - begin) * p.item();
        if (p.kind == Chain::Place::Kind::Strided && !(p.packed_once && i != begin)) {
          find(p, base_[k], i, n, buffers[p.buffer], &at[k], &step[k]);
        }
      }
      run_block(i, n, at, step);
    }
    if (any_streams_) end_streams();
  }

  const char* summed(int64_t begin, int64_t end, char* room) const {
    run(begin, end, room);
    const auto k = static_cast<size_t>(chain_.sum.place);
    const Chain::Place& p = chain_.places[k];
    return p.kind == Chain::Place::Kind::Summed ? room : base_[k] + begin * p.item();
  }

 private:
  // A block inside of one row lies in memory as it should, if it is not one value in the midst of others.
  static void find(const Chain::Place& p, char* base, int64_t begin, int64_t n, char* buffer, char** at,
                   int64_t* step) {
    const int64_t row = begin / p.cols, col = begin % p.cols;
    const bool inside = col + n <= p.cols;
    *at = inside ? base + row * p.row + col * p.col : buffer;
    *step = !inside || p.col != 0;
    if (!inside) pack_block(p, base, begin, n, buffer);
  }

  void run_block(int64_t begin, int64_t n, char* const* at, const int64_t* step) const {
    for (const Chain::Step& s : chain_.steps) {
      const void* in[kMaxOperands] = {};
      int64_t steps[kMaxOperands] = {};
      for (size_t k = 0; k < s.operands; ++k) {
        if (s.in[k] == Chain::kUnread) continue;
        in[k] = at[s.in[k]];
        steps[k] = step[s.in[k]];
      }
      s.kernel(n, at[s.out], in, steps);
      if (!streams_[s.out]) continue;
      const int64_t item = chain_.places[static_cast<size_t>(s.out)].item();
      stream_block(base_[s.out] + begin * item, at[s.out], n * item);
    }
  }

  const Chain& chain_;
  char* base_[Chain::kPlaces];
  bool step_[Chain::kPlaces], streams_[Chain::kPlaces];
  bool any_streams_ = false;
};

void run_chain(const Call& c, std::span<Tensor> out) {
  const Chain& chain = *static_cast<const Chain*>(c.attrs.plan.get());
  const Blocks blocks(chain, c, out);
  if (!chain.sum.op) {
    return parallel_split(chain.n, chain.ns, chain.block, [&](int64_t begin, int64_t end) { blocks.run(begin, end); });
  }
  const auto elements = [](const void* context, int64_t begin, int64_t end, char* room) {
    return static_cast<const Blocks*>(context)->summed(begin, end, room);
  };
  run_sum(*chain.sum.op, chain.sum.x, *chain.sum.attrs, {elements, &blocks}, out.back());
}

double chain_flops(const Call& c) {
  const auto& chain = *static_cast<const Chain*>(c.attrs.plan.get());
  return static_cast<double>(chain.n) * static_cast<double>(chain.steps.size() + (chain.sum.op != nullptr));
}

}  // namespace

constexpr Op kChain = {.name = "chain", .run = run_chain, .flops = chain_flops};

}  // namespace tg

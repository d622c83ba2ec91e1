// Building a chain: operands to places, results to buffers or memory, buffers given to those that live at one time.
#include "program/chain_builder.h"

#include <algorithm>

#include "ops/reduce.h"
#include "threads/parallel.h"

namespace tg {
namespace {

using Kind = Chain::Place::Kind;

// `t`, broadcast to `shape`, as a walk over n elements in order. False: it cannot be walked in long steps.
bool find_place(const Tensor& t, const Dims& shape, int64_t n, Chain::Place* p) {
  p->dtype = t.dtype();
  const Dims strides = broadcast_strides(t.shape(), t.strides(), shape);
  int64_t size[2] = {1, 1}, stride[2] = {0, 0};
  int rank = 0;
  for (int d = shape.size() - 1; d >= 0; --d) {
    if (shape[d] == 1) continue;
    const int64_t bytes = strides[d] * p->item();
    if (rank > 0 && bytes == stride[rank - 1] * size[rank - 1]) {
      size[rank - 1] *= shape[d];
      continue;
    }
    if (rank == 2) return false;
    size[rank] = shape[d];
    stride[rank++] = bytes;
  }
  if (n == 1) return p->kind = Kind::Whole, true;
  if (stride[0] != 0 && stride[0] != p->item()) return false;
  p->kind = rank == 2 ? Kind::Strided : stride[0] == 0 ? Kind::Single : Kind::Whole;
  p->cols = size[0], p->row = stride[1], p->col = stride[0];
  return true;
}

}  // namespace

std::optional<ChainLink> chain_link(const Program& p, const Instruction& i) {
  const auto slot = [&](int s) -> const Slot& { return p.slots[static_cast<size_t>(s)]; };
  if (i.in.size() == 1 && sums_in_order(*i.op, slot(i.in[0]).tensor, i.arguments())) {
    const Tensor& x = slot(i.in[0]).tensor;
    ChainLink link{nullptr, 0, x.numel(), {{i.in[0], slot(i.in[0]).value, {}}}, {i.out[0], slot(i.out[0]).value, {}}};
    find_place(x, x.shape(), link.n, &link.in[0].place);
    return link;
  }
  if (!i.op->elementwise) return {};
  std::vector<Tensor> tensors;
  for (int s : i.in) tensors.push_back(slot(s).tensor);
  const Elementwise e = i.op->elementwise({*i.op, tensors, i.arguments()});
  const int to = i.in_place() ? i.in[0] : i.out[0];
  const Tensor& out = slot(to).tensor;
  ChainLink link{e.kernel, e.ns, out.numel(), {}, {to, slot(to).value, {}}};
  if (!out.contiguous() || link.n == 0) return {};
  if (!find_place(out, out.shape(), link.n, &link.out.place)) return {};
  for (size_t k = 0; k < e.operands; ++k) {
    ChainAccess& a = link.in.emplace_back();
    if (!e.in[k]) continue;
    a.slot = i.in[static_cast<size_t>(e.in[k] - tensors.data())];
    a.value = slot(a.slot).value;
    if (!find_place(*e.in[k], out.shape(), link.n, &a.place)) return {};
    if (e.asks_for_steps && a.place.kind == Kind::Strided) return {};
  }
  return link;
}

bool same_elements(const Program& p, const ChainAccess& a, const ChainAccess& b) {
  const auto offset = [&](const ChainAccess& x) { return p.slots[static_cast<size_t>(x.slot)].offset; };
  return a.value == b.value && a.place.kind == b.place.kind && a.place.dtype == b.place.dtype &&
         offset(a) == offset(b) && a.place.cols == b.place.cols && a.place.row == b.place.row &&
         a.place.col == b.place.col;
}

int ChainBuilder::place_of(const ChainAccess& a) {
  for (const auto& [value, place] : current_) {
    if (value == a.value) return place;
  }
  for (size_t k = 0; k < accesses_.size(); ++k) {
    if (chain_.places[k].tensor >= 0 && same_elements(program_, accesses_[k], a)) return static_cast<int>(k);
  }
  Chain::Place p = a.place;
  const auto known = std::find(in.begin(), in.end(), a.slot);
  p.tensor = static_cast<int>(known - in.begin());
  if (known == in.end()) in.push_back(a.slot);
  chain_.places.push_back(p);
  accesses_.push_back(a);
  last_use_.push_back(0);
  return static_cast<int>(chain_.places.size()) - 1;
}

void ChainBuilder::add(const ChainLink& link) {
  Chain::Step step{link.kernel, link.in.size(), {}, static_cast<int>(chain_.places.size())};
  const int number = static_cast<int>(chain_.steps.size());
  for (size_t k = 0; k < link.in.size(); ++k) {
    const ChainAccess& a = link.in[k];
    step.in[k] = a.slot < 0 ? Chain::kUnread : place_of(a);
    if (a.slot < 0) continue;
    last_use_[static_cast<size_t>(step.in[k])] = number;
  }
  step.out = static_cast<int>(chain_.places.size());
  chain_.ns += link.ns;
  chain_.places.push_back(link.out.place);
  chain_.places.back().kind = Kind::Buffer;
  accesses_.push_back(link.out);
  last_use_.push_back(number);
  chain_.steps.push_back(step);
  std::erase_if(current_, [&](const auto& c) { return c.first == link.out.value; });
  current_.emplace_back(link.out.value, step.out);
}

void ChainBuilder::add_sum(const ChainLink& link, const Instruction& i) {
  const Tensor& x = program_.slots[static_cast<size_t>(link.in[0].slot)].tensor;
  chain_.sum = {i.op, std::make_shared<const Attrs>(i.arguments()),
                Tensor(Ref<TensorImpl>(new TensorImpl(x.shape(), x.dtype()))), place_of(link.in[0])};
  sum_out_ = link.out.slot;
}

// Outputs are counted after the inputs, whose number is not known before finish().
void ChainBuilder::to_memory(int place) {
  Chain::Place& p = chain_.places[static_cast<size_t>(place)];
  p.kind = Kind::Whole;
  p.tensor = static_cast<int>(in.size() + out.size());
  out.push_back(accesses_[static_cast<size_t>(place)].slot);
}

// What an element costs: beside the steps' own work, the bytes that come from outside or go there, and those that stay.
double ChainBuilder::bytes_ns() const {
  constexpr double kBufferByteNs = 0.004;  // written or read in the L1 cache
  double ns = 0;
  const auto cost = [&](int place, bool first) {
    const Chain::Place& p = chain_.places[static_cast<size_t>(place)];
    const bool moves = p.kind == Kind::Whole && first;
    ns += p.kind == Kind::Single ? 0 : static_cast<double>(p.item()) * (moves ? kByteNs : kBufferByteNs);
  };
  std::vector<bool> seen(chain_.places.size());
  for (const Chain::Step& s : chain_.steps) {
    for (size_t k = 0; k < s.operands; ++k) {
      if (s.in[k] == Chain::kUnread) continue;
      const auto i = static_cast<size_t>(s.in[k]);
      cost(s.in[k], !seen[i]);
      seen[i] = true;
    }
    cost(s.out, true);
    seen[static_cast<size_t>(s.out)] = true;
  }
  return ns;
}

// Blocks that end where long rows end need no packing of what changes there. Otherwise whole numbers of rows, where one
// row is broadcast over many, so that it is packed but once.
void ChainBuilder::choose_block() {
  constexpr int64_t kLongRow = 512, kAligned = 64;
  constexpr int64_t kL1Bytes = 32 << 10;
  int64_t item = 1, period = 1, streams = 2;  // through the cache: tensors, and the buffers in use
  for (const Chain::Place& p : chain_.places) {
    item = std::max(item, p.item());
    streams += p.tensor >= 0;
    if (p.kind == Kind::Strided && p.row == 0 && period == 1) period = p.cols;
  }
  int64_t& block = chain_.block;
  block = std::max<int64_t>(std::min(Chain::kBufferBytes, kL1Bytes / streams) / item, 2 * kAligned);
  block -= block % kAligned;
  for (const Chain::Place& p : chain_.places) {
    if (p.kind == Kind::Strided && p.cols > (p.row == 0 ? block : kLongRow)) chain_.row = p.cols;
  }
  if (chain_.row) return;
  if (period * kAligned <= block)
    block -= block % (period * kAligned);
  else
    block -= block % period;
  for (Chain::Place& p : chain_.places) {
    p.packed_once = p.kind == Kind::Strided && p.row == 0 && block % p.cols == 0;
  }
}

// The sum takes its elements in large pieces. That pays where there are many of them, or where there are so few that no
// thread would share the work anyway.
bool ChainBuilder::finish_sum() {
  constexpr int64_t kManyBytes = 1 << 20;
  const auto place = static_cast<size_t>(chain_.sum.place);
  Chain::Place& p = chain_.places[place];
  if (p.kind == Kind::Buffer) p.kind = Kind::Summed;
  for (const auto& [value, now] : current_) {  // read from memory after the chain has written there
    if (p.kind == Kind::Whole && value == accesses_[place].value && now != chain_.sum.place) return false;
  }
  out.push_back(sum_out_);
  return chain_.n * p.item() >= kManyBytes || static_cast<double>(chain_.n) * chain_.ns < 2 * kChunkNs;
}

bool ChainBuilder::complete() {
  chain_.ns += bytes_ns();
  if (chain_.sum.op && !finish_sum()) return false;
  choose_block();
  return chain_.places.size() <= Chain::kPlaces && assign_buffers();
}

bool ChainBuilder::assign_buffers() {
  int free[Chain::kBuffers], count = 0;
  for (int b = Chain::kBuffers; b-- > 0;) free[count++] = b;
  const auto take = [&](Chain::Place& p) {
    if (count > 0) p.buffer = free[--count];
    return p.buffer >= 0;
  };
  // Beyond this an output may be streamed (ops/stream.h).
  constexpr int64_t kLeastStream = 8 << 20;
  for (Chain::Place& p : chain_.places) {
    if (p.kind == Kind::Strided && !take(p)) return false;
  }
  for (size_t s = 0; s < chain_.steps.size(); ++s) {
    const Chain::Step& step = chain_.steps[s];
    Chain::Place& result = chain_.places[static_cast<size_t>(step.out)];
    const bool summed = chain_.sum.op && chain_.sum.place == step.out;
    const bool wanted = !summed && (result.kind == Kind::Buffer || chain_.n * result.item() > kLeastStream);
    const auto give_back = [&](bool same_size) {
      for (size_t k = 0; k < step.operands; ++k) {
        if (step.in[k] == Chain::kUnread) continue;
        const auto i = static_cast<size_t>(step.in[k]);
        const Chain::Place& p = chain_.places[i];
        const bool ends = p.buffer >= 0 && p.kind != Kind::Strided && last_use_[i] == static_cast<int>(s);
        if (!ends || (p.item() == result.item()) != same_size) continue;
        last_use_[i] = -1;  // an operand may come twice
        free[count++] = p.buffer;
      }
    };
    give_back(true);  // the result may take the place of an operand, element by element
    if (wanted && !take(result)) return false;
    give_back(false);
    if (result.buffer >= 0 && last_use_[static_cast<size_t>(step.out)] == static_cast<int>(s)) {
      free[count++] = result.buffer;
    }
  }
  return true;
}

}  // namespace tg

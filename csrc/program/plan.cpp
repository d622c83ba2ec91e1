// Dead code, constants and common subexpressions.
#include "program/plan.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

namespace tg {
namespace {

// Values whose memory is seen after the run, or by a backward pass.
std::vector<bool> seen_outside(const Program& p) {
  std::vector<bool> seen(p.values.size());
  for (size_t v = 0; v < p.values.size(); ++v) {
    const Value& value = p.values[v];
    seen[v] = value.kind == Value::Kind::State || value.kind == Value::Kind::Argument ||
              (value.kind == Value::Kind::Internal && value.home != Value::Home::Arena);
  }
  for (const Output& o : p.outputs) {
    if (o.slot >= 0) seen[p.value_of(o.slot)] = true;
  }
  for (const BackwardPart& part : p.parts) {
    for (int s : part.results) {
      if (s >= 0) seen[p.value_of(s)] = true;
    }
  }
  return seen;
}

bool same_attrs(const Instruction& a, const Instruction& b) {
  if (a.attrs == b.attrs) return true;
  const Attrs &x = a.arguments(), &y = b.arguments();
  return x.dims == y.dims && x.dims2 == y.dims2 && std::memcmp(x.scalar, y.scalar, sizeof x.scalar) == 0 &&
         std::memcmp(x.integer, y.integer, sizeof x.integer) == 0 && x.dtype == y.dtype && x.flag == y.flag &&
         x.list == y.list && x.cell == y.cell && x.pointer == y.pointer;
}

uint64_t combine(uint64_t h, uint64_t v) { return (h ^ v) * 0x9E3779B97F4A7C15ull + (h >> 31); }

bool same_bytes(const Value& a, const Value& b) {
  return a.bytes == b.bytes && std::memcmp(a.source.data(), b.source.data(), a.bytes) == 0;
}

// All that refers to value `from` refers to value `to`.
void replace_value(Program& p, size_t from, size_t to) {
  for (int s : p.values[from].slots) {
    p.slots[static_cast<size_t>(s)].value = static_cast<int>(to);
    p.values[to].slots.push_back(s);
  }
  p.values[from].slots.clear();
}

// Small constants of the same bytes become one, so that what is computed from them is the same, too.
void share_constants(Program& p) {
  constexpr size_t kSmall = 64;
  std::unordered_map<uint64_t, size_t> known;
  for (size_t v = 0; v < p.values.size(); ++v) {
    const Value& value = p.values[v];
    if (value.kind != Value::Kind::Constant || value.written || value.bytes > kSmall || value.slots.empty()) continue;
    uint64_t h = value.bytes;
    for (size_t i = 0; i < value.bytes; ++i) h = combine(h, value.source.data<uint8_t>()[i]);
    const auto [found, fresh] = known.try_emplace(h, v);
    if (!fresh && same_bytes(p.values[found->second], value)) replace_value(p, v, found->second);
  }
}

// A slot is the same as another if it shows the same elements.
bool same_slot(const Program& p, int a, int b) {
  if (a == b) return true;
  const Slot &x = p.slots[static_cast<size_t>(a)], &y = p.slots[static_cast<size_t>(b)];
  return x.value == y.value && x.offset == y.offset && x.tensor.dtype() == y.tensor.dtype() &&
         x.tensor.shape() == y.tensor.shape() && x.tensor.strides() == y.tensor.strides();
}

}  // namespace

std::vector<Use> uses_of(const Program& p) {
  std::vector<Use> uses(p.values.size());
  const auto add = [](std::vector<size_t>& list, size_t i) {
    if (list.empty() || list.back() != i) list.push_back(i);
  };
  for (size_t i = 0; i < p.instructions.size(); ++i) {
    const Instruction& x = p.instructions[i];
    if (!x.op) continue;
    for (size_t k = 0; k < x.in.size(); ++k) {
      Use& use = uses[p.value_of(x.in[k])];
      add(use.reads, i);
      if (x.writes(k)) add(use.writes, i);
    }
    for (int s : x.out) add(uses[p.value_of(s)].writes, i);
  }
  return uses;
}

void remove_empty(Program& p) {
  const auto count = [&](size_t end) {
    return static_cast<size_t>(std::count_if(p.instructions.begin(), p.instructions.begin() + static_cast<int64_t>(end),
                                             [](const Instruction& i) { return i.op != nullptr; }));
  };
  for (BackwardPart& part : p.parts) part.begin = count(part.begin), part.end = count(part.end);
  std::erase_if(p.instructions, [](const Instruction& i) { return i.op == nullptr; });
}

// Backwards: an instruction is needed if something needed reads what it writes. Draws from a generator stay, and
// errors.
void drop_dead_code(Program& p) {
  std::vector<bool> needed = seen_outside(p);
  for (size_t i = p.instructions.size(); i-- > 0;) {
    Instruction& x = p.instructions[i];
    bool keep = x.op->keep_gil || x.op->may_stop;
    for (size_t k = 0; k < x.in.size() && !keep; ++k) keep = x.writes(k) && needed[p.value_of(x.in[k])];
    for (int s : x.out) keep |= needed[p.value_of(s)];
    if (!keep) {
      x.op = nullptr;
      continue;
    }
    for (int s : x.in) needed[p.value_of(s)] = true;
  }
  remove_empty(p);
}

// What is computed from small constants alone is one.
void fold_constants(Program& p) {
  constexpr size_t kSmall = 4096;
  const std::vector<bool> outside = seen_outside(p);
  const std::vector<Use> uses = uses_of(p);
  const auto value = [&](int slot) -> Value& { return p.values[p.value_of(slot)]; };
  for (Instruction& x : p.instructions) {
    const bool overwrites = x.in_place() && x.op->overwrites && !x.op->writes;
    if (x.op->keep_gil || x.op->may_stop || x.arguments().cell || (x.in_place() && !overwrites)) continue;
    const std::vector<int> out = overwrites ? std::vector<int>{x.in[0]} : x.out;
    const bool made_here = std::all_of(out.begin(), out.end(), [&](int s) {
      const Tensor& t = p.slots[static_cast<size_t>(s)].tensor;
      const bool whole = t.contiguous() && size_t(t.numel()) * itemsize(t.dtype()) == value(s).bytes;
      return whole && value(s).bytes <= kSmall && value(s).in_arena() && !outside[p.value_of(s)] &&
             uses[p.value_of(s)].writes.size() == 1;
    });
    const bool known = std::all_of(x.in.begin() + overwrites, x.in.end(),
                                   [&](int s) { return value(s).kind == Value::Kind::Constant && !value(s).written; });
    if (!made_here || !known) continue;
    std::vector<Tensor> in, made;
    for (int s : out)
      made.push_back(Tensor::empty(p.slots[size_t(s)].tensor.shape(), p.slots[size_t(s)].tensor.dtype()));
    if (overwrites) in.push_back(made[0]);
    for (size_t k = overwrites; k < x.in.size(); ++k) {
      const Slot& slot = p.slots[static_cast<size_t>(x.in[k])];
      const Tensor& t = slot.tensor;
      in.emplace_back(Ref<TensorImpl>(new TensorImpl(t.shape(), t.strides(), t.dtype())));
      in.back()->data = value(x.in[k]).source.data<char>() + slot.offset;
      in.back()->storage = value(x.in[k]).source->storage;
    }
    x.op->run({*x.op, in, x.arguments()}, made);
    for (size_t k = 0; k < out.size(); ++k) {
      value(out[k]).kind = Value::Kind::Constant;
      value(out[k]).written = false;
      value(out[k]).source = made[k];
    }
    x.op = nullptr;
  }
  remove_empty(p);
}

// An instruction that computes what an earlier one has computed goes, if neither result is written again.
void share_common_subexpressions(Program& p) {
  share_constants(p);
  const std::vector<bool> outside = seen_outside(p);
  const std::vector<Use> uses = uses_of(p);
  std::vector<uint32_t> version(p.values.size(), 0);
  struct Known {
    size_t instruction;
    std::vector<uint32_t> versions;
  };
  // Of backward passes any may run, or none: they share with what ran before, and not with each other.
  const auto part_of = [&](size_t i) {
    const auto part =
        std::find_if(p.parts.begin(), p.parts.end(), [&](const BackwardPart& b) { return b.begin <= i && i < b.end; });
    return part - p.parts.begin();
  };
  std::ptrdiff_t part = -1;
  std::unordered_map<uint64_t, Known> known;
  const auto pure = [&](const Instruction& x) {
    if (x.in_place() || x.op->keep_gil) return false;
    return std::all_of(x.out.begin(), x.out.end(), [&](int s) {
      const size_t v = p.value_of(s);
      return !outside[v] && uses[v].writes.size() == 1;
    });
  };
  for (size_t i = 0; i < p.instructions.size(); ++i) {
    Instruction& x = p.instructions[i];
    if (i >= p.forward_end() && part_of(i) != part) {
      part = part_of(i);
      std::erase_if(known, [&](const auto& k) { return k.second.instruction >= p.forward_end(); });
    }
    if (!pure(x)) {
      for (size_t k = 0; k < x.in.size(); ++k) version[p.value_of(x.in[k])] += x.writes(k);
      continue;
    }
    std::vector<uint32_t> versions;
    uint64_t h = reinterpret_cast<uintptr_t>(x.op);
    for (int s : x.in) {
      versions.push_back(version[p.value_of(s)]);
      h = combine(combine(h, p.value_of(s)), versions.back());
      h = combine(h, static_cast<uint64_t>(p.slots[static_cast<size_t>(s)].offset));
    }
    const auto [found, fresh] = known.try_emplace(h, Known{i, versions});
    if (fresh) continue;
    Instruction& y = p.instructions[found->second.instruction];
    const bool same =
        y.op == x.op && y.in.size() == x.in.size() && versions == found->second.versions && same_attrs(x, y) &&
        std::equal(x.in.begin(), x.in.end(), y.in.begin(), [&](int a, int b) { return same_slot(p, a, b); });
    if (!same) continue;
    for (size_t k = 0; k < x.out.size(); ++k) replace_value(p, p.value_of(x.out[k]), p.value_of(y.out[k]));
    y.from.insert(y.from.end(), x.from.begin(), x.from.end());  // and is no less forward for it
    x.op = nullptr;
  }
  remove_empty(p);
}

void plan(Program& p) {
  drop_dead_code(p);
  fold_constants(p);
  share_common_subexpressions(p);
  fuse_products(p);
  plan_chains(p);
}

}  // namespace tg

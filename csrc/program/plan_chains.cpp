// Elementwise instructions over equally many elements that can stand side by side become one chain.
#include <algorithm>

#include "program/chain_builder.h"
#include "program/plan.h"

namespace tg {
namespace {

constexpr size_t kWindow = 64;   // how many instructions back a partner is looked for
constexpr size_t kLongest = 24;  // instructions of a chain

bool contains(const std::vector<int>& list, int x) { return std::find(list.begin(), list.end(), x) != list.end(); }

// Instructions that run as one.
struct Group {
  std::vector<int> members;  // instructions, in order
  int64_t n = 0;             // elements; 0: not elementwise, stays alone
  std::vector<int> reads, writes;
};

void add_once(std::vector<int>& to, const std::vector<int>& from) {
  for (int x : from) {
    if (!contains(to, x)) to.push_back(x);
  }
}

// What some groups read and write, so that one can ask whether another depends on them.
class Touched {
 public:
  explicit Touched(size_t values) : read_(values), written_(values) {}
  void clear() { ++now_; }
  // `overlaps`: of a value, those that may share its memory, itself among them.
  void add(const Group& g, const std::vector<std::vector<int>>& overlaps) {
    const auto mark = [&](std::vector<uint32_t>& marks, const std::vector<int>& touched) {
      for (int v : touched) {
        for (int o : overlaps[static_cast<size_t>(v)]) marks[static_cast<size_t>(o)] = now_;
      }
    };
    mark(read_, g.reads);
    mark(written_, g.writes);
  }
  bool meets(const Group& g) const {
    const auto marked = [&](const std::vector<uint32_t>& marks, const std::vector<int>& touched) {
      return std::any_of(touched.begin(), touched.end(), [&](int v) { return marks[static_cast<size_t>(v)] == now_; });
    };
    return marked(written_, g.reads) || marked(read_, g.writes) || marked(written_, g.writes);
  }

 private:
  std::vector<uint32_t> read_, written_;
  uint32_t now_ = 1;
};

class ChainPlan {
 public:
  explicit ChainPlan(Program& p)
      : program_(p),
        order_(p.values.size()),
        uses_(p.values.size()),
        overlaps_(p.values.size() + 1),
        behind_(overlaps_.size()),
        between_(overlaps_.size()) {
    overlaps_[order_].push_back(static_cast<int>(order_));
    std::vector<int> outside;
    for (size_t v = 0; v < p.values.size(); ++v) {
      overlaps_[v].push_back(static_cast<int>(v));
      if (is_outside(p.values[v])) outside.push_back(static_cast<int>(v));
    }
    for (int a : outside) {
      if (!value(a).written) continue;  // what nobody writes may overlap as it likes
      for (int b : outside) {
        if (a == b || !may_overlap(a, b)) continue;
        overlaps_[static_cast<size_t>(a)].push_back(b);
        if (!value(b).written) overlaps_[static_cast<size_t>(b)].push_back(a);
      }
    }
  }

  void run() {
    for (const Instruction& i : program_.instructions) {
      links_.push_back(chain_link(program_, i));
      for (int s : i.in) ++uses_[program_.value_of(s)];
      for (int s : i.out) ++uses_[program_.value_of(s)];
    }
    std::vector<Instruction> planned;
    const auto plan_range = [&](size_t begin, size_t end) {
      groups_.clear();
      for (size_t i = begin; i < end; ++i) append(static_cast<int>(i));
      for (const Group& g : groups_) emit(g, planned);
    };
    plan_range(0, program_.forward_end());
    for (BackwardPart& part : program_.parts) {
      const size_t begin = planned.size();
      plan_range(part.begin, part.end);
      part.begin = begin;
      part.end = planned.size();
    }
    program_.instructions = std::move(planned);
  }

 private:
  const Value& value(int v) const { return program_.values[static_cast<size_t>(v)]; }
  const ChainLink& link(int i) const { return *links_[static_cast<size_t>(i)]; }
  void append(int i);
  static bool is_outside(const Value& v) { return v.kind == Value::Kind::Argument || v.kind == Value::Kind::State; }
  bool may_overlap(int a, int b) const;
  bool related(const Group& a, const Group& b) const;
  bool join(size_t at, size_t last);
  bool fits(const Group& g) const;
  int uses_in(const Group& g, int v) const;
  bool build(const Group& g, ChainBuilder& b) const;
  void emit(const Group& g, std::vector<Instruction>& to) const;

  Program& program_;
  size_t order_;  // a value beside the program's: what draws or may stop writes it, what writes state reads it
  std::vector<std::optional<ChainLink>> links_;
  std::vector<int> uses_;                   // of the values: operands of all instructions
  std::vector<std::vector<int>> overlaps_;  // of the values
  Touched behind_, between_;
  std::vector<Group> groups_;  // in an order in which they can run
  size_t joined_ = 0;
};

void ChainPlan::append(int i) {
  const Instruction& instruction = program_.instructions[static_cast<size_t>(i)];
  const auto& link = links_[static_cast<size_t>(i)];
  Group g{{i}, link ? link->n : 0, {}, {}};
  std::vector<Tensor> tensors;
  for (int s : instruction.in) tensors.push_back(program_.slots[static_cast<size_t>(s)].tensor);
  const Call call{*instruction.op, tensors, instruction.arguments()};
  for (size_t k = 0; k < instruction.in.size(); ++k) {
    const auto v = static_cast<int>(program_.value_of(instruction.in[k]));
    add_once(g.reads, {v});
    if (instruction.in_place() && instruction.op->writes_input(call, static_cast<int>(k))) g.writes.push_back(v);
  }
  for (int s : instruction.out) g.writes.push_back(static_cast<int>(program_.value_of(s)));
  const bool lasts = std::any_of(g.writes.begin(), g.writes.end(), [&](int v) { return is_outside(value(v)); });
  if (instruction.op->keep_gil || instruction.op->may_stop) g.writes.push_back(static_cast<int>(order_));
  if (lasts) g.reads.push_back(static_cast<int>(order_));
  groups_.push_back(std::move(g));
  if (!link) return;
  size_t last = groups_.size() - 1;
  const size_t end = last - std::min(last, kWindow);
  for (size_t at = last; at-- > end;) {
    if (related(groups_[at], groups_[last]) && join(at, last)) at = last = joined_;
  }
}

// Two tensors that were there before may lie in one piece of memory that was borrowed twice.
bool ChainPlan::may_overlap(int a, int b) const {
  if (a == b) return true;
  const Value &va = value(a), &vb = value(b);
  if (!is_outside(va) || !is_outside(vb)) return false;
  if (va.kind == Value::Kind::Argument || vb.kind == Value::Kind::Argument) return true;
  const Storage &sa = *va.source->storage, &sb = *vb.source->storage;
  return sa.data < sb.data + sb.bytes && sb.data < sa.data + sa.bytes;
}

// Whether they touch a value in common, so that it is read once, or never gets to memory.
bool ChainPlan::related(const Group& a, const Group& b) const {
  if (a.n == 0 || a.n != b.n) return false;
  const auto touches = [&](int v) { return contains(b.reads, v) || contains(b.writes, v); };
  return std::any_of(a.reads.begin(), a.reads.end(), touches) || std::any_of(a.writes.begin(), a.writes.end(), touches);
}

// Makes one group of two, if those between them can run before or after it. joined_: where it is then.
bool ChainPlan::join(size_t at, size_t last) {
  if (groups_[at].members.size() + groups_[last].members.size() > kLongest) return false;
  std::vector<bool> is_behind(last - at);
  behind_.clear();  // the first, and what depends on it
  between_.clear();
  behind_.add(groups_[at], overlaps_);
  for (size_t i = at + 1; i < last; ++i) {
    if (!behind_.meets(groups_[i])) continue;
    behind_.add(groups_[i], overlaps_);
    between_.add(groups_[i], overlaps_);
    is_behind[i - at] = true;
  }
  if (between_.meets(groups_[last])) return false;
  Group both = groups_[at];
  both.members.insert(both.members.end(), groups_[last].members.begin(), groups_[last].members.end());
  add_once(both.reads, groups_[last].reads);
  add_once(both.writes, groups_[last].writes);
  if (!fits(both)) return false;
  std::vector<Group> before, after;
  for (size_t i = at + 1; i < last; ++i) (is_behind[i - at] ? after : before).push_back(std::move(groups_[i]));
  joined_ = at + before.size();
  std::move(before.begin(), before.end(), groups_.begin() + static_cast<std::ptrdiff_t>(at));
  groups_[joined_] = std::move(both);
  std::move(after.begin(), after.end(), groups_.begin() + static_cast<std::ptrdiff_t>(joined_ + 1));
  groups_.erase(groups_.begin() + static_cast<std::ptrdiff_t>(last));
  return true;
}

// Block by block is as good as one after another where all that is written is met element by element.
bool ChainPlan::fits(const Group& g) const {
  std::vector<const ChainAccess*> all;
  for (int m : g.members) {
    for (const ChainAccess& a : link(m).in) {
      if (a.slot >= 0) all.push_back(&a);
    }
    all.push_back(&link(m).out);
  }
  for (int m : g.members) {
    const ChainAccess& written = link(m).out;
    for (const ChainAccess* a : all) {
      if (a->value != written.value ? may_overlap(a->value, written.value) : !same_elements(program_, *a, written)) {
        return false;
      }
    }
  }
  const auto is_sum = [&](int m) { return !link(m).kernel; };
  if (std::count_if(g.members.begin(), g.members.end(), is_sum) > 1) return false;
  ChainBuilder b(program_, g.n);
  return build(g, b);
}

int ChainPlan::uses_in(const Group& g, int v) const {
  int uses = 0;
  for (int m : g.members) {
    const Instruction& i = program_.instructions[static_cast<size_t>(m)];
    for (int s : i.in) uses += program_.value_of(s) == static_cast<size_t>(v);
    for (int s : i.out) uses += program_.value_of(s) == static_cast<size_t>(v);
  }
  return uses;
}

bool ChainPlan::build(const Group& g, ChainBuilder& b) const {
  for (int m : g.members) {
    if (link(m).kernel)
      b.add(link(m));
    else
      b.add_sum(link(m), program_.instructions[static_cast<size_t>(m)]);
  }
  return b.finish([&](int v) {
    const bool inner = value(v).kind == Value::Kind::Internal && value(v).home == Value::Home::Arena;
    return !inner || uses_in(g, v) < uses_[static_cast<size_t>(v)];
  });
}

void ChainPlan::emit(const Group& g, std::vector<Instruction>& to) const {
  const Instruction& last = program_.instructions[static_cast<size_t>(g.members.back())];
  if (g.members.size() == 1) return to.push_back(last);
  ChainBuilder b(program_, g.n);
  build(g, b);
  if (b.out.empty()) return;  // nobody needs it
  auto attrs = std::make_shared<Attrs>();
  attrs->plan = std::make_shared<const Chain>(b.take());
  Instruction chain;
  for (int m : g.members) chain.stands_for(program_.instructions[static_cast<size_t>(m)]);
  chain.op = &kChain;
  chain.attrs = std::move(attrs);
  chain.in = b.in;
  chain.out = b.out;
  chain.file = last.file;
  chain.line = last.line;
  to.push_back(std::move(chain));
}

}  // namespace

void plan_chains(Program& p) { ChainPlan(p).run(); }

}  // namespace tg

// Products with what follows them in one pass: activations, their derivatives, optimizer steps.
#include <algorithm>

#include "ops/fused_products.h"
#include "program/plan.h"

namespace tg {
namespace {

// Elements of a parameter from which its step pays inside of the product: smaller gradients stay in the cache anyway.
constexpr int64_t kLargeParameter = 1 << 15;

const Tensor& tensor_of(const Program& p, int slot) { return p.slots[static_cast<size_t>(slot)].tensor; }

// The whole of a value, made by one instruction, read by one other, seen by nobody else.
bool is_passed_on(const Program& p, const std::vector<Use>& uses, int slot) {
  const Value& v = p.values[p.value_of(slot)];
  const Use& use = uses[p.value_of(slot)];
  return v.kind == Value::Kind::Internal && v.home == Value::Home::Arena && use.writes.size() == 1 &&
         use.reads.size() == 1 && v.slots.size() == 1;
}

// Whether the value is written by an instruction in (first, last).
bool written_between(const Use& use, size_t first, size_t last) {
  return std::any_of(use.writes.begin(), use.writes.end(), [&](size_t i) { return first < i && i < last; });
}

class Fuser {
 public:
  explicit Fuser(Program& program) : p(program), uses(uses_of(program)), behind(program.instructions.size()) {}

  void run() {
    for (size_t i = 0; i < p.instructions.size(); ++i) {
      if (!p.instructions[i].op || p.instructions[i].out.size() != 1) continue;
      if (is_passed_on(p, uses, p.instructions[i].out[0])) fuse_with_reader(i);
    }
    uses = uses_of(p);
    for (size_t j = 0; j < p.instructions.size(); ++j) {
      if (p.instructions[j].op && step_behind_product(*p.instructions[j].op)) move_updates(j);
    }
    insert();
    remove_empty(p);
  }

 private:
  Program& p;
  std::vector<Use> uses;
  std::vector<std::vector<Instruction>> behind;  // to be inserted after each instruction

  bool same_region(size_t i, size_t j) const {
    return std::none_of(p.parts.begin(), p.parts.end(),
                        [&](const BackwardPart& b) { return i < b.begin && b.begin <= j; });
  }

  // A linear or matmul whose result goes into an activation or its derivative: one instruction, in the product's place
  // where all that it reads is there by then, or else in the reader's.
  void fuse_with_reader(size_t i) {
    Instruction& x = p.instructions[i];
    const size_t j = uses[p.value_of(x.out[0])].reads[0];
    Instruction& y = p.instructions[j];
    if (y.in_place() || y.in.empty() || y.in[0] != x.out[0] || !same_region(i, j)) return;
    const Op* op = linear_with(*x.op, *y.op);
    const bool masks = !op && (op = masked_product(*x.op, *y.op));
    if (!op) return;
    if (masks && (tensor_of(p, x.out[0]).rank() != 2 || !tensor_of(p, y.in[1]).contiguous())) return;
    const bool early = !masks || !written_between(uses[p.value_of(y.in[1])], i, j);
    for (int s : x.in) {
      if (!early && written_between(uses[p.value_of(s)], i, j)) return;
    }
    Instruction fused = early ? x : y;
    fused.stands_for(early ? y : x);
    fused.op = op;
    fused.in = x.in;
    if (masks) fused.in.push_back(y.in[1]);
    fused.out = y.out;
    fused.attrs = nullptr;
    x.op = y.op = nullptr;
    p.instructions[early ? i : j] = std::move(fused);
  }

  // The steps of parameters whose gradient is a product go behind that product, and out of the list of the others.
  void move_updates(size_t j) {
    const Instruction& x = p.instructions[j];
    const auto n = static_cast<size_t>(x.arguments().integer[0]);
    const size_t lists = n ? (x.in.size() - 1) / n : 0;
    std::vector<size_t> left;
    for (size_t i = 0; i < n; ++i) {
      if (!move_update(j, i, n)) left.push_back(i);
    }
    if (left.size() == n) return;
    Attrs attrs = x.arguments();
    attrs.integer[0] = static_cast<int64_t>(left.size());
    std::vector<int> in;
    for (size_t list = 0; list < lists; ++list) {
      for (size_t i : left) in.push_back(x.in[list * n + i]);
    }
    in.push_back(x.in.back());
    p.instructions[j].in = std::move(in);
    p.instructions[j].attrs = std::make_shared<const Attrs>(std::move(attrs));
  }

  // The step of parameter i of n behind the product that is its gradient.
  static Instruction fused_update(const Instruction& product, const Instruction& step, size_t i, size_t n) {
    const size_t lists = (step.in.size() - 1) / n;
    Instruction fused;
    fused.op = step_behind_product(*step.op);
    fused.file = step.file;
    fused.line = step.line;
    fused.stands_for(product);
    fused.stands_for(step);
    fused.in = {step.in[i], product.in[0], product.in[1]};
    for (size_t list = 2; list < lists; ++list) fused.in.push_back(step.in[list * n + i]);
    if (is_weight_gradient(*product.op)) fused.in.push_back(product.out[1]);
    fused.in.push_back(step.in.back());
    Attrs attrs;
    attrs.integer[0] = static_cast<int64_t>(lists - 2);
    attrs.flag = is_weight_gradient(*product.op);
    attrs.cell = step.arguments().cell;
    fused.attrs = std::make_shared<const Attrs>(std::move(attrs));
    return fused;
  }

  bool move_update(size_t j, size_t i, size_t n) {
    const Instruction& step = p.instructions[j];
    const int gradient = step.in[n + i];
    if (!is_passed_on(p, uses, gradient)) return false;
    const size_t k = uses[p.value_of(gradient)].writes[0];
    const Instruction& product = p.instructions[k];
    if (!product.op || !same_region(k, j) || product.out[0] != gradient) return false;
    const bool sums = is_weight_gradient(*product.op);
    if (!sums && !is_product(*product.op)) return false;
    if (tensor_of(p, gradient).rank() != 2 || tensor_of(p, gradient).numel() < kLargeParameter) return false;
    for (int s : product.in) {  // a product of parameters: others may be updated meanwhile
      const size_t v = p.value_of(s);
      if (p.values[v].kind != Value::Kind::Internal && !uses[v].writes.empty()) return false;
    }
    Instruction fused = fused_update(product, step, i, n);
    // After the last that reads what it writes, before anything that writes what it reads.
    size_t at = k;
    for (size_t m = 0; m < fused.in.size(); ++m) {
      if (sums && fused.in[m] == product.out[1]) continue;
      const Use& use = uses[p.value_of(fused.in[m])];
      for (size_t r : use.reads) {
        if (r < j && fused.writes(m)) at = std::max(at, r);
      }
      if (fused.writes(m) && written_between(use, k, j)) return false;
    }
    for (size_t m = 1; m < fused.in.size(); ++m) {
      if (!fused.writes(m) && written_between(uses[p.value_of(fused.in[m])], k, at + 1)) return false;
    }
    if (sums) {
      const Use& use = uses[p.value_of(product.out[1])];
      if (use.writes.size() != 1 || std::any_of(use.reads.begin(), use.reads.end(), [&](size_t r) { return r <= at; }))
        return false;
    }
    p.instructions[k].op = nullptr;
    behind[at].push_back(std::move(fused));
    return true;
  }

  void insert() {
    std::vector<size_t> moved(p.instructions.size() + 1);  // where each instruction comes to lie
    std::vector<Instruction> all;
    for (size_t i = 0; i < p.instructions.size(); ++i) {
      moved[i] = all.size();
      all.push_back(std::move(p.instructions[i]));
      for (Instruction& x : behind[i]) all.push_back(std::move(x));
    }
    moved.back() = all.size();
    for (BackwardPart& part : p.parts) part.begin = moved[part.begin], part.end = moved[part.end];
    p.instructions = std::move(all);
  }
};

}  // namespace

void fuse_products(Program& p) { Fuser(p).run(); }

}  // namespace tg

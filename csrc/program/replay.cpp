// Replay: binds the memory of a call to a program's values and runs its instructions.
#include <algorithm>
#include <cstring>

#include "ops/execute.h"
#include "program/program.h"
#include "tape/profile.h"
#include "tape/recorder.h"

namespace tg {
namespace {

bool same_layout(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.requires_grad() == b.requires_grad() && a.shape() == b.shape() &&
         a.strides() == b.strides();
}

bool same_memory(const Ref<TensorImpl>& a, const Ref<TensorImpl>& b) {
  if (!a || !b) return !a && !b;
  return a->data == b->data && a->storage == b->storage;
}

// Which of the numbers are zero: that decides what runs, as momentum does.
uint64_t zeros_of(const Cell& cell) {
  uint64_t bits = 0;
  for (double v : cell.values) bits = bits * 2 + (v == 0);
  return bits;
}

// A handle on memory that somebody else owns.
Ref<Storage> handle() {
  return Storage::borrow(nullptr, 0, false, nullptr, [](void*) {});
}

}  // namespace

bool Program::fits(std::span<const Tensor> given) const {
  if (given.size() != arguments.size()) return false;
  for (size_t i = 0; i < given.size(); ++i) {
    if (!same_layout(given[i], arguments[i])) return false;
  }
  for (int i : state_values_) {
    const Value& v = values[static_cast<size_t>(i)];
    const TensorImpl& t = *v.source.ref();
    if (t.data != v.data || t.layout != v.layout || t.requires_grad != v.requires_grad) return false;
  }
  for (const auto& [cell, zeros] : cells_) {
    cell->refresh();
    if (zeros_of(*cell) != zeros) return false;
  }
  for (const LeafGradient& g : gradients) {
    if (g.read && (g.leaf->grad_elided || !same_memory(g.leaf->grad, g.before))) return false;
  }
  return true;
}

bool Program::repeats() const {
  return std::all_of(gradients.begin(), gradients.end(), [](const LeafGradient& g) {
    using After = LeafGradient::After;
    return !g.read || !g.written || g.after == After::Same || (g.after == After::None && !g.before);
  });
}

void Program::prepare() {
  arena_bytes = 0;
  for (Value& v : values) {
    v.storage = handle();
    v.storage->bytes = v.bytes;
    for (int s : v.slots) slots[static_cast<size_t>(s)].tensor->storage = v.storage;
  }
  plan_arena();
  for (size_t i = 0; i < values.size(); ++i) {
    Value& v = values[i];
    const int number = static_cast<int>(i);
    if (v.in_arena()) arena_values_.push_back(number);
    switch (v.kind) {
      case Value::Kind::Argument:
        argument_values_.push_back(number);
        if (v.written) written_.push_back(number);
        break;
      case Value::Kind::State:
        state_values_.push_back(number);
        if (v.written) written_.push_back(number);
        v.data = v.source->data;
        v.layout = v.source->layout;
        v.requires_grad = v.source->requires_grad;
        bind(number, v.source->storage->data);
        break;
      case Value::Kind::Constant:
        if (v.written)
          restored_.push_back(number);
        else
          bind(number, v.source.data<char>());
        break;
      case Value::Kind::Internal:
        if (v.home == Value::Home::Output) outputs_.push_back(number);
        break;
    }
  }
  for (const Instruction& i : instructions) {
    steps_.push_back({i.op, &i.arguments(), operands_.size(), i.in.size(), i.out.size(), i.op->keep_gil, i.backward});
    for (int s : i.in) operands_.push_back(slots[static_cast<size_t>(s)].tensor);
    for (int s : i.out) operands_.push_back(slots[static_cast<size_t>(s)].tensor);
    if (Cell* cell = i.arguments().cell.get()) {
      const auto known = [&](const auto& c) { return c.first == cell; };
      if (std::none_of(cells_.begin(), cells_.end(), known)) cells_.emplace_back(cell, zeros_of(*cell));
    }
  }
  bind_arena(Storage::make(arena_bytes));
  int64_t elements = 0;
  for (const Tensor& t : operands_) elements += t.numel();
  releases_gil_ = elements > (1 << 17);
}

void Program::bind(int value, char* base) {
  const Value& v = values[static_cast<size_t>(value)];
  v.storage->data = base;
  for (int s : v.slots) {
    const Slot& slot = slots[static_cast<size_t>(s)];
    slot.tensor->data = base + slot.offset;
  }
}

void Program::bind_arena(Ref<Storage> arena) {
  if (arena_ == arena) return;
  arena_ = std::move(arena);
  for (int v : arena_values_) bind(v, arena_->data + values[static_cast<size_t>(v)].arena_offset);
}

void Program::bind_arguments(std::span<const Tensor> given) {
  for (int i : argument_values_) {
    const auto argument = static_cast<size_t>(values[static_cast<size_t>(i)].argument);
    if (argument < given.size()) bind(i, given[argument].data<char>());
  }
}

void Program::bind_outputs() {
  made_.clear();
  for (int v : outputs_) {
    made_.push_back(Storage::make(values[static_cast<size_t>(v)].bytes));
    bind(v, made_.back()->data);
  }
}

// A gradient goes where the last one lies, unless somebody else has kept that one.
void Program::bind_gradients() {
  for (LeafGradient& g : gradients) {
    if (g.after != LeafGradient::After::Made) continue;
    const Slot& slot = slots[static_cast<size_t>(g.slot)];
    const int64_t ours = 1 + (g.leaf->grad == g.tensor);
    if (!g.tensor || g.tensor->refs > ours || g.tensor->storage->refs > 1) {
      const Tensor fresh(
          Ref<TensorImpl>(new TensorImpl(slot.tensor.shape(), slot.tensor.strides(), slot.tensor.dtype())));
      fresh->storage = Storage::make(values[static_cast<size_t>(slot.value)].bytes);
      fresh->data = fresh->storage->data + slot.offset;
      g.tensor = fresh.ref();
    }
    bind(slot.value, g.tensor->storage->data);
  }
}

void Program::run_steps(size_t begin, size_t end, GilRelease* released) {
  const SweepMode restored(sweep_mode);
  for (const Step& s : std::span(steps_).subspan(begin, end - begin)) {
    const std::span<Tensor> operands(operands_.data() + s.first, s.inputs + s.outputs);
    const Call call{*s.op, operands.first(s.inputs), *s.attrs};
    if (profiling()) [[unlikely]]
      sweep_mode = s.backward;
    if (s.keeps_gil && released) released->pause();
    run_op(call, s.outputs ? operands.subspan(s.inputs) : operands.first(1));
    if (s.keeps_gil && released) released->resume();
  }
}

void Program::leave_gradients() {
  for (LeafGradient& g : gradients) {
    if (!g.written) continue;
    const bool kept = g.after == LeafGradient::After::Same || g.after == LeafGradient::After::Made;
    if (!(g.leaf->grad == g.tensor) || !kept) g.leaf->grad = kept ? g.tensor : Ref<TensorImpl>();
    g.leaf->grad_elided = g.after == LeafGradient::After::Elided;
  }
}

std::vector<Tensor> Program::make_outputs(std::span<const Tensor> given) {
  std::vector<Tensor> out;
  out.reserve(outputs.size());
  for (const Output& o : outputs) {
    if (o.kind == Output::Kind::Argument) {
      out.push_back(given[static_cast<size_t>(o.argument)]);
      continue;
    }
    if (o.kind == Output::Kind::State) {
      out.push_back(o.tensor);
      continue;
    }
    const Slot& slot = slots[static_cast<size_t>(o.slot)];
    const Value& v = values[static_cast<size_t>(slot.value)];
    Ref<TensorImpl> t(new TensorImpl(slot.tensor.shape(), slot.tensor.strides(), slot.tensor.dtype()));
    t->storage = storage_of(v, given);
    t->data = slot.tensor->data;
    out.push_back(Tensor(std::move(t)));
  }
  return out;
}

// The memory that an output shares with an argument, a gradient or other outputs.
Ref<Storage> Program::storage_of(const Value& v, std::span<const Tensor> given) const {
  if (v.kind == Value::Kind::Argument) return given[static_cast<size_t>(v.argument)]->storage;
  if (v.kind == Value::Kind::Constant) {
    Ref<Storage> copy = Storage::make(v.bytes);
    std::memcpy(copy->data, v.storage->data, v.bytes);
    return copy;
  }
  if (v.home == Value::Home::Gradient) {
    for (const LeafGradient& g : gradients) {
      if (g.slot >= 0 && &values[value_of(g.slot)] == &v) return g.tensor->storage;
    }
  }
  for (size_t i = 0; i < outputs_.size(); ++i) {
    if (&values[static_cast<size_t>(outputs_[i])] == &v) return made_[i];
  }
  return v.source->storage;
}

std::unique_lock<std::mutex> Program::lock() {
  std::unique_lock held(mutex_, std::try_to_lock);
  if (!held) {
    const GilRelease released(true);
    held.lock();
  }
  return held;
}

void Program::begin() {
  if (arena_->refs > 1) bind_arena(Storage::make(arena_bytes));  // a backward pass still needs the last run's
  bind_outputs();
  bind_gradients();
}

void Program::run(std::span<const Tensor> given, GilRelease* released) {
  const ProfileRange range("replay");
  for (int v : restored_) {
    const Value& value = values[static_cast<size_t>(v)];
    std::memcpy(value.storage->data, value.source.data(), value.bytes);
  }
  bind_arguments(given);
  run_steps(0, forward_end(), released);
}

// `finished`: no run was cut short.
void Program::end(std::span<const Tensor> given, bool finished) {
  for (int i : written_) {
    const Value& v = values[static_cast<size_t>(i)];
    (v.kind == Value::Kind::State ? v.source : given[static_cast<size_t>(v.argument)])
        ->storage->wrote("a compiled call");
  }
  if (finished) leave_gradients();
}

std::vector<Tensor> Program::replay(std::span<const Tensor> given) {
  const std::unique_lock held = lock();
  begin();
  {
    GilRelease released(releases_gil_);
    run(given, releases_gil_ ? &released : nullptr);
  }
  end(given, true);
  std::vector<Tensor> out = make_outputs(given);
  attach_graph(out, given);
  made_.clear();
  return out;
}

}  // namespace tg

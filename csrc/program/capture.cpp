// Recording: which memory a run touches, what it does to it, and what of that another run can repeat.
#include "program/capture.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "tape/profile.h"

namespace tg {
namespace {

uint32_t next_mark = 1;  // under the GIL

std::string at(const SourceLine& where) {
  return where.file.empty() ? std::string() : " at " + where.file + ":" + std::to_string(where.line);
}

// From the first to behind the last element, relative to the first, in bytes.
std::pair<int64_t, int64_t> extent(const Tensor& t) {
  const auto item = static_cast<int64_t>(itemsize(t.dtype()));
  if (t.numel() == 0) return {0, 0};
  int64_t low = 0, high = item;
  for (int d = 0; d < t.rank(); ++d) {
    const int64_t span = t.strides()[d] * (t.size(d) - 1) * item;
    (span < 0 ? low : high) += span;
  }
  return {low, high};
}

uint64_t hash(int value, int64_t offset, const Tensor& t) {
  uint64_t h = static_cast<uint64_t>(value) * 0x9E3779B97F4A7C15ull + static_cast<uint64_t>(offset);
  const auto mix = [&](int64_t v) { h = (h ^ static_cast<uint64_t>(v)) * 0x100000001B3ull + (h >> 29); };
  mix(static_cast<int64_t>(t.dtype()));
  for (int64_t s : t.shape()) mix(s);
  for (int64_t s : t.strides()) mix(s);
  return h;
}

}  // namespace

Capture::Capture(std::span<const Tensor> arguments, std::function<SourceLine()> where, bool lenient)
    : arguments_(arguments.begin(), arguments.end()),
      where_(std::move(where)),
      lenient_(lenient),
      first_mark_(next_mark) {
  if (recorder) throw std::runtime_error("capture: another capture is running in this thread");
  for (size_t i = 0; i < arguments_.size(); ++i) {
    const Tensor& t = arguments_[i];
    program_->arguments.push_back(t);
    if (old_values_.contains(t->storage.get())) continue;
    Value v;
    v.kind = Value::Kind::Argument;
    v.argument = static_cast<int>(i);
    v.bytes = static_cast<size_t>(extent(t).second);
    old_values_[t->storage.get()] = static_cast<int>(program_->values.size());
    program_->values.push_back(std::move(v));
  }
  recorder = this;
  storage_watch = this;
  active_ = true;
}

void Capture::stop() {
  if (!active_) return;
  active_ = false;
  recorder = nullptr;
  storage_watch = nullptr;
}

void Capture::born(Storage& s) {
  s.mark = next_mark++;
  alive_[s.mark] = true;
}
void Capture::died(const Storage& s) { alive_.erase(s.mark); }

void Capture::visit(const Node& node) {
  if (node.sequence <= first_sequence_ && !failed_) {
    refuse(std::string("backward() reaches ") + node.op->name + ", which ran before the call");
  }
}

void Capture::refuse(const std::string& what) {
  if (failed_) return;
  failed_ = what + at(where_());
  if (!lenient_) {
    throw CaptureError(
        *failed_ +
        ": a compiled function cannot do this, because its replay runs no Python. Do it outside, on what "
        "the function returns, or compile with fallback=True to run uncompiled where it must");
  }
}

void Capture::refuse_reading(const Tensor& t, const char* by) {
  if (t->wrapped_number || failed_) return;
  if (t->storage->mark >= first_mark_) {  // a constant made from Python numbers may be read
    const auto found = new_values_.find(t->storage->mark);
    if (found == new_values_.end()) return;
    const Value& v = program_->values[static_cast<size_t>(found->second)];
    if (v.kind == Value::Kind::Constant && !v.written) return;
  }
  refuse("the value of a tensor (" + describe(t) + ") is read by " + by);
}

// A value whose memory came to be during the run.
int Capture::made_here(const Tensor& t, bool made) {
  const Storage& s = *t->storage;
  const auto [found, fresh] = new_values_.try_emplace(s.mark, static_cast<int>(program_->values.size()));
  if (!fresh) return found->second;
  Value v;
  v.bytes = s.bytes;
  if (!made) {  // no instruction has written it: Python has
    v.kind = Value::Kind::Constant;
    const CapturePause pause;
    v.source = Tensor::empty({static_cast<int64_t>(s.bytes)}, DType::UInt8);
    std::memcpy(v.source.data(), s.data, s.bytes);
  }
  program_->values.push_back(std::move(v));
  return found->second;
}

int Capture::value_of(const Tensor& t, bool made) {
  if (t->storage->mark >= first_mark_) return made_here(t, made);
  const auto [found, fresh] = old_values_.try_emplace(t->storage.get(), static_cast<int>(program_->values.size()));
  if (fresh) {
    Value v;
    v.kind = Value::Kind::State;
    v.source = t->grad_fn ? t.detach() : t;
    v.bytes = t->storage->bytes;
    program_->values.push_back(std::move(v));
  }
  Value& v = program_->values[static_cast<size_t>(found->second)];
  if (t->requires_grad && v.kind == Value::Kind::State) v.source = t;  // the leaf itself: its .data may be replaced
  return found->second;
}

int Capture::slot_of(const Tensor& t, bool made) {
  const int value = value_of(t, made);
  const Value& v = program_->values[static_cast<size_t>(value)];
  const bool is_argument = v.kind == Value::Kind::Argument;
  const Tensor* base = is_argument ? &arguments_[static_cast<size_t>(v.argument)] : nullptr;
  const int64_t offset = t->data - (base ? (*base)->data : t->storage->data);
  if (base && t.numel() > 0) {  // an empty one has no place
    const auto inside = [&](const Tensor& argument) {
      const auto [low, high] = extent(argument);
      const auto [from, to] = extent(t);
      const int64_t at = t->data - argument->data;
      return argument->storage == t->storage && low <= at + from && at + to <= high;
    };
    if (std::none_of(arguments_.begin(), arguments_.end(), inside)) {
      refuse("the tensor " + describe(t) + " shares memory with argument " + std::to_string(v.argument) +
             " but lies outside of it");
    }
  }
  std::vector<int>& candidates = slot_index_[hash(value, offset, t)];
  for (int i : candidates) {
    const Slot& s = program_->slots[static_cast<size_t>(i)];
    if (s.value == value && s.offset == offset && s.tensor.dtype() == t.dtype() && s.tensor.shape() == t.shape() &&
        s.tensor.strides() == t.strides() && s.tensor->wrapped_number == t->wrapped_number)
      return i;
  }
  const int slot = static_cast<int>(program_->slots.size());
  Slot s{value, offset, Tensor(Ref<TensorImpl>(new TensorImpl(t.shape(), t.strides(), t.dtype())))};
  s.tensor->wrapped_number = t->wrapped_number;
  program_->slots.push_back(std::move(s));
  program_->values[static_cast<size_t>(value)].slots.push_back(slot);
  candidates.push_back(slot);
  return slot;
}

void Capture::add_line(Instruction& i) {
  const SourceLine where = where_();
  if (where.file.empty()) return;
  const auto [found, fresh] = file_index_.try_emplace(where.file, static_cast<int>(program_->files.size()));
  if (fresh) program_->files.push_back(where.file);
  i.file = found->second;
  i.line = where.line;
}

void Capture::mark_written(const Tensor& t, bool overwritten) {
  const bool whole = t.contiguous() && static_cast<size_t>(t.numel()) * itemsize(t.dtype()) == t->storage->bytes;
  const int value = value_of(t, overwritten && whole);
  program_->values[static_cast<size_t>(value)].written = true;
}

void Capture::record(const Call& call, std::span<const Tensor> out) {
  if (failed_) return;
  Instruction i;
  i.op = &call.op;
  if (&call.attrs != &no_attrs()) i.attrs = std::make_shared<const Attrs>(call.attrs);
  if (out.empty()) {
    for (size_t k = 0; k < call.in.size(); ++k) {
      if (call.op.writes_input(call, static_cast<int>(k))) mark_written(call.in[k], k == 0 && call.op.overwrites);
    }
  }
  i.in.reserve(call.in.size());
  for (const Tensor& t : call.in) i.in.push_back(slot_of(t));
  for (const Tensor& t : out) {
    i.out.push_back(slot_of(t, true));
    program_->values[program_->value_of(i.out.back())].written = true;
  }
  i.from = {static_cast<int>(program_->instructions.size())};
  i.backward = sweep_mode;
  add_line(i);
  program_->instructions.push_back(std::move(i));
}

LeafGradient& Capture::gradient_of(TensorImpl& leaf) {
  const auto [found, fresh] = gradient_index_.try_emplace(&leaf, program_->gradients.size());
  if (fresh) program_->gradients.push_back({Ref<TensorImpl>(&leaf)});
  return program_->gradients[found->second];
}

void Capture::read_grad(TensorImpl& leaf) {
  if (failed_) return;
  LeafGradient& g = gradient_of(leaf);
  if (g.written || g.read) return;
  g.read = true;
  g.before = leaf.grad;
}

void Capture::write_grad(TensorImpl& leaf) {
  if (!failed_) gradient_of(leaf).written = true;
}

// What the run left in .grad: nothing, a tensor that was there before, or one it made.
void Capture::finish_gradients(bool keep_grads) {
  std::vector<bool> consumed(program_->values.size());
  for (const Instruction& i : program_->instructions) {
    if (!i.arguments().cell) continue;
    for (int s : i.in) consumed[program_->value_of(s)] = true;
  }
  for (LeafGradient& g : program_->gradients) {
    if (!g.written || !g.leaf->grad) continue;
    const Tensor last(g.leaf->grad);
    const int slot = slot_of(last);
    Value& v = program_->values[program_->value_of(slot)];
    if (v.kind != Value::Kind::Internal) {
      g.after = LeafGradient::After::Same;
      g.tensor = last.ref();
      continue;
    }
    const auto value = program_->value_of(slot);
    alive_.erase(last->storage->mark);
    if (!keep_grads && value < consumed.size() && consumed[value]) {
      g.after = LeafGradient::After::Elided;
      g.leaf->grad = {};
      g.leaf->grad_elided = true;
      continue;
    }
    g.after = LeafGradient::After::Made;
    g.tensor = last.ref();
    g.slot = slot;
    v.home = Value::Home::Gradient;
  }
}

void Capture::finish_outputs(std::span<const Tensor> outputs) {
  for (const Tensor& t : outputs) {
    Output o;
    for (size_t i = 0; i < arguments_.size(); ++i) {
      if (t.is(arguments_[i])) o.kind = Output::Kind::Argument, o.argument = static_cast<int>(i);
    }
    if (o.kind != Output::Kind::Argument) {
      o.slot = slot_of(t);
      const int value = program_->slots[static_cast<size_t>(o.slot)].value;
      Value& v = program_->values[static_cast<size_t>(value)];
      if (v.kind == Value::Kind::Internal || v.kind == Value::Kind::Constant) alive_.erase(t->storage->mark);
      if (v.kind == Value::Kind::Internal) {
        if (v.home == Value::Home::Arena) v.home = Value::Home::Output;
      } else if (v.kind == Value::Kind::State && !t->grad_fn) {
        o.kind = Output::Kind::State;
        o.tensor = t;
      }
    }
    program_->outputs.push_back(std::move(o));
  }
}

// Results and gradients whose memory somebody else holds, too, as a view. A graph holds what it saved: where a result
// has one, that cannot be told.
void Capture::add_shared(std::span<const Tensor> outputs, std::unordered_map<uint32_t, bool>& alive) const {
  std::unordered_map<const TensorImpl*, const Storage*> ours;
  for (const Tensor& t : outputs) {
    if (t->grad_fn) return;
    ours[&t.impl()] = t->storage.get();
  }
  for (const LeafGradient& g : program_->gradients) {
    if (g.after == LeafGradient::After::Made) ours[g.tensor.get()] = g.tensor->storage.get();
  }
  std::unordered_map<const Storage*, int64_t> handles;
  for (const auto& [_, storage] : ours) ++handles[storage];
  for (const auto& [storage, count] : handles) {
    if (storage->mark >= first_mark_ && storage->refs > count) alive[storage->mark] = true;
  }
}

// Memory that the run made, and that is neither returned nor a gradient, but still there.
std::string Capture::escaped(std::span<const Tensor> outputs, std::span<const Tensor> held) const {
  std::unordered_map<uint32_t, bool> alive = alive_;
  for (const Tensor& t : held) alive[t->storage->mark] = true;
  add_shared(outputs, alive);
  for (const auto& [mark, _] : alive) {
    const auto found = new_values_.find(mark);
    if (found == new_values_.end()) continue;
    const Value& v = program_->values[static_cast<size_t>(found->second)];
    if (v.kind == Value::Kind::Constant && !v.written) continue;
    for (const Instruction& i : program_->instructions) {
      const std::vector<int>& made = i.in_place() ? i.in : i.out;
      if (made.empty() || program_->slots[static_cast<size_t>(made[0])].value != found->second) continue;
      const Tensor& t = program_->slots[static_cast<size_t>(made[0])].tensor;
      const SourceLine where{i.file < 0 ? "" : program_->files[static_cast<size_t>(i.file)], i.line};
      return std::string("the result of ") + i.op->name + " (" + describe(t) + ")" + at(where) +
             " is kept from one call to the next";
    }
  }
  return {};
}

std::shared_ptr<Program> Capture::finish(std::span<const Tensor> outputs, bool keep_grads,
                                         const std::function<std::vector<Tensor>()>& held, void (*collect)(),
                                         std::string* problem) {
  if (failed_) {
    *problem = *failed_;
    return nullptr;
  }
  finish_gradients(keep_grads);
  finish_outputs(outputs);
  finish_backward(outputs);
  if (failed_) {
    *problem = *failed_;
    return nullptr;
  }
  recorder = nullptr;  // finalizers that run now are no part of it
  *problem = escaped(outputs, held());
  if (!problem->empty()) {  // perhaps only because a cycle has not been collected
    collect();
    *problem = escaped(outputs, held());
  }
  stop();
  if (!problem->empty()) return nullptr;
  program_->captured = program_->instructions;
  for (const Slot& s : program_->slots) program_->captured_values.push_back(s.value);
  for (Tensor& t : program_->arguments) {  // only what fits() compares
    const Tensor given = t;
    t = Tensor(Ref<TensorImpl>(new TensorImpl(given.shape(), given.strides(), given.dtype())));
    t->requires_grad = given.requires_grad();
  }
  return program_;
}

}  // namespace tg

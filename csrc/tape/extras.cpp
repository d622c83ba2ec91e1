// Hooks and retained gradients.
#include "tape/extras.h"

#include <algorithm>
#include <stdexcept>

namespace tg {

constinit thread_local NodeWatch* node_watch = nullptr;
int64_t hooked_leaves = 0;

int64_t HookList::add(std::shared_ptr<Hook> hook, uint32_t output) {
  static int64_t next_id = 0;  // under the GIL
  entries.push_back({next_id, output, std::move(hook)});
  return next_id++;
}

void HookList::remove(int64_t id) {
  const auto found = std::find_if(entries.begin(), entries.end(), [&](const Entry& e) { return e.id == id; });
  if (found == entries.end()) return;
  const Entry removed = std::move(*found);  // letting go of it may run Python code, which must find a sound list
  entries.erase(found);
}

Tensor HookList::run(Tensor gradient, uint32_t output) const {
  const std::vector<Entry> now = entries;  // a hook may add and remove hooks
  for (const Entry& e : now) {
    if (e.output != output) continue;
    if (Tensor replaced = e.hook->call(gradient)) gradient = std::move(replaced);
  }
  return gradient;
}

NodeExtras& Node::get_extras() {
  if (!extras) extras = std::make_unique<NodeExtras>();
  return *extras;
}

const Dims& Node::output_shape(uint32_t output) const { return output ? extras->outputs[output - 1].shape : shape; }

GradientExtras& extras_of(TensorImpl& t) {
  if (!t.extras) {
    auto made = std::make_unique<GradientExtras>();
    made->tensor = &t;
    t.extras = std::move(made);
    if (!t.grad_fn) ++hooked_leaves;
  }
  return *find_extras(t);
}

GradientExtras::~GradientExtras() {
  if (retained_by) std::erase(retained_by->extras->retaining, tensor);
}

bool retains_grad(const Tensor& t) {
  const GradientExtras* extras = find_extras(t.impl());
  return extras && extras->retained_by;
}

void retain_grad(const Tensor& t) {
  if (!t.requires_grad()) {
    throw std::runtime_error("retain_grad: " + describe(t) + " does not require grad, so it has no gradient to keep");
  }
  if (!t->grad_fn) return;
  GradientExtras& extras = extras_of(t.impl());
  Node& node = static_cast<Node&>(*t->grad_fn);
  if (extras.retained_by == &node) return;
  if (extras.retained_by) std::erase(extras.retained_by->extras->retaining, &t.impl());
  extras.retained_by = &node;
  node.get_extras().retaining.push_back(&t.impl());
}

}  // namespace tg

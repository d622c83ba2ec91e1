// What nodes save for the gradient, and the checks that nobody has written to it when it is read back.
#include <stdexcept>

#include "tape/extras.h"
#include "tensor/outside.h"

namespace tg {
namespace {

// "add_" of the op add, which has written in place.
std::string in_place_name(const Storage& s) {
  const std::string name = s.writer;
  const bool is_op = !name.empty() && name.back() != '_' && name.find(' ') == std::string::npos;
  return is_op ? name + "_" : name;
}

}  // namespace

void fail_replaced(const char* op, const Tensor& t) {
  throw std::runtime_error(std::string(op) + ": the .data of a tensor used in the forward pass was replaced by " +
                           describe(t) + ", of another shape, strides or dtype, so its gradient cannot be computed");
}

const Tensor& check_saved(const char* op, const Saved& s, const char* what) {
  if (s.tensor->layout != s.layout) fail_replaced(op, s.tensor);
  Storage& storage = *s.tensor->storage;
  notice_writes(storage);
  if (storage.version != s.version) {
    throw std::runtime_error(std::string(op) + ": its " + what + " " + describe(s.tensor) +
                             ", needed for the gradient, was modified in place by " + in_place_name(storage) +
                             " after the forward pass (version " + std::to_string(storage.version) + ", expected " +
                             std::to_string(s.version) + "); use an out-of-place operation or modify a clone()");
  }
  return s.tensor;
}

void save_open_input(Node& node, int i, const Tensor& t) {
  notice_writes(*t->storage);
  node.saved_input(i) = {t, t->storage->version, t->layout};
  node.get_extras().checksums.emplace_back(i, checksum(t));
}

void check_sums(const NodeExtras& extras, int i, const Saved& s) {
  Storage& storage = *s.tensor->storage;
  for (const auto& [input, sum] : extras.checksums) {
    if (input == i && storage.version == s.version && checksum(s.tensor) != sum) storage.wrote("a NumPy array");
  }
}

}  // namespace tg

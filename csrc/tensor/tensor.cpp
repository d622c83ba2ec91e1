// Tensor: creation, aliasing, and destruction without recursion.
#include "tensor/tensor.h"

namespace tg {
namespace {

// Objects whose count fell to zero while another one was being destroyed wait here for their turn. Shared by all
// threads: counts change only under the GIL.
template <class T>
struct Graveyard {
  std::vector<T*> waiting;
  bool draining = false;
  void bury(T* dead) {
    waiting.push_back(dead);
    if (draining) return;
    draining = true;
    while (!waiting.empty()) {
      T* next = waiting.back();
      waiting.pop_back();
      delete next;
    }
    draining = false;
  }
};

template <class T>
Graveyard<T>& graveyard() {
  static auto* g = new Graveyard<T>;  // leaked: tensors may outlive any destructor at exit
  return *g;
}

template <class T>
Tensor make_scalar(T value, DType dtype) {
  Tensor t = Tensor::empty({}, dtype);
  dispatch(dtype, [&](auto tag) { *t.data<decltype(tag)>() = convert_element<decltype(tag)>(value); });
  return t;
}

template <class T>
Tensor make_number(T value, DType dtype) {
  Tensor t = make_scalar(value, dtype);
  t->wrapped_number = true;
  return t;
}

}  // namespace

constinit thread_local StorageWatch* storage_watch = nullptr;

void GraphNode::destroy(GraphNode* n) { graveyard<GraphNode>().bury(n); }

[[gnu::flatten]] void TensorImpl::destroy(TensorImpl* t) {
  if (t->grad)
    graveyard<TensorImpl>().bury(t);
  else
    delete t;
}

Tensor Tensor::empty(const Dims& shape, DType dtype) {
  Ref<TensorImpl> t(new TensorImpl(shape, dtype));
  const size_t bytes = static_cast<size_t>(t->numel) * itemsize(dtype);
  try {
    t->storage = Storage::make(bytes);
  } catch (const std::bad_alloc&) {
    throw OutOfMemory(std::string("not enough memory for a ") + name(dtype) + " tensor of shape " + to_string(shape) +
                      ": " + std::to_string(bytes) + " bytes");
  }
  t->data = t->storage->data;
  return Tensor(std::move(t));
}

Tensor Tensor::scalar(double value, DType dtype) { return make_scalar(value, dtype); }
Tensor Tensor::scalar(int64_t value, DType dtype) { return make_scalar(value, dtype); }
Tensor Tensor::number(double value) { return make_number(value, DType::Float64); }
Tensor Tensor::number(int64_t value) { return make_number(value, DType::Int64); }
Tensor Tensor::number(bool value) { return make_number(value, DType::Bool); }

Tensor Tensor::alias(const Dims& shape, const Dims& strides, int64_t offset) const {
  Ref<TensorImpl> t(new TensorImpl(shape, strides, impl_->dtype));
  t->storage = impl_->storage;
  t->data = impl_->data + offset * static_cast<int64_t>(itemsize(impl_->dtype));
  return Tensor(std::move(t));
}

double Tensor::item_double() const {
  if (dtype() == DType::Bool) return *data<uint8_t>() != 0;
  return dispatch_stored(dtype(), [&](auto tag) { return static_cast<double>(*data<decltype(tag)>()); });
}

int64_t Tensor::item_int64() const {
  if (dtype() == DType::Bool) return *data<uint8_t>() != 0;
  return dispatch_stored(dtype(), [&](auto tag) { return convert_element<int64_t>(*data<decltype(tag)>()); });
}

std::string describe(const Tensor& t) { return std::string(name(t.dtype())) + " " + to_string(t.shape()); }

}  // namespace tg

// Tensor: a cheap handle to storage, dtype, shape, strides and its place in the autodiff graph.
#pragma once
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/ref.h"
#include "tensor/shape.h"
#include "tensor/storage.h"

namespace tg {

// bad_alloc that says for what.
struct OutOfMemory : std::bad_alloc {
  explicit OutOfMemory(std::string why) : message(std::move(why)) {}
  const char* what() const noexcept override { return message.c_str(); }
  std::string message;
};

// What a tensor knows of the tape's nodes. Destruction goes through a queue, so that long chains do not recurse.
struct GraphNode {
  int64_t refs = 0;
  virtual ~GraphNode() = default;
  static void destroy(GraphNode* n);
};

// What few tensors have, see tape/extras.h.
struct TensorExtras {
  virtual ~TensorExtras() = default;
};

struct TensorImpl {
  TensorImpl(const Dims& shape_, DType dtype_)  // contiguous
      : numel(checked_numel(shape_)), dtype(dtype_), shape(shape_), strides(contiguous_strides(shape_)) {}
  TensorImpl(const Dims& shape_, const Dims& strides_, DType dtype_)
      : numel(checked_numel(shape_)),
        dtype(dtype_),
        contiguous(is_contiguous(shape_, strides_)),
        shape(shape_),
        strides(strides_) {}

  int64_t refs = 0;
  Ref<Storage> storage;
  char* data = nullptr;  // of the first element
  int64_t numel = 0;
  DType dtype = DType::Float32;
  bool contiguous = true;
  bool requires_grad = false;   // set by the user on a leaf; a result has grad_fn instead
  bool wrapped_number = false;  // a Python number: promotes by category only
  bool grad_elided = false;     // it has a gradient, but a compiled step used it up without storing it
  uint16_t output = 0;          // which output of grad_fn it is
  uint32_t layout = 0;          // counts replacements of .data by one of another shape, strides or dtype
  Dims shape, strides;
  Ref<GraphNode> grad_fn;
  Ref<TensorImpl> grad;
  std::unique_ptr<TensorExtras> extras;  // null: none
  void* py_object = nullptr;             // the live Python wrapper, borrowed, so that identity is kept

  static void destroy(TensorImpl* t);
  static void* operator new(size_t n) { return allocate(n); }
  static void operator delete(void* p, size_t n) { deallocate(p, n); }
};

class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(Ref<TensorImpl> impl) : impl_(std::move(impl)) {}

  static Tensor empty(const Dims& shape, DType dtype);
  static Tensor scalar(double value, DType dtype);  // 0-d
  static Tensor scalar(int64_t value, DType dtype);
  static Tensor number(double value);   // 0-d, promotes as a Python float
  static Tensor number(int64_t value);  // ... int
  static Tensor number(bool value);     // ... bool
  // A tensor on the same storage, outside the graph. Offset in elements, from this tensor's first element.
  Tensor alias(const Dims& shape, const Dims& strides, int64_t offset = 0) const;
  Tensor detach() const { return alias(shape(), strides()); }

  explicit operator bool() const { return static_cast<bool>(impl_); }
  TensorImpl* operator->() const { return impl_.get(); }
  TensorImpl& impl() const { return *impl_; }
  const Ref<TensorImpl>& ref() const { return impl_; }
  bool is(const Tensor& o) const { return impl_ == o.impl_; }

  const Dims& shape() const { return impl_->shape; }
  const Dims& strides() const { return impl_->strides; }
  int64_t size(int d) const { return impl_->shape[d]; }
  int rank() const { return impl_->shape.size(); }
  int64_t numel() const { return impl_->numel; }
  DType dtype() const { return impl_->dtype; }
  bool contiguous() const { return impl_->contiguous; }
  bool requires_grad() const { return impl_->requires_grad || impl_->grad_fn; }
  template <class T = void>
  T* data() const {
    return reinterpret_cast<T*>(impl_->data);
  }
  int64_t storage_offset() const {
    return (impl_->data - impl_->storage->data) / static_cast<int64_t>(itemsize(impl_->dtype));
  }
  double item_double() const;  // the one element, converted
  int64_t item_int64() const;

 private:
  Ref<TensorImpl> impl_;
};

std::string describe(const Tensor& t);  // "float32 (2, 3)", for messages

}  // namespace tg

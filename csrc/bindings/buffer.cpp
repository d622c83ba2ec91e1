// The buffer protocol of tensors: shares memory, respects read-only memory, holds the storage meanwhile.
#include "bindings/buffer.h"

#include "bindings/convert.h"
#include "tape/recorder.h"
#include "tensor/outside.h"

namespace tg {
namespace {

struct Export {
  Ref<Storage> storage;
  Py_ssize_t shape[Dims::kMaxRank], strides[Dims::kMaxRank];  // in bytes
};

const char* format_of(DType t) {  // of the struct module; 'l': what NumPy calls int64
  constexpr const char* formats[kNumDTypes] = {"?", "B", "i", sizeof(long) == 8 ? "l" : "q", "f", "d"};
  return formats[static_cast<int>(t)];
}

// Why `t` cannot be exported with these flags; null if it can.
const char* refusal(const Tensor& t, int flags) {
  if (recorder) return "a function is being compiled; use t.numpy()";  // NumPy then does, and says what is wrong
  if (t.requires_grad()) return "a tensor that requires grad shares its memory only once detached; use t.detach()";
  if ((flags & PyBUF_WRITABLE) && t->storage->read_only) return "the tensor's memory is read-only";
  Dims shape, strides;  // reversed
  for (int d = t.rank() - 1; d >= 0; --d) shape.push_back(t.size(d)), strides.push_back(t.strides()[d]);
  const bool fortran = is_contiguous(shape, strides), strided = (flags & PyBUF_STRIDES) == PyBUF_STRIDES;
  const auto wants = [&](int kind) { return (flags & kind) == kind; };
  if (wants(PyBUF_ANY_CONTIGUOUS) ? !t.contiguous() && !fortran
      : wants(PyBUF_F_CONTIGUOUS) ? !fortran
                                  : (wants(PyBUF_C_CONTIGUOUS) || !strided) && !t.contiguous()) {
    return "the tensor is not contiguous; use t.contiguous()";
  }
  return nullptr;
}

}  // namespace

int tensor_get_buffer(PyObject* self, Py_buffer* view, int flags) {
  view->obj = nullptr;
  return guarded(-1, [&] {
    const Tensor& t = unwrap(self);
    if (const char* why = refusal(t, flags)) {
      PyErr_SetString(PyExc_BufferError, why);
      return -1;
    }
    const auto item = static_cast<Py_ssize_t>(itemsize(t.dtype()));
    auto* e = new Export{t->storage, {}, {}};
    for (int d = 0; d < t.rank(); ++d) {
      e->shape[d] = static_cast<Py_ssize_t>(t.size(d));
      e->strides[d] = static_cast<Py_ssize_t>(t.strides()[d]) * item;
    }
    lend(*e->storage);
    view->buf = t.data();
    view->len = static_cast<Py_ssize_t>(t.numel()) * item;
    view->readonly = t->storage->read_only;
    view->itemsize = item;
    view->format = flags & PyBUF_FORMAT ? const_cast<char*>(format_of(t.dtype())) : nullptr;
    view->ndim = flags & PyBUF_ND ? t.rank() : 1;
    view->shape = flags & PyBUF_ND && t.rank() ? e->shape : nullptr;
    view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES && t.rank() ? e->strides : nullptr;
    view->suboffsets = nullptr;
    view->internal = e;
    view->obj = Py_NewRef(self);
    return 0;
  });
}

void tensor_release_buffer(PyObject*, Py_buffer* view) {
  auto* e = static_cast<Export*>(view->internal);
  --e->storage->exports;
  delete e;
}

}  // namespace tg

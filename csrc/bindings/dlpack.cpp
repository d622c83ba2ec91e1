// DLPack 1.0 both ways: versioned capsules, and the older ones that carry no flags.
#include "bindings/dlpack.h"

#include <memory>

#include "bindings/arg_parser.h"
#include "bindings/numpy_interop.h"
#include "tape/recorder.h"
#include "tensor/outside.h"

namespace py = pybind11;

namespace tg {
namespace {

// The structs of dlpack.h, version 1.0.
struct DLVersion {
  uint32_t major, minor;
};
struct DLDevice {
  int32_t type, id;
};
struct DLDataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t *shape, *strides;  // strides in elements; null: row-major
  uint64_t byte_offset;
};
struct Unversioned {
  DLTensor tensor;
  void* context;
  void (*deleter)(Unversioned*);
};
struct Versioned {
  DLVersion version;
  void* context;
  void (*deleter)(Versioned*);
  uint64_t flags;
  DLTensor tensor;
};
constexpr uint64_t kReadOnly = 1, kCopied = 2;
constexpr int32_t kCpu = 1;
enum : uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBool = 6 };

template <class Managed>
constexpr bool versioned = std::is_same_v<Managed, Versioned>;
template <class Managed>
constexpr const char* capsule_name = versioned<Managed> ? "dltensor_versioned" : "dltensor";
template <class Managed>
constexpr const char* used_name = versioned<Managed> ? "used_dltensor_versioned" : "used_dltensor";

[[noreturn]] void fail_buffer(const std::string& why) {
  PyErr_SetString(PyExc_BufferError, why.c_str());
  throw py::error_already_set();
}

DLDataType dl_type(DType t) {
  const uint8_t code = is_float(t) ? kFloat : t == DType::Bool ? kBool : t == DType::UInt8 ? kUInt : kInt;
  return {code, static_cast<uint8_t>(8 * itemsize(t)), 1};
}

// Out

// What an exported capsule stands on.
template <class Managed>
struct Exported {
  Managed managed{};
  Dims shape, strides;
  Ref<Storage> storage;
};

template <class Managed>
void release_exported(Managed* managed) {
  if (!Py_IsInitialized()) return;
  const py::gil_scoped_acquire gil;  // the consumer may call from any thread
  auto* exported = static_cast<Exported<Managed>*>(managed->context);
  --exported->storage->exports;
  delete exported;
}

// Of a capsule that nobody consumed.
template <class Managed>
void destroy_capsule(PyObject* capsule) {
  if (!PyCapsule_IsValid(capsule, capsule_name<Managed>)) return;
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, capsule_name<Managed>));
  if (managed->deleter) managed->deleter(managed);
}

template <class Managed>
py::object export_as(const Tensor& t, [[maybe_unused]] bool copied) {
  auto owned = std::make_unique<Exported<Managed>>();
  owned->shape = t.shape();
  owned->strides = t.strides();
  owned->storage = t->storage;
  Managed& m = owned->managed;
  m.context = owned.get();
  m.deleter = release_exported<Managed>;
  m.tensor = {t.data(), {kCpu, 0}, t.rank(), dl_type(t.dtype()), owned->shape.data(), owned->strides.data(), 0};
  if constexpr (versioned<Managed>) {
    m.version = {1, 0};
    m.flags = (t->storage->read_only ? kReadOnly : 0) | (copied ? kCopied : 0);
  }
  auto capsule = py::reinterpret_steal<py::object>(PyCapsule_New(&m, capsule_name<Managed>, destroy_capsule<Managed>));
  if (!capsule) throw py::error_already_set();
  lend(*owned.release()->storage);
  return capsule;
}

struct dlpack_row {
  static constexpr const char *name = "__dlpack__",
                              *params = "self, *, stream=None, max_version=None, dl_device=None, copy=None";
  static py::object run(const Tensor& input, const py::object& stream, const py::object& max_version,
                        const py::object& dl_device, std::optional<bool> copy) {
    if (!stream.is_none()) throw TypeError("__dlpack__: a tensor on the CPU has no stream");
    if (!dl_device.is_none() && !dl_device.equal(py::make_tuple(kCpu, 0))) {
      fail_buffer("__dlpack__: tensors are on the CPU, DLPack's device (1, 0), not on " +
                  std::string(py::str(dl_device)));
    }
    if (input.requires_grad()) {
      fail_buffer("__dlpack__: a tensor that requires grad shares its memory only once detached; use t.detach()");
    }
    refuse_reading(input, "__dlpack__()");
    const bool copied = copy.value_or(false);
    const Tensor t = copied ? ops::clone(input) : input;
    const bool modern =
        !max_version.is_none() && py::cast<int64_t>(py::reinterpret_borrow<py::sequence>(max_version)[0]) >= 1;
    if (modern) return export_as<Versioned>(t, copied);
    if (t->storage->read_only) {
      fail_buffer("__dlpack__: a read-only tensor needs max_version=(1, 0): older capsules cannot say that it is one");
    }
    return export_as<Unversioned>(t, copied);
  }
  static constexpr auto fn = &run;
};

struct dlpack_device_row {
  static constexpr const char *name = "__dlpack_device__", *params = "self";
  static py::object run(const Tensor&) { return py::make_tuple(kCpu, 0); }
  static constexpr auto fn = &run;
};

// In

DType dtype_from(DLDataType d) {
  for (int i = 0; i < kNumDTypes; ++i) {
    const DLDataType known = dl_type(static_cast<DType>(i));
    if (d.code == known.code && d.bits == known.bits && d.lanes == 1) return static_cast<DType>(i);
  }
  throw TypeError("from_dlpack: no tensor dtype for DLPack's code " + std::to_string(d.code) + " with " +
                  std::to_string(d.bits) + " bits and " + std::to_string(d.lanes) + " lanes");
}

// The tensor that `d` describes, on memory that `owner` keeps; checks all that can be checked.
Tensor tensor_of(const DLTensor& d, bool read_only, const py::object& owner) {
  if (d.device.type != kCpu) fail_buffer("from_dlpack: the data is not in the CPU's memory");
  const DType dtype = dtype_from(d.dtype);
  const auto item = static_cast<int64_t>(itemsize(dtype));
  if (d.ndim < 0 || d.ndim > Dims::kMaxRank || (d.ndim && !d.shape)) {
    fail_buffer("from_dlpack: the capsule has " + std::to_string(d.ndim) + " dimensions or no shape");
  }
  const Dims shape(d.shape, d.ndim);
  const int64_t count = checked_numel(shape);
  const Dims strides = d.strides ? Dims(d.strides, d.ndim) : contiguous_strides(shape);
  int64_t bytes = count ? item : 0;
  for (int i = 0; count && i < d.ndim; ++i) {
    int64_t reach;
    if (strides[i] < 0 || __builtin_mul_overflow(shape[i] - 1, strides[i], &reach) ||
        __builtin_mul_overflow(reach, item, &reach) || __builtin_add_overflow(bytes, reach, &bytes)) {
      fail_buffer("from_dlpack: strides " + to_string(strides) + " are negative or too large; pass a copy");
    }
  }
  char* const data = static_cast<char*>(d.data) + d.byte_offset;
  if (count && (!d.data || reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(item))) {
    fail_buffer("from_dlpack: the data is missing or not aligned; pass a copy");
  }
  return borrow_memory(data, static_cast<size_t>(bytes), read_only, shape, strides, dtype, owner);
}

// Takes over what the capsule holds: from here on the tensor calls its deleter.
template <class Managed>
Tensor consume(PyObject* capsule) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, capsule_name<Managed>));
  if (!managed) throw py::error_already_set();
  bool read_only = false;
  if constexpr (versioned<Managed>) {
    if (managed->version.major != 1) {
      fail_buffer("from_dlpack: DLPack " + std::to_string(managed->version.major) + " is not understood, only 1");
    }
    read_only = managed->flags & kReadOnly;
  }
  const py::capsule owner(managed, [](void* p) {
    auto* held = static_cast<Managed*>(p);
    if (held->deleter) held->deleter(held);
  });
  PyCapsule_SetName(capsule, used_name<Managed>);
  return tensor_of(managed->tensor, read_only, owner);
}

py::object request_capsule(const py::object& source) {
  const py::object place = source.attr("__dlpack_device__")();
  if (py::cast<int64_t>(py::reinterpret_borrow<py::sequence>(place)[0]) != kCpu) {
    fail_buffer("from_dlpack: the data is not in the CPU's memory");
  }
  const py::object export_ = source.attr("__dlpack__");
  try {
    return export_(py::arg("max_version") = py::make_tuple(1, 0));
  } catch (py::error_already_set& e) {  // of before DLPack 1.0
    if (!e.matches(PyExc_TypeError)) throw;
    return export_();
  }
}

struct from_dlpack {
  static constexpr const char *name = "from_dlpack", *params = "ext_tensor, *, device=None, copy=None";
  static Tensor run(const py::object& source, const py::object& device, std::optional<bool> copy) {
    check_device("from_dlpack", device.ptr());
    py::object capsule = source;
    if (!PyCapsule_CheckExact(source.ptr())) {
      if (!py::hasattr(source, "__dlpack__")) {
        throw TypeError(std::string("from_dlpack: expected an object with __dlpack__ or a capsule, got ") +
                        Py_TYPE(source.ptr())->tp_name);
      }
      capsule = request_capsule(source);
    }
    if (!PyCapsule_CheckExact(capsule.ptr())) throw TypeError("from_dlpack: __dlpack__() gave no capsule");
    Tensor t;
    if (PyCapsule_IsValid(capsule.ptr(), capsule_name<Versioned>))
      t = consume<Versioned>(capsule.ptr());
    else if (PyCapsule_IsValid(capsule.ptr(), capsule_name<Unversioned>))
      t = consume<Unversioned>(capsule.ptr());
    else
      throw std::invalid_argument("from_dlpack: the capsule is not DLPack's, or has been used before");
    return copy.value_or(false) ? ops::clone(t) : t;
  }
  static constexpr auto fn = &run;
};

struct to_dlpack {
  static constexpr const char *name = "to_dlpack", *params = "tensor";
  static py::object run(const Tensor& t) { return dlpack_row::run(t, py::none(), py::none(), py::none(), {}); }
  static constexpr auto fn = &run;
};

}  // namespace

PyMethodDef dlpack_method() { return define<dlpack_row>("The tensor's memory as a DLPack capsule."); }
PyMethodDef dlpack_device_method() { return define<dlpack_device_row>("DLPack's name of the CPU, (1, 0)."); }

void bind_dlpack(py::module_& m) {
  add_functions(m, {function<from_dlpack>("A tensor on the memory of another library's array, which it holds: any "
                                          "object with __dlpack__, or a capsule. BufferError for what is not in the "
                                          "CPU's memory or has negative strides."),
                    function<to_dlpack>("The tensor's memory as a DLPack capsule of before version 1.0.")});
}

}  // namespace tg

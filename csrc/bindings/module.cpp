// The extension module tapegrad._core.
#include <algorithm>

#include "bindings/bind_ops.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/dlpack.h"
#include "bindings/errors.h"
#include "bindings/numpy_interop.h"
#include "kernels/dispatch.h"
#include "threads/cpus.h"
#include "threads/pool.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace tg {

void bind_runtime(py::module_& m) {
  m.def("active_isa", &active_isa, "The ISA level of the kernels in use: 'baseline', 'avx2' or 'avx512'.");
  m.def(
      "isa_levels",
      [] {
        py::list names;
        for (const KernelTable* t : supported_tables()) names.append(t->isa);
        return names;
      },
      "The ISA levels this CPU supports, the best last. TAPEGRAD_ISA forces one.");
  m.def("get_num_threads", &num_threads, "Number of threads that kernels may use.");
  m.def("set_num_threads", &set_num_threads, "n"_a,
        "Sets the number of threads that kernels may use, 1 to 1024, the caller included; see also threads(n).\n\n"
        "At first it is TAPEGRAD_NUM_THREADS, or else the CPUs that affinity and cgroup quota leave to the process. "
        "Results do not depend on it.");
  m.def("_cgroup_cpus", &cgroup_cpus, "none"_a, "root"_a,
        "CPUs granted by the cgroups found in the folder `root`, or `none` if there is no quota.");
  m.def("empty_cache", &empty_cache, "Gives cached memory back to the system.");
  m.def("reset_peak_memory_stats", &reset_peak, "Lets memory_stats()['peak_bytes'] begin again at what is in use.");
  m.def(
      "memory_stats",
      [] {
        const MemoryStats s = memory_stats();
        return py::dict("allocated_bytes"_a = s.allocated_bytes, "peak_bytes"_a = s.peak_bytes,
                        "cached_bytes"_a = s.cached_bytes, "allocations"_a = s.allocations,
                        "pool_hits"_a = s.pool_hits);
      },
      "What tensors take, as a dict of ints.\n\n"
      "allocated_bytes: in live tensors, as asked for; memory borrowed from NumPy does not count. peak_bytes: the most "
      "of it since the start or reset_peak_memory_stats(). cached_bytes: kept for reuse, at most an eighth of the "
      "machine's memory and 2 GiB; empty_cache() gives it back. allocations: blocks asked for. pool_hits: those served "
      "from the cache. With several threads peak_bytes is right to within 64 KiB for each.");
  m.def(
      "set_default_dtype", [](const py::object& d) { set_default_dtype(to_dtype(d.ptr())); }, "dtype"_a,
      "Sets the dtype of Python floats and of creation functions: float32 or float64.");
  m.def(
      "get_default_dtype", [] { return py::reinterpret_borrow<py::object>(dtype_object(default_dtype())); },
      "The dtype of Python floats and of creation functions.");
}

namespace {

void* release_gil() { return PyEval_SaveThread(); }
void restore_gil(void* state) {
  try {
    PyEval_RestoreThread(static_cast<PyThreadState*>(state));
  } catch (...) { stay_forever(); }
}

}  // namespace
}  // namespace tg

// For threadpoolctl, which finds libraries by their exported names.
extern "C" __attribute__((visibility("default"))) int tapegrad_get_num_threads() { return tg::num_threads(); }
extern "C" __attribute__((visibility("default"))) void tapegrad_set_num_threads(int n) {
  tg::set_num_threads(std::clamp(n, 1, tg::kMaxThreads));
}

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ core of tapegrad: tensors, operations, the tape.";
  m.attr("__version__") = TAPEGRAD_VERSION;
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const tg::TypeError& e) { PyErr_SetString(PyExc_TypeError, e.what()); }
  });
  tg::set_gil_hooks({tg::release_gil, tg::restore_gil});
  tg::create_dtypes(m);
  tg::create_size_type(m);
  tg::create_module_base(m);
  tg::create_tensor_type(m);
  tg::bind_op_functions(m);
  tg::bind_numpy(m);
  tg::bind_dlpack(m);
  tg::bind_create(m);
  tg::bind_random(m);
  tg::bind_tape(m);
  tg::bind_optim(m);
  tg::bind_program(m);
  tg::bind_epoch(m);
  tg::bind_profile(m);
  tg::bind_runtime(m);
}

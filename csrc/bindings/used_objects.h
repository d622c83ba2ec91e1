// What a capture is told of the Python objects that take part in a run: modules, optimizers, generators.
#pragma once
#include <pybind11/pybind11.h>

#include "ops/generator.h"

namespace tg {

void note_use(PyObject* object);  // keeps it alive with the captured program, if a capture is running

// None: null, for the default generator.
inline Generator* use_generator(const pybind11::object& o) {
  if (o.is_none()) return nullptr;
  note_use(o.ptr());
  return o.cast<Generator*>();
}

}  // namespace tg

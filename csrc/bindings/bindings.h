// What each bindings file adds to the module.
#pragma once
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "ops/ops.h"

namespace tg {

void create_dtypes(pybind11::module_& m);
void create_size_type(pybind11::module_& m);
void create_module_base(pybind11::module_& m);
void bind_optim(pybind11::module_& m);
void bind_create(pybind11::module_& m);
void bind_random(pybind11::module_& m);
void bind_tape(pybind11::module_& m);
void bind_program(pybind11::module_& m);
void bind_epoch(pybind11::module_& m);
void bind_profile(pybind11::module_& m);
void bind_runtime(pybind11::module_& m);

}  // namespace tg

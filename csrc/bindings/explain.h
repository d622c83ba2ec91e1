// The raw data of python/tapegrad/_explain.py.
#pragma once
#include <pybind11/pybind11.h>

#include "program/program.h"

namespace tg {

// {name: ...} with the program's instructions (before and after the plan), values, slots, outputs and gradients as
// tuples of numbers and texts; one list for both where the plan has changed nothing.
pybind11::dict explain(const Program& program);

}  // namespace tg

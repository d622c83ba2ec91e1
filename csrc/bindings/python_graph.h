// Where the graph refers to Python objects: hooks and Functions.
#pragma once
#include <pybind11/pybind11.h>

#include <optional>
#include <vector>

#include "tape/extras.h"

namespace tg {

// A Python function called with a tensor.
struct PyHook final : Hook {
  explicit PyHook(pybind11::object f) : function(std::move(f)) {}
  Tensor call(const Tensor& t) override;
  pybind11::object function;
};

// For the garbage collector: the Python objects that only the holder of `t` refers to through the graph.
int visit_graph(const Tensor& t, visitproc visit, void* arg);

// Adds gradients to the .grad of leaves, or of `inputs` alone unless None. `argument`: what the gradients are called.
void run_backward(const char* op, const pybind11::object& tensors, const pybind11::object& gradients,
                  const char* argument, std::optional<bool> retain_graph, bool create_graph,
                  const pybind11::object& inputs);

void bind_hooks(pybind11::module_& m);
void bind_function(pybind11::module_& m);
void bind_batched(pybind11::module_& m);
PyObject* function_context(const Node& node);  // borrowed: the ctx of a Function's node; null for others
std::vector<PyMethodDef> gradient_methods();   // methods of tensors that concern the graph

}  // namespace tg

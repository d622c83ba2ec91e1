// The plan's passes over a captured program, to be run before prepare().
#pragma once

namespace tg {

class Program;

// Elementwise instructions become chains (ops/chain.h), whose inner values need no memory. The last pass: a chain may
// write in place what it also lists among its outputs.
void plan_chains(Program& p);

}  // namespace tg

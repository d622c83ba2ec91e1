// The plan: passes that rewrite a captured program before it is prepared, and leave its results the same bits.
#pragma once
#include "program/program.h"

namespace tg {

void plan(Program& p);  // all passes

void drop_dead_code(Program& p);
void fold_constants(Program& p);
void share_common_subexpressions(Program& p);
void fuse_products(Program& p);
// Elementwise instructions become chains (ops/chain.h), whose inner values need no memory. The last pass: a chain may
// write in place what it also lists among its outputs.
void plan_chains(Program& p);

// Which instructions write and read a value, ascending. A write in place is a read, too.
struct Use {
  std::vector<size_t> writes, reads;
};
std::vector<Use> uses_of(const Program& p);  // by value

// Drops the instructions whose op is null.
void remove_empty(Program& p);

}  // namespace tg

// Which kernel table is in force: the best level this CPU supports, or the one TAPEGRAD_ISA names.
#pragma once
#include <string_view>
#include <vector>

#include "kernels/kernel_table.h"

namespace tg {

// Levels this CPU and operating system support, "baseline" first, best last.
const std::vector<const KernelTable*>& supported_tables();

// The table of a supported level, else null.
const KernelTable* table_for(std::string_view level);

// The level of kernels(): "baseline", "avx2" or "avx512". Like kernels(), throws std::runtime_error on first use if
// TAPEGRAD_ISA names a level that does not exist or that this CPU lacks.
const char* active_isa();

}  // namespace tg

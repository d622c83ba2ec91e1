// The kernels at the level baseline; the build gives this file its -march.
#define TG_ISA "baseline"
#define TG_TABLE kTableBaseline
#include "kernels/isa.inl.h"

// The kernels at the level avx512; the build gives this file its -march.
#define TG_ISA "avx512"
#define TG_TABLE kTableAvx512
#include "kernels/isa.inl.h"

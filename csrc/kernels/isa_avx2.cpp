// The kernels at the level avx2; the build gives this file its -march.
#define TG_ISA "avx2"
#define TG_TABLE kTableAvx2
#include "kernels/isa.inl.h"

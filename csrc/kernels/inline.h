// The macros every kernel file needs; nothing else.
#pragma once

// Kernel helpers must vanish into their callers: a call would cost more than the work.
#define TG_INLINE inline __attribute__((always_inline))

// Before a loop: iterations are independent (operands are the same buffer exactly, or disjoint).
#if defined(__clang__)
#define TG_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define TG_IVDEP _Pragma("GCC ivdep")
#endif

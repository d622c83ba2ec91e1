// FlushSubnormals: arithmetic of this thread takes numbers below the normal range as zero, until the end of the scope.
#pragma once
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tg {

// A multiplication of such a number takes the processor some hundred cycles: once gradients underflow, a product of
// matrices took 240 times as long, an Adam step 20 times. XLA flushes them too. Only where the number of operations or
// the decay of an average makes it matter: elementwise functions keep IEEE 754's gradual underflow.
struct FlushSubnormals {
#if defined(__x86_64__)
  FlushSubnormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }  // FTZ, DAZ
  ~FlushSubnormals() { _mm_setcsr(saved_); }
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;

 private:
  unsigned saved_;
#endif
};

}  // namespace tg

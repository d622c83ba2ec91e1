// Chooses the kernel table on first use: cpuid, xgetbv, and the TAPEGRAD_ISA override.
#include "kernels/dispatch.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace tg {

extern const KernelTable kTableBaseline;
#if defined(__x86_64__)
extern const KernelTable kTableAvx2, kTableAvx512;
#endif

namespace {

std::vector<const KernelTable*> detect() {
  std::vector<const KernelTable*> tables = {&kTableBaseline};
#if defined(__x86_64__)
  unsigned a, b, c1, d, b7, c7, c_ext;
  if (!__get_cpuid(1, &a, &b, &c1, &d)) return tables;
  if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d)) return tables;
  if (!__get_cpuid(0x80000001, &a, &b, &c_ext, &d)) return tables;
  constexpr unsigned osxsave = 1u << 27;
  if ((c1 & osxsave) == 0) return tables;
  unsigned xcr0, xcr0_high;  // the register files that the operating system saves
  __asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(xcr0_high) : "c"(0));

  auto has = [](unsigned value, unsigned bits) { return (value & bits) == bits; };
  constexpr unsigned fma = 1u << 12, movbe = 1u << 22, avx = 1u << 28, f16c = 1u << 29;  // leaf 1, ecx
  constexpr unsigned lzcnt = 1u << 5;                                                    // leaf 0x80000001, ecx
  constexpr unsigned bmi1 = 1u << 3, avx2 = 1u << 5, bmi2 = 1u << 8;                     // leaf 7, ebx
  constexpr unsigned avx512f = 1u << 16, avx512dq = 1u << 17, avx512cd = 1u << 28, avx512bw = 1u << 30,
                     avx512vl = 1u << 31;  // leaf 7, ebx
  constexpr unsigned ymm_state = 0x6, zmm_state = 0xe6;
  if (!has(xcr0, ymm_state) || !has(c1, fma | movbe | avx | f16c) || !has(c_ext, lzcnt)) return tables;
  if (!has(b7, bmi1 | avx2 | bmi2)) return tables;
  tables.push_back(&kTableAvx2);
  if (!has(xcr0, zmm_state) || !has(b7, avx512f | avx512dq | avx512cd | avx512bw | avx512vl)) return tables;
  tables.push_back(&kTableAvx512);
#endif
  return tables;
}

const KernelTable* choose() {
  const char* wanted = std::getenv("TAPEGRAD_ISA");
  if (wanted == nullptr || *wanted == '\0') return supported_tables().back();
  if (const KernelTable* table = table_for(wanted)) return table;
  std::string message = "TAPEGRAD_ISA='" + std::string(wanted) + "' is not a level this CPU supports; choose one of:";
  for (const KernelTable* table : supported_tables()) message += std::string(" ") + table->isa;
  throw std::runtime_error(message);
}

std::atomic<const KernelTable*> active{nullptr};

}  // namespace

const std::vector<const KernelTable*>& supported_tables() {
  static const std::vector<const KernelTable*> tables = detect();
  return tables;
}

const KernelTable* table_for(std::string_view level) {
  for (const KernelTable* table : supported_tables()) {
    if (level == table->isa) return table;
  }
  return nullptr;
}

const KernelTable& kernels() {
  const KernelTable* table = active.load(std::memory_order_relaxed);
  if (table == nullptr) [[unlikely]] {
    table = choose();  // the same answer in every thread
    active.store(table, std::memory_order_relaxed);
  }
  return *table;
}

const char* active_isa() { return kernels().isa; }

}  // namespace tg

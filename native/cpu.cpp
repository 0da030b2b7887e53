// Bits: Intel SDM vol. 2A "CPUID", vol. 1 §13.3 (XCR0); AMD APM vol. 3 appendix E.
// AMX permission: Documentation/arch/x86/xstate.rst of Linux. ARM: Documentation/arch/arm64/elf_hwcaps.rst.
#include "cpu.hpp"

#include <cstdint>

#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)
#define SOLVENT_X86 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) || defined(_M_ARM64)
#define SOLVENT_ARM64 1
#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
#include <windows.h>
#endif
#endif

namespace solvent {
namespace {

#if defined(SOLVENT_X86)

struct Registers {
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(std::uint32_t leaf, std::uint32_t subleaf) noexcept {
    Registers r;
#if defined(_MSC_VER)
    int out[4];
    __cpuidex(out, static_cast<int>(leaf), static_cast<int>(subleaf));
    r = {std::uint32_t(out[0]), std::uint32_t(out[1]), std::uint32_t(out[2]), std::uint32_t(out[3])};
#else
    __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
#endif
    return r;
}

// Which register files the operating system saves. Call only where CPUID says OSXSAVE.
std::uint64_t xcr0() noexcept {
#if defined(_MSC_VER)
    return _xgetbv(0);
#else
    std::uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));  // _xgetbv() would need -mxsave
    return (std::uint64_t(high) << 32) | low;
#endif
}

bool bit(std::uint32_t word, int index) noexcept { return (word >> index) & 1u; }

// Linux keeps the tile registers from a process until it asks.
bool amx_permitted() noexcept {
#if defined(__linux__) && defined(__x86_64__)
    constexpr long kReqXcompPerm = 0x1023;  // ARCH_REQ_XCOMP_PERM
    constexpr long kXtileData = 18;         // XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kReqXcompPerm, kXtileData) == 0;
#elif defined(_WIN32)
    return true;  // Windows enables tiles on first use
#else
    return false;
#endif
}

CpuFeatures detect() noexcept {
    constexpr std::uint64_t kYmm = 0x6;         // XCR0: SSE and AVX state
    constexpr std::uint64_t kZmm = kYmm | 0xe0;  // + opmask, upper halves, upper 16
    constexpr std::uint64_t kTile = 0x60000;    // tile configuration and tile data
    CpuFeatures f;
    const std::uint32_t top_leaf = cpuid(0, 0).eax;
    if (top_leaf < 7) return f;
    const Registers one = cpuid(1, 0);
    if (!bit(one.ecx, 27)) return f;  // OSXSAVE
    const std::uint64_t saved = xcr0();
    const Registers seven = cpuid(7, 0);
    const Registers seven_one = seven.eax >= 1 ? cpuid(7, 1) : Registers{};

    if ((saved & kYmm) == kYmm) {
        f.fma = bit(one.ecx, 12);
        f.f16c = bit(one.ecx, 29);
        f.avx2 = bit(seven.ebx, 5);
        f.avx_vnni = bit(seven_one.eax, 4);
    }
    if ((saved & kZmm) == kZmm) {
        f.avx512f = bit(seven.ebx, 16);
        f.avx512bw = bit(seven.ebx, 30);
        f.avx512vl = bit(seven.ebx, 31);
        f.avx512dq = bit(seven.ebx, 17);
        f.avx512vbmi = bit(seven.ecx, 1);
        f.avx512_vnni = bit(seven.ecx, 11);
        f.avx512_bf16 = bit(seven_one.eax, 5);
        f.avx512_fp16 = bit(seven.edx, 23);
    }
    if ((saved & kTile) == kTile && bit(seven.edx, 24) && amx_permitted()) {
        f.amx_tile = true;
        f.amx_int8 = bit(seven.edx, 25);
        f.amx_bf16 = bit(seven.edx, 22);
    }
    return f;
}

#elif defined(SOLVENT_ARM64)

CpuFeatures detect() noexcept {
    CpuFeatures f;
#if defined(__linux__)
    const unsigned long words = getauxval(AT_HWCAP);
    f.asimd = (words >> 1) & 1;     // HWCAP_ASIMD
    f.asimddp = (words >> 20) & 1;  // HWCAP_ASIMDDP
#elif defined(__APPLE__)
    f.asimd = true;  // every 64-bit Apple chip has it
    int dot = 0;
    std::size_t size = sizeof dot;
    f.asimddp = sysctlbyname("hw.optional.arm.FEAT_DotProd", &dot, &size, nullptr, 0) == 0 && dot != 0;
#elif defined(_WIN32)
    f.asimd = true;  // Windows on ARM requires it
    f.asimddp = IsProcessorFeaturePresent(43) != 0;  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
#endif
    return f;
}

#else

CpuFeatures detect() noexcept { return {}; }

#endif

}  // namespace

const CpuFeatures& cpu_features() noexcept {
    static const CpuFeatures features = detect();
    return features;
}

}  // namespace solvent

// What this CPU and its operating system let a kernel use. Detected once, by CPUID and XGETBV on x86
// (and Linux's permission call for AMX), by the kernel's capability words on ARM.
// A feature counts only where the operating system also saves its registers.
// Not here: which kernel runs on what. Enter at cpu_features().
#pragma once

#include <cstddef>

namespace solvent {

struct CpuFeatures {
    bool avx2 = false;
    bool fma = false;
    bool f16c = false;
    bool avx_vnni = false;
    bool avx512f = false;
    bool avx512bw = false;
    bool avx512vl = false;
    bool avx512dq = false;
    bool avx512_vnni = false;
    bool avx512vbmi = false;
    bool avx512_bf16 = false;
    bool avx512_fp16 = false;
    bool amx_tile = false;
    bool amx_int8 = false;
    bool amx_bf16 = false;
    bool asimd = false;
    bool asimddp = false;
};

// A feature's word, as lscpu prints it, and its place above.
struct FeatureWord {
    const char* word;
    bool CpuFeatures::* present;
};

inline constexpr FeatureWord kFeatureWords[] = {
    {"avx2", &CpuFeatures::avx2},
    {"fma", &CpuFeatures::fma},
    {"f16c", &CpuFeatures::f16c},
    {"avx_vnni", &CpuFeatures::avx_vnni},
    {"avx512f", &CpuFeatures::avx512f},
    {"avx512bw", &CpuFeatures::avx512bw},
    {"avx512vl", &CpuFeatures::avx512vl},
    {"avx512dq", &CpuFeatures::avx512dq},
    {"avx512_vnni", &CpuFeatures::avx512_vnni},
    {"avx512vbmi", &CpuFeatures::avx512vbmi},
    {"avx512_bf16", &CpuFeatures::avx512_bf16},
    {"avx512_fp16", &CpuFeatures::avx512_fp16},
    {"amx_tile", &CpuFeatures::amx_tile},
    {"amx_int8", &CpuFeatures::amx_int8},
    {"amx_bf16", &CpuFeatures::amx_bf16},
    {"asimd", &CpuFeatures::asimd},
    {"asimddp", &CpuFeatures::asimddp},
};

// The features of the CPU that runs this; the first call detects them, and asks Linux for AMX.
const CpuFeatures& cpu_features() noexcept;

}  // namespace solvent

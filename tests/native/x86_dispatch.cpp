// Prints the kernels that a CPU with these features would run, best first: x86_dispatch WORD…
// The words take the place of native/cpu.cpp, and the tables hold nothing but their names.
#include <cstdio>
#include <cstring>

#include "../../native/cpu.hpp"
#include "../../native/dispatch.hpp"

namespace solvent {

namespace {

CpuFeatures features;

template <int>
const Kernels& table(const char* name) {
    static Kernels kernels{};
    kernels.name = name;
    return kernels;
}

}  // namespace

const CpuFeatures& cpu_features() noexcept { return features; }
const Kernels& kernels_scalar() { return table<0>("scalar"); }
const Kernels& kernels_avx2() { return table<1>("avx2"); }
const Kernels& kernels_avx_vnni() { return table<2>("avx_vnni"); }
const Kernels& kernels_avx512_vnni() { return table<3>("avx512_vnni"); }
const Kernels& kernels_avx512vbmi() { return table<4>("avx512vbmi"); }
const Kernels& kernels_amx_int8() { return table<5>("amx_int8"); }

}  // namespace solvent

int main(int argc, char** argv) {
    for (int i = 1; i < argc; ++i)
        for (const solvent::FeatureWord& f : solvent::kFeatureWords)
            if (std::strcmp(f.word, argv[i]) == 0) solvent::features.*f.present = true;
    for (const solvent::Kernels* kernels : solvent::runnable_kernels()) std::printf("%s\n", kernels->name);
}

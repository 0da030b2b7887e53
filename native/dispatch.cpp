#include "dispatch.hpp"

#include "cpu.hpp"

namespace solvent {

const std::vector<const Kernels*>& runnable_kernels() {
    static const std::vector<const Kernels*> tables = [] {
        std::vector<const Kernels*> found;
        const CpuFeatures& cpu = cpu_features();
        (void)cpu;
#if defined(SOLVENT_X86_KERNELS)
        const bool avx2 = cpu.avx2 && cpu.fma && cpu.f16c;
        const bool avx512_vnni = avx2 && cpu.avx512f && cpu.avx512bw && cpu.avx512vl && cpu.avx512dq && cpu.avx512_vnni;
        if (avx512_vnni && cpu.avx512vbmi && cpu.amx_tile && cpu.amx_int8) found.push_back(&kernels_amx_int8());
        if (avx512_vnni && cpu.avx512vbmi) found.push_back(&kernels_avx512vbmi());
        if (avx512_vnni) found.push_back(&kernels_avx512_vnni());
        if (avx2 && cpu.avx_vnni) found.push_back(&kernels_avx_vnni());
        if (avx2) found.push_back(&kernels_avx2());
#elif defined(SOLVENT_ARM_KERNELS)
        if (cpu.asimddp) found.push_back(&kernels_asimddp());
        if (cpu.asimd) found.push_back(&kernels_asimd());
#endif
        found.push_back(&kernels_scalar());
        return found;
    }();
    return tables;
}

}  // namespace solvent

// Prints the kernels that this CPU can run, best first: `qemu-aarch64-static -cpu …` says which CPU.
#include <cstdio>

#include "../../native/dispatch.hpp"

int main() {
    for (const solvent::Kernels* kernels : solvent::runnable_kernels()) std::printf("%s\n", kernels->name);
}

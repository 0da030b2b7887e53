// Which kernels this CPU can run, best first. Enter at runnable_kernels().
#pragma once

#include <vector>

#include "kernels/contract.hpp"

namespace solvent {

// Tables whose every instruction this CPU has; the scalar one is always last.
const std::vector<const Kernels*>& runnable_kernels();

}  // namespace solvent

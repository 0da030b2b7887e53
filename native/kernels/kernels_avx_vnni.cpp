#include "../lanes/avx_vnni.hpp"

#define SOLVENT_TABLE kernels_avx_vnni
#define SOLVENT_NAME "avx_vnni"
#include "table.inl"

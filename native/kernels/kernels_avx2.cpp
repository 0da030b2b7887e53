#include "../lanes/avx2.hpp"

#define SOLVENT_TABLE kernels_avx2
#define SOLVENT_NAME "avx2"
#include "table.inl"

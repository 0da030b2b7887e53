#include "../lanes/scalar.hpp"

#define SOLVENT_TABLE kernels_scalar
#define SOLVENT_NAME "scalar"
#include "table.inl"

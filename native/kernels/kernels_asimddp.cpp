#include "../lanes/asimddp.hpp"

#define SOLVENT_TABLE kernels_asimddp
#define SOLVENT_NAME "asimddp"
#include "table.inl"

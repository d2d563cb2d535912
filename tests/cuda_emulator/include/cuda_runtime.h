// Stand-in for CUDA's cuda_runtime.h: what g++ and clang++ see when they compile a .cu file for the emulator.
// ../README.md says which part of CUDA this is; a name that is not here is not supported.
#pragma once

#include "emulated/device.h"
#include "emulated/runtime_api.h"
#include "emulated/vector_types.h"

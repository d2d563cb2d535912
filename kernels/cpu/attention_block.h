// The block of queries that CPU attention works on: two packs, so that the tile of every product has enough
// accumulators.
#pragma once

#include <cstddef>

#include "kernels/cpu/pack.h"

namespace cpu {

inline constexpr size_t kPacks = 2;
inline constexpr size_t kQueries = kPacks * num::kPackWidth;

}  // namespace cpu

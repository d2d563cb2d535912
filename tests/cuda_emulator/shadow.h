// What is known of every byte of the emulated device: whether it is allocated and initialised, who wrote it last and
// who read it. Inline, since each load and store of a kernel comes here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "memory.h"

namespace emu {

// One access: time << 32 | block << 12 | thread << 2 | atomic. Time is a counter of the launches, barriers and
// __syncwarp so far, so a smaller stamp is an earlier time. 0 is before everything.
using Stamp = uint64_t;
inline constexpr unsigned kBlockShift = 12;
inline constexpr unsigned kThreadShift = 2;
inline constexpr unsigned kTimeShift = 32;
inline constexpr Stamp kAtomic = 1;
inline constexpr Stamp kOwnerMask = 0xfffffffc;
inline constexpr Stamp kBlockMask = 0xfffff000;
inline constexpr uint64_t kMaxBlocks = uint64_t{1} << (kTimeShift - kBlockShift);

inline bool same_thread(Stamp a, Stamp b) { return ((a ^ b) & kOwnerMask) == 0; }
inline bool same_block(Stamp a, Stamp b) { return ((a ^ b) & kBlockMask) == 0; }
inline unsigned thread_of(Stamp stamp) { return (stamp >> kThreadShift) & 1023; }
inline uint64_t block_of(Stamp stamp) { return (stamp & kBlockMask) >> kBlockShift; }

// The accesses to two neighbouring bytes, or to one of them once they were accessed one by one. Two readers are enough
// to catch most pairs: one of another block stays, whoever writes then is wrong.
struct Cell {
  Stamp writer;
  Stamp readers[2];
};

enum : uint8_t {
  kAllocated = 1,
  kInitialised = 2,
  kInFlight = 4,  // the destination of a cp.async that has not been waited for
  kFreed = 8,
  kSplit = 0x80  // of an even byte: it and the next one have cells of their own
};

struct Shadow {
  uint8_t* state = nullptr;   // of each byte
  Cell* cells = nullptr;      // of each pair of bytes, or of the even one
  Cell* odd_cells = nullptr;  // of the odd byte
};
extern Shadow shadow;

void map_shadow(size_t bytes);
void forget_accesses();  // before the clock would overflow

// For memory that comes and goes as a whole.
void set_state(uintptr_t address, size_t bytes, uint8_t state);
bool is_initialised(uintptr_t address, size_t bytes, size_t* first = nullptr);

}  // namespace emu

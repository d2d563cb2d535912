// The memory of the emulated device, one range of addresses: shared memory of the present block, device memory, managed
// memory. The host may touch device memory only through the runtime's functions: outside launches and copies it is
// mapped without any access.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace emu {

enum class Pool { device, managed, pinned };

struct Allocation {
  uintptr_t address = 0;
  size_t bytes = 0;
  Pool pool = Pool::device;
  uint64_t number = 0;  // the how-manieth allocation of the program
  bool live = false;
};

inline constexpr size_t kSharedBytes = 256 * 1024;  // of addresses; a block may use 99 KiB of it

// The whole range and the parts of it. All zero until the first use.
struct Space {
  uintptr_t base = 0;
  size_t bytes = 0;
  size_t pool_bytes = 0;  // of the device pool, which follows shared memory, and of the managed pool, which follows it
};
extern Space space;

// Maps the range and its shadow, once. Pools are larger than the memory that the options allow.
void map_space();

// Null if there is no room. Device memory holds 0xff bytes and counts as not initialised.
void* allocate(Pool pool, size_t bytes);

// False if `address` is not the start of a live allocation of device or managed (or pinned) memory.
bool release(const void* address, bool pinned);

// The live allocation that holds the address, or null; `find_nearest` also returns freed ones, or the one before it.
const Allocation* find(const void* address);
const Allocation* find_nearest(uintptr_t address);

size_t bytes_in_use();

// "cudaMalloc #3 (256 bytes) + 16"
std::string describe_address(uintptr_t address);

bool in_device_pool(uintptr_t address);
inline bool in_space(const void* address) { return reinterpret_cast<uintptr_t>(address) - space.base < space.bytes; }

// While one of these lives, device memory can be read and written.
struct DeviceAccess {
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

}  // namespace emu

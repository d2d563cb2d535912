#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <vector>

#include "emulator.h"
#include "shadow.h"

namespace emu {

Space space;
Shadow shadow;

namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kRedZone = 256;                  // never allocated, behind every allocation
constexpr size_t kPage = 64 * 1024;               // a multiple of every system's
constexpr size_t kQuarantine = size_t{16} << 20;  // of addresses that are used before freed ones are used again

std::map<uintptr_t, Allocation> g_allocations;  // live ones, and freed ones until their place is taken again
std::vector<const Allocation*> g_unpoisoned;    // fresh device memory that has not been filled yet
uint64_t g_number = 0;
size_t g_in_use = 0;
uintptr_t g_cursor[2];       // where the next allocation of a pool is tried first
uintptr_t g_device_end = 0;  // end of what has ever been allocated in the device pool
int g_accessors = 0;

size_t rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

void* map(size_t bytes, int protection) {
  void* address = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) throw Error("the emulator cannot map " + std::to_string(bytes) + " bytes of addresses");
  madvise(address, bytes, MADV_DONTDUMP);
  return address;
}

uintptr_t pool_begin(Pool pool) { return space.base + kSharedBytes + (pool == Pool::managed ? space.pool_bytes : 0); }

// First fit between `from` and the end of the pool; 0 if there is none. Freed memory counts as free.
uintptr_t find_gap(uintptr_t from, uintptr_t end, size_t bytes) {
  uintptr_t candidate = from;
  for (auto i = g_allocations.lower_bound(from); i != g_allocations.end() && i->first < end; ++i) {
    if (!i->second.live) continue;
    if (i->first - candidate >= bytes) break;
    candidate = i->first + rounded(i->second.bytes, kAlignment) + kRedZone;
  }
  return candidate <= end && end - candidate >= bytes ? candidate : 0;
}

void forget_freed(uintptr_t begin, uintptr_t end) {
  auto i = g_allocations.lower_bound(begin);
  while (i != g_allocations.end() && i->first < end) i = g_allocations.erase(i);
}

// Addresses are used one after the other, so that a use after cudaFree is noticed; not without end, since memory and
// shadow that were touched take real memory.
uintptr_t find_place(Pool pool, size_t bytes) {
  const uintptr_t begin = pool_begin(pool), end = begin + space.pool_bytes;
  uintptr_t& cursor = g_cursor[pool == Pool::managed];
  if (cursor == 0 || cursor - begin > kQuarantine) cursor = begin;
  uintptr_t place = find_gap(cursor, end, bytes);
  if (place == 0) place = find_gap(begin, end, bytes);
  if (place == 0) return 0;
  forget_freed(place, place + bytes);
  cursor = place + bytes;
  return place;
}

const Allocation& record(Pool pool, uintptr_t address, size_t bytes) {
  return g_allocations[address] = {address, bytes, pool, ++g_number, true};
}

void* allocate_pinned(size_t bytes) {
  void* address = std::aligned_alloc(kAlignment, rounded(bytes, kAlignment));
  if (address) record(Pool::pinned, reinterpret_cast<uintptr_t>(address), bytes);
  return address;
}

void poison_new_memory() {
  for (const Allocation* allocation : g_unpoisoned) {
    std::memset(reinterpret_cast<void*>(allocation->address), 0xff, allocation->bytes);
  }
  g_unpoisoned.clear();
}

void protect_device(int protection) {
  const uintptr_t begin = pool_begin(Pool::device);
  const size_t bytes = rounded(g_device_end > begin ? g_device_end - begin : 0, kPage);
  if (bytes > 0) mprotect(reinterpret_cast<void*>(begin), bytes, protection);
}

const char* function_of(Pool pool) {
  return pool == Pool::device ? "cudaMalloc" : pool == Pool::managed ? "cudaMallocManaged" : "cudaMallocHost";
}

std::string name_of(const Allocation& allocation) {
  return std::string(allocation.live ? "" : "freed ") + function_of(allocation.pool) + " #" +
         std::to_string(allocation.number) + " of " + std::to_string(allocation.bytes) + " bytes";
}

// Gives the memory behind whole pages back to the operating system.
void give_back(void* memory, size_t bytes) {
  const uintptr_t begin = rounded(reinterpret_cast<uintptr_t>(memory), kPage);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) / kPage * kPage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

void give_back(const Allocation& allocation) {
  const size_t first_cell = (allocation.address - space.base) / 2;
  give_back(reinterpret_cast<void*>(allocation.address), allocation.bytes);
  give_back(shadow.cells + first_cell, allocation.bytes / 2 * sizeof(Cell));
  give_back(shadow.odd_cells + first_cell, allocation.bytes / 2 * sizeof(Cell));
}

}  // namespace

void map_space() {
  if (space.base) return;
  const size_t memory = std::max(options().memory, Options().memory);
  space.pool_bytes = rounded(memory + memory / 4 + (size_t{64} << 20), kPage);
  const size_t bytes = kSharedBytes + 2 * space.pool_bytes;
  char* base = static_cast<char*>(map(bytes, PROT_READ | PROT_WRITE));
  mprotect(base + kSharedBytes, space.pool_bytes, PROT_NONE);
  map_shadow(bytes);
  space.base = reinterpret_cast<uintptr_t>(base);
  space.bytes = bytes;
}

void map_shadow(size_t bytes) {
  shadow.state = static_cast<uint8_t*>(map(bytes, PROT_READ | PROT_WRITE));
  shadow.cells = static_cast<Cell*>(map(bytes / 2 * sizeof(Cell), PROT_READ | PROT_WRITE));
  shadow.odd_cells = static_cast<Cell*>(map(bytes / 2 * sizeof(Cell), PROT_READ | PROT_WRITE));
}

void forget_accesses() {
  madvise(shadow.cells, space.bytes / 2 * sizeof(Cell), MADV_DONTNEED);
  madvise(shadow.odd_cells, space.bytes / 2 * sizeof(Cell), MADV_DONTNEED);
}

void set_state(uintptr_t address, size_t bytes, uint8_t state) {
  std::memset(shadow.state + (address - space.base), state, bytes);
}

bool is_initialised(uintptr_t address, size_t bytes, size_t* first) {
  constexpr uint64_t kEight = 0x0101010101010101 * kInitialised;
  const uint8_t* state = shadow.state + (address - space.base);
  size_t i = 0;
  for (uint64_t word; i + sizeof word <= bytes; i += sizeof word) {
    std::memcpy(&word, state + i, sizeof word);
    if ((word & kEight) != kEight) break;
  }
  for (; i < bytes; ++i) {
    if (state[i] & kInitialised) continue;
    if (first) *first = i;
    return false;
  }
  return true;
}

void* allocate(Pool pool, size_t bytes) {
  if (pool == Pool::pinned) return allocate_pinned(bytes);
  map_space();
  if (bytes > options().memory || g_in_use > options().memory - bytes) return nullptr;
  const uintptr_t place = find_place(pool, rounded(bytes, kAlignment) + kRedZone);
  if (place == 0) return nullptr;
  const Allocation& allocation = record(pool, place, bytes);
  g_in_use += bytes;
  set_state(place, rounded(bytes, kAlignment) + kRedZone, 0);
  set_state(place, bytes, pool == Pool::managed ? kAllocated | kInitialised : kAllocated);
  if (pool == Pool::managed) {
    std::memset(reinterpret_cast<void*>(place), 0, bytes);
  } else {
    g_unpoisoned.push_back(&allocation);
    if (place + bytes > g_device_end) g_device_end = place + bytes;
  }
  return reinterpret_cast<void*>(place);
}

bool release(const void* address, bool pinned) {
  const auto found = g_allocations.find(reinterpret_cast<uintptr_t>(address));
  if (found == g_allocations.end() || !found->second.live || (found->second.pool == Pool::pinned) != pinned) {
    return false;
  }
  Allocation& allocation = found->second;
  if (pinned) {
    std::free(const_cast<void*>(address));
    g_allocations.erase(found);
    return true;
  }
  allocation.live = false;
  g_in_use -= allocation.bytes;
  set_state(allocation.address, allocation.bytes, kFreed);
  std::erase(g_unpoisoned, &allocation);
  give_back(allocation);
  return true;
}

const Allocation* find_nearest(uintptr_t address) {
  auto next = g_allocations.upper_bound(address);
  return next == g_allocations.begin() ? nullptr : &std::prev(next)->second;
}

const Allocation* find(const void* address) {
  const uintptr_t place = reinterpret_cast<uintptr_t>(address);
  const Allocation* nearest = find_nearest(place);
  return nearest && nearest->live && place - nearest->address < nearest->bytes ? nearest : nullptr;
}

size_t bytes_in_use() { return g_in_use; }

bool in_device_pool(uintptr_t address) { return space.base && address - pool_begin(Pool::device) < space.pool_bytes; }

std::string describe_address(uintptr_t address) {
  const Allocation* nearest = find_nearest(address);
  const auto next = g_allocations.upper_bound(address);
  if (next != g_allocations.end() && next->first - address < kRedZone) {
    const bool behind = nearest && nearest->live && address - nearest->address - nearest->bytes < next->first - address;
    if (!behind) return name_of(next->second) + ", " + std::to_string(next->first - address) + " bytes before it";
  }
  if (!nearest) return "an address before all allocations";
  const std::string name = name_of(*nearest);
  const size_t offset = address - nearest->address;
  if (offset < nearest->bytes) return name + ", at byte " + std::to_string(offset);
  return name + ", " + std::to_string(offset - nearest->bytes) + " bytes behind its end";
}

DeviceAccess::DeviceAccess() {
  map_space();
  if (g_accessors++ > 0) return;
  protect_device(PROT_READ | PROT_WRITE);
  poison_new_memory();
}

DeviceAccess::~DeviceAccess() {
  if (--g_accessors == 0) protect_device(PROT_NONE);
}

}  // namespace emu

// Shared memory of the present block: dynamic first, then each static array as the first thread comes to it, with a red
// zone behind each. An array gets the alignment that its type asks for and no more: that a float array lies at a
// multiple of 16, as a float4 access to it needs, is luck on a GPU.
#include <cstring>

#include "memory.h"
#include "scheduler.h"

namespace emu {
namespace {

constexpr size_t kRedZone = 32;
constexpr size_t kAlignment = 16;
constexpr unsigned kMaxArrays = 256;

struct Array {
  size_t offset;
  size_t bytes;
  const char* name;
  int line;
};

Array g_arrays[kMaxArrays];
unsigned g_array_count = 0;
size_t g_end = 0;        // of what is given out, red zones included
size_t g_allocated = 0;  // without them
size_t g_limit = 0;
uint64_t g_block = 0;

size_t rounded(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

size_t give_out(size_t bytes, size_t alignment, const char* name, int line) {
  const size_t offset = g_end + alignment % kAlignment;
  g_allocated = rounded(g_allocated) + bytes;
  if (g_allocated > g_limit) {
    begin_report();
    fail("shared memory: " + std::string(name) + " makes it " + std::to_string(g_allocated) + " bytes, allowed are " +
         std::to_string(g_limit));
  }
  if (g_array_count == kMaxArrays) {
    begin_report();
    fail("a block has more than 256 shared arrays");
  }
  g_arrays[g_array_count++] = {offset, bytes, name, line};
  g_end = rounded(offset + bytes) + kRedZone;
  std::memset(reinterpret_cast<void*>(space.base + offset), 0xff, bytes);
  set_state(space.base + offset, bytes, kAllocated);
  return offset;
}

}  // namespace

void begin_shared_memory(size_t dynamic_bytes, size_t limit) {
  set_state(space.base, g_end, 0);
  ++g_block;
  g_array_count = 0;
  g_end = g_allocated = 0;
  g_limit = limit;
  give_out(dynamic_bytes, kAlignment, "the dynamic part", 0);
}

void* shared_array(SharedSlot& slot) {
  if (!now.running) fail("the shared array " + std::string(slot.name) + " is used outside a kernel");
  if (slot.block != g_block) {
    slot.offset = give_out(slot.bytes, slot.alignment, slot.name, slot.line);
    slot.block = g_block;
  }
  return reinterpret_cast<void*>(space.base + slot.offset);
}

void* dynamic_shared(size_t alignment) {
  if (!now.running) fail("dynamic shared memory is used outside a kernel");
  if (alignment > kAlignment) {
    begin_report();
    fail("dynamic shared memory has an alignment of 16 bytes");
  }
  return reinterpret_cast<void*>(space.base);
}

std::string describe_shared(uintptr_t address) {
  const size_t offset = address - space.base;
  const Array* nearest = &g_arrays[0];
  for (unsigned i = 0; i < g_array_count; ++i) {
    if (g_arrays[i].offset <= offset) nearest = &g_arrays[i];
  }
  const std::string name =
      (nearest->line ? "shared array " + std::string(nearest->name) : std::string("dynamic shared memory")) + " of " +
      std::to_string(nearest->bytes) + " bytes";
  const size_t within = offset - nearest->offset;
  if (within < nearest->bytes) return name + ", at byte " + std::to_string(within);
  return name + ", " + std::to_string(within - nearest->bytes) + " bytes behind its end";
}

}  // namespace emu

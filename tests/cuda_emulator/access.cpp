#include "access.h"

#include <cstdio>
#include <string>

#include "fiber.h"
#include "symbols.h"

extern "C" char __executable_start, _end;  // the program's own image, as the linker names it

namespace emu {
namespace {

bool in_image(uintptr_t address) {
  return address >= reinterpret_cast<uintptr_t>(&__executable_start) && address < reinterpret_cast<uintptr_t>(&_end);
}

std::string describe_place(uintptr_t address) {
  return address - space.base < kSharedBytes ? describe_shared(address) : describe_address(address);
}

std::string what(const Access& access) {
  const char* verb = access.kind == Kind::read ? "read" : access.kind == Kind::write ? "write" : "atomic operation";
  return std::string(verb) + " of " + std::to_string(access.bytes) + " bytes";
}

[[noreturn]] void fail_at(const Access& access, const std::string& text) {
  const char* call = static_cast<const char*>(access.code) - 1;  // the code is what comes after the call
  fail(text, source_line(call));
}

// The first byte that the access may not touch.
uintptr_t first_bad_byte(const Access& access) {
  for (size_t i = 0; i < access.bytes; ++i) {
    const uint8_t state = shadow.state[access.address + i - space.base];
    const uint8_t needed = access.kind == Kind::write ? kAllocated : kAllocated | kInitialised;
    if ((state & needed) != needed || (state & kInFlight)) return access.address + i;
  }
  return access.address;
}

template <Kind kind>
void check_bytes(const Access& access) {
  for (size_t i = 0; i < access.bytes;) {
    const size_t offset = access.address + i - space.base;
    if (offset % 2 == 0 && access.bytes - i >= 2) {
      check_word<uint16_t, kind>(offset, access);
      i += 2;
    } else {
      check_word<uint8_t, kind>(offset, access);
      i += 1;
    }
  }
}

}  // namespace

void report_misaligned(const Access& access) {
  begin_report();
  fail_at(access, "misaligned " + what(access) + ", address modulo " + std::to_string(access.bytes) + " is " +
                      std::to_string(access.address % access.bytes) + ": " + describe_place(access.address));
}

void report_state(const Access& access) {
  begin_report();
  const uintptr_t bad = first_bad_byte(access);
  const uint8_t state = shadow.state[bad - space.base];
  const std::string place = ": " + describe_place(bad);
  if (state & kFreed) fail_at(access, what(access) + " after cudaFree" + place);
  if (!(state & kAllocated)) fail_at(access, what(access) + " out of bounds" + place);
  if (state & kInFlight) fail_at(access, what(access) + " where an unfinished cp.async writes" + place);
  fail_at(access, what(access) + " of uninitialised memory" + place);
}

void report_race(const Access& access, Stamp other, bool other_wrote) {
  begin_report();
  const char* did = !other_wrote ? " read" : other & kAtomic ? " changed atomically" : " wrote";
  const std::string who = "thread " + describe_thread(thread_of(other)) +
                          (same_block(other, now.stamp) ? "" : " of block " + describe_block(block_of(other)));
  const char* why = same_block(other, now.stamp) ? " without a barrier between them" : ", and blocks have no order";
  fail_at(access, "race: " + what(access) + " that " + who + did + why + ": " + describe_place(access.address));
}

void check_outside(const Access& access) {
  if (access.address - now.stack < kStackBytes) return;
  if (access.kind == Kind::read && in_image(access.address)) return;
  begin_report();
  char text[20];
  std::snprintf(text, sizeof text, "0x%lx", static_cast<unsigned long>(access.address));
  if (access.address < 4096) fail_at(access, what(access) + " through a null pointer (" + text + ")");
  if (in_stacks(access.address)) fail_at(access, what(access) + " in another thread's local memory");
  if (in_image(access.address)) fail_at(access, what(access) + " of a variable of the host program (" + text + ")");
  fail_at(access, what(access) + " through a host pointer (" + text + ")");
}

void check_range(const Access& access) {
  if (!now.checking || access.bytes == 0) return;
  const size_t offset = access.address - space.base;
  if (offset >= space.bytes) return check_outside(access);
  ++counted.accesses;
  if (access.bytes > space.bytes - offset)
    report_state({access.address, space.bytes - offset, access.kind, access.code});
  if (access.kind == Kind::read) return check_bytes<Kind::read>(access);
  check_bytes<Kind::write>(access);
}

}  // namespace emu

// The check of one access of the running thread. Inline: it is most of the emulator's time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fiber.h"
#include "scheduler.h"
#include "shadow.h"

namespace emu {

enum class Kind { read, write, atomic };

struct Access {
  uintptr_t address;
  size_t bytes;
  Kind kind;
  const void* code;  // where in the program
};

// What is wrong with it; none of them returns unless it says so.
[[noreturn]] void report_misaligned(const Access& access);
[[noreturn]] void report_state(const Access& access);
[[noreturn]] void report_race(const Access& access, Stamp other, bool other_wrote);
void check_outside(const Access& access);  // an address that is not the device's: returns if it is allowed

// The check of accesses that the compiler has not instrumented, of any size and alignment.
void check_range(const Access& access);

template <class T>
T load(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// A word of `byte` in every byte.
template <class T>
constexpr T repeated(uint8_t byte) {
  return static_cast<T>(static_cast<T>(~T{0}) / 0xff * byte);
}

inline bool ordered(Stamp earlier, Stamp horizon) {
  if (earlier < horizon || same_thread(earlier, now.stamp)) return true;
  if (!same_block(earlier, now.stamp)) return false;
  return earlier < now.barrier_horizon || ordered_in_warp(earlier);
}

// Nothing that is still to come can race with it.
inline bool past(Stamp earlier, Stamp horizon) {
  return earlier < horizon || same_thread(earlier, now.stamp) ||
         (same_block(earlier, now.stamp) && earlier < now.barrier_horizon);
}

inline void remember_reader(Cell& cell, Stamp horizon) {
  Stamp& first = cell.readers[0];
  Stamp& second = cell.readers[1];
  if (past(first, horizon)) {
    first = now.stamp;
  } else if (past(second, horizon)) {
    second = now.stamp;
  } else if (same_block(first, second)) {  // otherwise every writer races with one of them
    if (same_block(first, now.stamp)) first = second;
    second = now.stamp;
  }
}

template <Kind kind>
inline void check_cell(Cell& cell, Stamp horizon, const Access& access) {
  const bool both_atomic = kind == Kind::atomic && (cell.writer & kAtomic);
  if (!both_atomic && !ordered(cell.writer, horizon)) [[unlikely]]
    report_race(access, cell.writer, true);
  if constexpr (kind == Kind::read) {
    remember_reader(cell, horizon);
  } else {
    for (Stamp reader : cell.readers) {
      if (!ordered(reader, horizon)) [[unlikely]]
        report_race(access, reader, false);
    }
    cell.writer = now.stamp | (kind == Kind::atomic ? kAtomic : 0);
  }
}

// Gives the two bytes of a pair cells of their own.
inline void split(size_t pair) {
  if (shadow.state[2 * pair] & kSplit) return;
  shadow.state[2 * pair] |= kSplit;
  shadow.odd_cells[pair] = shadow.cells[pair];
}

// `offset` and `bytes` are even, or bytes is 1.
template <Kind kind>
inline void check_cells(size_t offset, size_t bytes, bool maybe_split, const Access& access) {
  const Stamp horizon = offset < kSharedBytes ? now.barrier_horizon : now.launch_horizon;
  if (bytes == 1) {
    split(offset / 2);
    check_cell<kind>((offset & 1 ? shadow.odd_cells : shadow.cells)[offset / 2], horizon, access);
    return;
  }
  for (size_t pair = offset / 2; pair < (offset + bytes) / 2; ++pair) {
    check_cell<kind>(shadow.cells[pair], horizon, access);
    if (maybe_split && shadow.state[2 * pair] & kSplit) check_cell<kind>(shadow.odd_cells[pair], horizon, access);
  }
}

// Checks the state of `sizeof(T)` bytes and marks them written; true if some of them are split.
template <class T, Kind kind>
inline bool check_state(size_t offset, const Access& access) {
  uint8_t* place = shadow.state + offset;
  const T state = load<T>(place);
  constexpr T kGood = repeated<T>(kAllocated | kInitialised);
  if (state == kGood) [[likely]]
    return false;
  const T needed = kind == Kind::write ? repeated<T>(kAllocated) : kGood;
  if ((state & needed) != needed || (state & repeated<T>(kInFlight)) != 0) report_state(access);
  if (kind == Kind::write) {
    const T written = state | kGood;
    std::memcpy(place, &written, sizeof written);
  }
  return (state & repeated<T>(kSplit)) != 0;
}

template <class T, Kind kind>
inline void check_word(size_t offset, const Access& access) {
  const bool maybe_split = check_state<T, kind>(offset, access);
  check_cells<kind>(offset, sizeof(T), maybe_split, access);
}

// An access of 1, 2, 4, 8 or 16 bytes, aligned as a GPU wants it.
template <size_t bytes, Kind kind>
inline void check(const volatile void* pointer, const void* code) {
  if (!now.running) [[likely]]
    return;
  const Access access{reinterpret_cast<uintptr_t>(pointer), bytes, kind, code};
  const size_t offset = access.address - space.base;
  if (offset >= space.bytes) {
    if (now.checking && access.address - now.stack >= kStackBytes) check_outside(access);
    return;
  }
  ++counted.accesses;
  if (--now.until_preempt == 0) preempt();
  if (!now.checking) return;
  if (offset % bytes != 0) [[unlikely]]
    report_misaligned(access);
  if constexpr (bytes == 16) {
    check_word<uint64_t, kind>(offset, access);
    check_word<uint64_t, kind>(offset + 8, access);
  } else if constexpr (bytes == 8) {
    check_word<uint64_t, kind>(offset, access);
  } else if constexpr (bytes == 4) {
    check_word<uint32_t, kind>(offset, access);
  } else if constexpr (bytes == 2) {
    check_word<uint16_t, kind>(offset, access);
  } else {
    check_word<uint8_t, kind>(offset, access);
  }
}

}  // namespace emu

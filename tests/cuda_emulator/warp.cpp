// Operations of the lanes of a warp: shuffles, votes, __syncwarp. Only the last one orders memory.
#include <cstdio>
#include <cstring>

#include "scheduler.h"

namespace emu {
namespace {

template <class T>
T get(const Deposit& deposit) {
  T value;
  std::memcpy(&value, deposit.bytes, sizeof value);
  return value;
}

template <class T>
void put(Deposit& deposit, T value) {
  std::memcpy(deposit.bytes, &value, sizeof value);
}

[[noreturn]] void report_unnamed_source(unsigned lane, int source, unsigned mask) {
  begin_report();
  char text[100];
  std::snprintf(text, sizeof text, "shuffle of lane %u reads lane %d, which mask %08x does not name", lane, source,
                mask);
  fail(text);
}

void combine_shuffle(Deposit* lanes, unsigned mask) {
  uint64_t values[kLanes];
  for (unsigned lane = 0; lane < kLanes; ++lane) values[lane] = get<uint64_t>(lanes[lane]);
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!(mask >> lane & 1)) continue;
    const int source = lanes[lane].lane;
    if (!(mask >> source & 1)) report_unnamed_source(lane, source, mask);
    put(lanes[lane], values[source]);
  }
}

void combine_vote(Deposit* lanes, unsigned mask) {
  unsigned ballot = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (mask >> lane & 1 && get<int>(lanes[lane]) != 0) ballot |= 1u << lane;
  }
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (mask >> lane & 1) put(lanes[lane], ballot);
  }
}

void combine_nothing(Deposit*, unsigned) {}

constexpr Collective kShuffles[] = {{"__shfl_sync", combine_shuffle, false},
                                    {"__shfl_xor_sync", combine_shuffle, false},
                                    {"__shfl_up_sync", combine_shuffle, false},
                                    {"__shfl_down_sync", combine_shuffle, false}};
constexpr Collective kVotes[] = {
    {"__ballot_sync", combine_vote, false}, {"__any_sync", combine_vote, false}, {"__all_sync", combine_vote, false}};
constexpr Collective kSyncWarp = {"__syncwarp", combine_nothing, true};

// The lane whose value a lane gets, as the CUDA C++ Programming Guide defines it; its own outside its section.
int source_lane(Shuffle kind, int own, int lane, int width) {
  const int begin = own / width * width, end = begin + width;
  int source = own;
  switch (kind) {
    case Shuffle::index:
      return begin + (lane & (width - 1));
    case Shuffle::exclusive_or:
      source = own ^ lane;
      return source < end ? source : own;
    case Shuffle::up:
      source = own - lane;
      return source >= begin ? source : own;
    case Shuffle::down:
      source = own + lane;
      return source < end ? source : own;
  }
  return source;
}

}  // namespace

uint64_t shuffle_bits(Shuffle kind, unsigned mask, uint64_t bits, int lane, int width, Caller caller) {
  if (width <= 0 || width > 32 || (width & (width - 1)) != 0) {
    begin_report();
    fail("a shuffle has width " + std::to_string(width) + ", which must be a power of two up to 32", caller);
  }
  const int source = source_lane(kind, static_cast<int>(now.thread % kLanes), lane, width) % static_cast<int>(kLanes);
  exchange(kShuffles[static_cast<int>(kind)], mask, static_cast<uint64_t>(width), source, &bits, sizeof bits, caller);
  return bits;
}

unsigned vote(Vote kind, unsigned mask, int predicate, Caller caller) {
  unsigned value = predicate != 0;
  exchange(kVotes[static_cast<int>(kind)], mask, 0, 0, &value, sizeof value, caller);
  return kind == Vote::ballot ? value : kind == Vote::any ? value != 0 : value == mask;
}

void sync_warp(unsigned mask, Caller caller) {
  int nothing = 0;
  exchange(kSyncWarp, mask, 0, 0, &nothing, 0, caller);
}

void trap() {
  begin_report();
  fail("__trap() was called");
}

}  // namespace emu

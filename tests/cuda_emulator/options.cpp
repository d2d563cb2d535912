// The options of the emulator: read once from the environment, written into every error.
#include <cstdlib>
#include <sstream>
#include <string>

#include "emulator.h"

namespace emu {
namespace {

template <class T>
struct Named {
  const char* name;
  T value;
};

constexpr Named<Schedule> kSchedules[] = {
    {"forward", Schedule::forward}, {"reverse", Schedule::reverse}, {"random", Schedule::random}};
constexpr Named<Fault> kFaults[] = {{"none", Fault::none},
                                    {"no-driver", Fault::no_driver},
                                    {"no-device", Fault::no_device},
                                    {"old-driver", Fault::old_driver},
                                    {"no-image", Fault::no_image}};
constexpr Named<bool> kSwitches[] = {{"on", true}, {"off", false}};
constexpr Named<uint64_t> kUnits[] = {
    {"", 1}, {"KiB", uint64_t{1} << 10}, {"MiB", uint64_t{1} << 20}, {"GiB", uint64_t{1} << 30}};

[[noreturn]] void refuse(const std::string& word, const std::string& allowed) {
  throw Error("the emulator's option " + word + " is unknown: allowed is " + allowed);
}

template <class T, size_t n>
T find(const Named<T> (&names)[n], const std::string& value, const std::string& word) {
  std::string allowed;
  for (const Named<T>& known : names) {
    if (value == known.name) return known.value;
    allowed += (allowed.empty() ? "" : ", ") + std::string(known.name);
  }
  refuse(word, allowed);
}

template <class T, size_t n>
std::string name_of(const Named<T> (&names)[n], T value) {
  for (const Named<T>& known : names) {
    if (value == known.value) return known.name;
  }
  return "?";
}

// A whole number, and what is behind it.
uint64_t parse_number(const std::string& value, const std::string& word, std::string* unit = nullptr) {
  const size_t digits = value.find_first_not_of("0123456789");
  if (value.empty() || digits == 0 || value.size() > 20 || (digits != std::string::npos && !unit)) {
    refuse(word, "a whole number");
  }
  if (unit) *unit = digits == std::string::npos ? "" : value.substr(digits);
  return std::strtoull(value.c_str(), nullptr, 10);
}

void parse_word(const std::string& word, Options& options) {
  const size_t equals = word.find('=');
  const std::string key = word.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
  if (key == "schedule") {
    options.schedule = find(kSchedules, value, word);
  } else if (key == "seed") {
    options.seed = parse_number(value, word);
  } else if (key == "preempt") {
    options.preempt = static_cast<uint32_t>(parse_number(value, word));
  } else if (key == "check") {
    options.check = find(kSwitches, value, word);
  } else if (key == "float-atomics") {
    options.float_atomics = find(kSwitches, value, word);
  } else if (key == "fault") {
    options.fault = find(kFaults, value, word);
  } else if (key == "memory") {
    std::string unit;
    const uint64_t number = parse_number(value, word, &unit);
    options.memory = number * find(kUnits, unit, word);
  } else {
    refuse(word, "schedule=, seed=, preempt=, check=, float-atomics=, fault=, memory=");
  }
}

Options options_of_environment() {
  const char* text = std::getenv(EMU_ENVIRONMENT);
  return parse_options(text ? text : "");
}

}  // namespace

Options parse_options(const std::string& text) {
  Options options;
  std::istringstream words(text);
  for (std::string word; words >> word;) parse_word(word, options);
  return options;
}

std::string describe(const Options& options) {
  return "schedule=" + name_of(kSchedules, options.schedule) + " seed=" + std::to_string(options.seed) +
         " preempt=" + std::to_string(options.preempt);
}

Options& options() {
  static Options current = options_of_environment();
  return current;
}

}  // namespace emu

// The command line of every program: the one wrapper around CLI11. CLI11 splits the words and reads --config; every
// check and every sentence is ours, because its own messages print endless ranges and its exit codes exceed 100.
// Only command_line.cpp includes CLI11, which costs the compiler seconds.
//
//   int main(int argc, char** argv) {
//     return run_program("sample", [&] {
//       std::string checkpoint;
//       int tokens = 200;
//       CommandLine line("sample", "continue a prompt with a trained model");
//       line.add("checkpoint", checkpoint, "step folder or run").required();
//       line.add("tokens", tokens, "how many tokens to write", positive<int>());
//       line.parse(argc, argv);
//       ...
//       return 0;
//     });
//   }
//
// A value can be int, int64_t, uint64_t, double, bool (a flag: --name, or --name=false), std::string,
// std::vector<std::string> (one or more words), or std::vector<int> or <double> (one word, 1,2,3). What it holds when it is added is the default that --help shows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "data/error.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

// Thrown by CommandLine for --help and --version: run_program prints it on stdout and returns 0.
struct HelpRequest {
  std::string text;
};

// Runs a program's body and returns its exit code: what the body returns, 2 after Error, 1 after Failure and anything
// else that is thrown, with "name: sentence" on stderr; 1 also where standard output could not be written to its end.
int run_program(const char* name, const std::function<int()>& body);

// ---------------------------------------------------------------------------------------------- values and checks

// The shortest decimal text that strtod reads back as exactly `value`; without an exponent from 1 to below 10^15.
std::string shortest_text(double value);

// Text of a value as the command line would take it.
inline std::string text_of(const std::string& value) { return value; }
inline std::string text_of(double value) { return shortest_text(value); }
inline std::string text_of(bool value) { return value ? "true" : "false"; }
template <class T>
requires std::is_integral_v<T> std::string text_of(T value) { return std::to_string(value); }
std::string text_of(const std::vector<std::string>& values);  // with spaces
std::string text_of(const std::vector<int>& values);          // with commas
std::string text_of(const std::vector<double>& values);

// A text as one word of a shell command, quoted where it has to be.
std::string shell_word(const std::string& text);

// The whole of `text` as a value; false where it is something else or does not fit into the type.
bool read_value(const std::string& text, std::string& value);
bool read_value(const std::string& text, bool& value);
bool read_value(const std::string& text, double& value);  // finite, in decimal notation
bool read_value(const std::string& text, int& value);
bool read_value(const std::string& text, int64_t& value);
bool read_value(const std::string& text, uint64_t& value);
bool read_value(const std::string& text, std::vector<int>& values);  // at least one, with commas between them
bool read_value(const std::string& text, std::vector<double>& values);

// What an option may be: a test and the words for it, which follow "it must be".
template <class T>
struct Allowed {
  std::function<bool(const T&)> test;  // null: every value of the type
  std::string words;
  std::vector<std::string> names = {};  // where only these are allowed: the message suggests the nearest
};

template <class T>
requires std::is_integral_v<T> Allowed<T> between(T low, T high) {
  std::string words = "an integer from " + std::to_string(low) + " to " + std::to_string(high);
  return {[low, high](const T& value) { return low <= value && value <= high; }, words};
}
inline Allowed<int> at_least(int low) { return between(low, std::numeric_limits<int>::max()); }
// Every value of T.
template <class T>
Allowed<T> anything() {
  if constexpr (std::is_same_v<T, bool>)
    return {nullptr, "true or false"};
  else if constexpr (std::is_integral_v<T>)
    return between<T>(std::numeric_limits<T>::min(), std::numeric_limits<T>::max());
  else
    return {nullptr, std::is_floating_point_v<T> ? "a number" : "text"};
}
template <class T>
Allowed<T> positive() {
  if constexpr (std::is_floating_point_v<T>)
    return {[](const T& value) { return value > 0; }, "a number above 0"};
  else
    return between<T>(1, std::numeric_limits<T>::max());
}
template <class T>
Allowed<T> non_negative() {
  if constexpr (std::is_floating_point_v<T>)
    return {[](const T& value) { return value >= 0; }, "a number of at least 0"};
  else
    return between<T>(0, std::numeric_limits<T>::max());
}
// Of a list, each value.
template <class T>
Allowed<std::vector<T>> list_of_each(Allowed<T> each) {
  auto test = [test = each.test](const std::vector<T>& values) {
    return std::all_of(values.begin(), values.end(), test);
  };
  return {test, "one or more, with commas between them, each " + each.words};
}
Allowed<double> fraction();
Allowed<std::string> not_empty();
Allowed<std::string> existing_file();
Allowed<std::string> one_of(const std::vector<std::string>& names);

// "a, b or c".
std::string list_of(const std::vector<std::string>& words, const char* last = " or ");

// The candidate with the fewest insertions, deletions, substitutions and swaps of neighbours from `word`, "" where even
// that one shares too little with it to be what was meant. A word that was cut short counts as one edit.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

// The one sentence for a value that is not allowed; `where` is the option as the user wrote it.
Error bad_value(const std::string& where, const std::string& value, const std::string& allowed);

// ---------------------------------------------------------------------------------------------- the command line

// A text as a --config file holds it, so that reading it back gives the same text whatever it contains.
std::string config_text(const std::string& text);

class CommandLine {
 public:
  // One option, as returned by add().
  class Option {
   public:
    Option& required();
    // Not a key of --config files.
    Option& only_on_command_line();
    // The heading of --help under which the option stands.
    Option& group(const std::string& heading);
    // What --help shows as the default where the default depends on other options.
    Option& default_text(const std::string& text);

   private:
    friend class CommandLine;
    CLI::Option* cli_ = nullptr;
    std::string name_;                // as the user writes it: "--lr", or "RUN" for words without a name
    std::string key_;                 // "lr", as in a --config file
    std::string allowed_;             // follows "it must be"
    std::vector<std::string> names_;  // Allowed::names
    bool is_list_ = false;            // takes several words
    bool is_flag_ = false;            // takes none
    bool required_ = false;
    bool from_config_ = false;
    std::function<bool(const std::vector<std::string>&)> assign_;  // false where a word is not allowed
  };

  CommandLine(const std::string& program, const std::string& purpose);
  ~CommandLine();

  // --name VALUE. `value` must outlive parse(); the text of `help` starts with a small letter and has no full stop.
  template <class T>
  Option& add(const std::string& name, T& value, const std::string& help, Allowed<T> allowed = anything<T>()) {
    return add_option("--" + name, name, value, help, std::move(allowed));
  }

  // Words without an option's name, such as the runs of `compare RUN...`; shown as NAME in the help.
  template <class T>
  Option& add_positional(const std::string& name, T& value, const std::string& help,
                         Allowed<T> allowed = anything<T>()) {
    return add_option(name, name, value, help, std::move(allowed));
  }

  // --config FILE: options as lines "name = value" (INI), for those that the command line does not give.
  void add_config();

  // Reads the words and the --config file, and assigns every option that was given. Throws Error with one sentence,
  // or HelpRequest.
  void parse(int argc, const char* const* argv);

  // The two halves of parse(), for a program whose defaults depend on one of its options: between the two it asks
  // given_text() and changes the defaults.
  void split(int argc, const char* const* argv);
  void assign();

  // Whether the command line or the --config file gives the option.
  bool given(const std::string& name) const;
  bool given_by_config(const std::string& name) const;
  std::string given_text(const std::string& name) const;

  // The option as the user wrote it, for messages: "--lr", or "lr in FILE".
  std::string where(const std::string& name) const;

 private:
  class IniReader;

  // Defined for the types above.
  template <class T>
  Option& add_option(const std::string& name, const std::string& key, T& value, const std::string& help,
                     Allowed<T> allowed);

  const Option& find(const std::string& key) const;
  static std::vector<std::string> words_of(const Option& option);
  std::string where(const Option& option) const;
  std::string config_file() const;
  void note_config_key(const std::string& key, const std::string& place);
  std::string hint(const std::string& closest) const;
  std::vector<std::string> option_names() const;
  bool is_option_name(const std::string& word) const;
  void refuse_missing_values(int argc, const char* const* argv) const;
  void refuse_unknown_words() const;

  std::string program_;
  std::unique_ptr<CLI::App> app_;
  std::vector<std::unique_ptr<Option>> options_;
};

// The command line of every program: the one wrapper around CLI11. CLI11 splits the words and reads --config; every
// check and every sentence is ours, because its own messages print endless ranges and its exit codes exceed 100.
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
// A value can be int, int64_t, uint64_t, double, bool (a flag: --name, or --name=false), std::string, or
// std::vector<std::string> (one or more words). What it holds when it is added is the default that --help shows.
#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <vector>

#include "data/error.h"
#include "train/build_info.h"

// Thrown by CommandLine for --help and --version: run_program prints it on stdout and returns 0.
struct HelpRequest {
  std::string text;
};

// Runs a program's body and returns its exit code: what the body returns, 2 after Error, 1 after Failure and anything
// else that is thrown, with "name: sentence" on stderr.
inline int run_program(const char* name, const std::function<int()>& body) {
  auto complain = [name](const std::string& sentence, int code) {
    std::cout.flush();
    std::cerr << name << ": " << sentence << std::endl;
    return code;
  };
  try {
    return body();
  } catch (const HelpRequest& help) {
    std::cout << help.text << std::flush;
    return 0;
  } catch (const Error& error) {
    return complain(error.what(), 2);
  } catch (const Failure& failure) {
    return complain(failure.what(), 1);
  } catch (const std::bad_alloc&) {
    return complain("the machine has not enough memory for this", 1);
  } catch (const std::exception& error) {
    return complain(std::string("stopped unexpectedly: ") + error.what(), 1);
  }
}

// ---------------------------------------------------------------------------------------------- values and checks

// The shortest decimal text that strtod reads back as exactly `value`; without an exponent from 1 to below 10^15.
inline std::string shortest_text(double value) {
  char text[40];
  int digits = std::abs(value) >= 1 && std::abs(value) < 1e15 ? 1 + int(std::log10(std::abs(value))) : 1;
  for (; digits <= 17; digits++) {
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    if (std::strtod(text, nullptr) == value) break;
  }
  return text;
}

// Text of a value as the command line would take it.
inline std::string text_of(const std::string& value) { return value; }
inline std::string text_of(double value) { return shortest_text(value); }
inline std::string text_of(bool value) { return value ? "true" : "false"; }
template <class T>
requires std::is_integral_v<T> std::string text_of(T value) { return std::to_string(value); }
inline std::string text_of(const std::vector<std::string>& values) {
  std::string text;
  for (const std::string& value : values) text += (text.empty() ? "" : " ") + value;
  return text;
}

// The whole of `text` as a value; false where it is something else or does not fit into T.
inline bool read_value(const std::string& text, std::string& value) {
  value = text;
  return true;
}
inline bool read_value(const std::string& text, bool& value) {
  value = text == "true";
  return value || text == "false";
}
inline bool read_value(const std::string& text, double& value) {  // finite, in decimal notation
  if (text.empty() || text.find_first_not_of("0123456789+-.eE") != std::string::npos) return false;
  char* end = nullptr;
  value = std::strtod(text.c_str(), &end);
  return *end == '\0' && std::isfinite(value);
}
template <class T>
requires std::is_integral_v<T>
bool read_value(const std::string& text, T& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

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
inline Allowed<double> fraction() {
  return {[](const double& value) { return 0 <= value && value < 1; }, "a number from 0 to below 1"};
}
inline Allowed<std::string> not_empty() {
  return {[](const std::string& value) { return !value.empty(); }, "not empty"};
}
inline Allowed<std::string> existing_file() {
  auto test = [](const std::string& path) {
    std::error_code ignored;
    return std::filesystem::exists(path, ignored) && !std::filesystem::is_directory(path, ignored);
  };
  return {test, "an existing file"};
}

// "a, b or c".
inline std::string list_of(const std::vector<std::string>& words, const char* last = " or ") {
  std::string text;
  for (size_t i = 0; i < words.size(); i++) text += (i == 0 ? "" : i + 1 == words.size() ? last : ", ") + words[i];
  return text;
}
inline Allowed<std::string> one_of(const std::vector<std::string>& names) {
  auto test = [names](const std::string& value) { return std::find(names.begin(), names.end(), value) != names.end(); };
  return {test, list_of(names), names};
}

// The candidate with the fewest insertions, deletions, substitutions and swaps of neighbours from `word`, "" where even
// that one shares too little with it to be what was meant. A word that was cut short counts as one edit.
inline std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  auto distance = [](const std::string& a, const std::string& b) {
    if (a.size() > 2 && b.compare(0, a.size(), a) == 0) return a == b ? 0 : 1;
    std::vector<std::vector<int>> d(a.size() + 1, std::vector<int>(b.size() + 1));
    for (int i = 0; i <= int(a.size()); i++)
      for (int j = 0; j <= int(b.size()); j++) {
        if (i == 0 || j == 0) {
          d[i][j] = i + j;
          continue;
        }
        d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
          d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    return d[a.size()][b.size()];
  };
  std::string best;
  int fewest = 1 + int(word.size()) / 2;
  for (const std::string& candidate : candidates)
    if (int edits = distance(word, candidate); edits < fewest) fewest = edits, best = candidate;
  return best;
}

// The one sentence for a value that is not allowed; `where` is the option as the user wrote it.
inline Error bad_value(const std::string& where, const std::string& value, const std::string& allowed) {
  return Error(where + " is '" + value + "'; it must be " + allowed);
}

// ---------------------------------------------------------------------------------------------- the command line

// A text as a --config file holds it, so that reading it back gives the same text whatever it contains.
inline std::string config_text(const std::string& text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return quoted + '"';
}

class CommandLine {
 public:
  // One option, as returned by add().
  class Option {
   public:
    Option& required() {
      required_ = true;
      return *this;
    }
    // Not a key of --config files.
    Option& only_on_command_line() {
      cli_->configurable(false);
      return *this;
    }
    // The heading of --help under which the option stands.
    Option& group(const std::string& heading) {
      cli_->group(heading);
      return *this;
    }
    // What --help shows as the default where the default depends on other options.
    Option& default_text(const std::string& text) {
      cli_->default_str(text);
      return *this;
    }

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

  CommandLine(const std::string& program, const std::string& purpose) : program_(program), app_(purpose, program) {
    app_.set_help_flag("-h,--help", "show this text and stop");
    app_.set_version_flag("--version", program + " of attnorm " + version_text(), "show the version and stop");
    app_.allow_extras();  // unknown options are reported by us, with the nearest known one
  }

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
  void add_config() {
    app_.set_config("--config", "",
                    "read options from FILE, one line name=value for each; the command line goes before it");
    app_.get_config_ptr()->type_name("FILE")->take_all();
    app_.allow_config_extras(CLI::config_extras_mode::error);
    app_.config_formatter(std::make_shared<IniReader>(*this));
  }

  // Reads the words and the --config file, and assigns every option that was given. Throws Error with one sentence,
  // or HelpRequest.
  void parse(int argc, const char* const* argv) {
    split(argc, argv);
    assign();
  }

  // The two halves of parse(), for a program whose defaults depend on one of its options: between the two it asks
  // given_text() and changes the defaults.
  void split(int argc, const char* const* argv) {
    refuse_missing_values(argc, argv);
    try {
      app_.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
      throw HelpRequest{app_.help()};
    } catch (const CLI::CallForVersion& version) {
      throw HelpRequest{std::string(version.what()) + "\n"};
    } catch (const CLI::FileError&) {
      throw bad_value("--config", app_.get_config_ptr()->results().back(), "an existing file");
    } catch (const CLI::ParseError& error) {
      throw Error(error.what());
    }
    if (CLI::Option* config = app_.get_config_ptr(); config && config->count() > 1)
      throw Error("--config is given " + times(config->count()) + "; give it once");
    refuse_unknown_words();
    for (const auto& option : options_) {
      if (option->required_ && option->cli_->count() == 0)
        throw Error(option->name_ + " is missing; " + program_ + " needs it");
      if (!option->is_list_ && option->cli_->count() > 1)
        throw Error(where(*option) + " is given " + times(option->cli_->count()) + " ('" +
                    list_of(option->cli_->results(), "' and '") + "'); give it once");
    }
  }
  void assign() {
    for (const auto& option : options_) {
      if (option->cli_->count() == 0 || option->assign_(option->cli_->results())) continue;
      std::string text = text_of(option->cli_->results());
      std::string closest = nearest(text, option->names_);
      throw bad_value(where(*option), text, option->allowed_ + (closest.empty() ? "" : "; the nearest is " + closest));
    }
  }

  // Whether the command line or the --config file gives the option.
  bool given(const std::string& name) const { return find(name).cli_->count() > 0; }
  bool given_by_config(const std::string& name) const { return find(name).from_config_; }
  std::string given_text(const std::string& name) const { return text_of(find(name).cli_->results()); }

  // The option as the user wrote it, for messages: "--lr", or "lr in FILE".
  std::string where(const std::string& name) const { return where(find(name)); }

 private:
  // Reads "name = value" lines for CLI11. Its own reader cuts values at '#' even inside quotes, differs between
  // versions and takes the first of two lines in silence.
  class IniReader : public CLI::ConfigBase {
   public:
    explicit IniReader(CommandLine& line) : line_(line) {}

    std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
      std::vector<CLI::ConfigItem> items;
      std::map<std::string, int> seen;
      std::string text;
      for (int number = 1; std::getline(input, text); number++) {
        std::string place = line_.config_file() + " line " + std::to_string(number);
        CLI::ConfigItem item;
        if (!split_line(text, place, item)) continue;
        if (!seen.emplace(item.name, number).second)
          throw Error(place + " gives " + item.name + " again; line " + std::to_string(seen[item.name]) +
                      " has it already");
        line_.note_config_key(item.name, place);
        items.push_back(item);
      }
      return items;
    }

   private:
    // False for an empty line and a comment. A value is plain words up to a comment, or in quotes as
    // config_text() writes it.
    static bool split_line(const std::string& line, const std::string& place, CLI::ConfigItem& item) {
      const char* blank = " \t\r";
      size_t start = line.find_first_not_of(blank);
      if (start == std::string::npos || line[start] == '#' || line[start] == ';') return false;
      size_t equals = line.find('=');
      if (equals == std::string::npos || equals == start)
        throw Error(place + " is '" + line.substr(start) + "'; it must be name=value");
      item.name = line.substr(start, line.find_last_not_of(blank, equals - 1) + 1 - start);
      std::string value;
      size_t i = std::min(line.find_first_not_of(blank, equals + 1), line.size());
      if (i < line.size() && line[i] == '"') {
        for (i++; i < line.size() && line[i] != '"'; i++) {
          bool escaped = line[i] == '\\' && i + 1 < line.size();
          if (escaped) i++;
          value += escaped && line[i] == 'n' ? '\n' : line[i];
        }
        size_t rest = line.find_first_not_of(blank, i + 1);
        if (i >= line.size() || (rest != std::string::npos && line[rest] != '#' && line[rest] != ';'))
          throw Error(place + " gives " + item.name + " a value with an unclosed or inner quote; write \"...\"");
      } else {
        for (; i < line.size(); i++) {
          if ((line[i] == '#' || line[i] == ';') && (line[i - 1] == ' ' || line[i - 1] == '\t')) break;
          value += line[i];
        }
        value.erase(value.find_last_not_of(blank) + 1);
      }
      item.inputs = {value};
      return true;
    }

    CommandLine& line_;
  };

  template <class T>
  Option& add_option(const std::string& name, const std::string& key, T& value, const std::string& help,
                     Allowed<T> allowed) {
    options_.push_back(std::make_unique<Option>());
    Option& option = *options_.back();
    option.name_ = name;
    option.key_ = key;
    option.allowed_ = allowed.words;
    option.names_ = allowed.names;
    option.is_flag_ = std::is_same_v<T, bool>;
    option.is_list_ = std::is_same_v<T, std::vector<std::string>>;
    option.cli_ = option.is_flag_ ? app_.add_flag(name) : app_.add_option(name);
    option.cli_->description(help)->take_all();
    if (option.is_list_) option.cli_->expected(1, CLI::detail::expected_max_vector_size)->allow_extra_args();
    if (!option.is_flag_) {
      option.cli_->type_name(kind<T>());
      option.cli_->default_str(text_of(value));
    }
    option.assign_ = [&value, test = allowed.test](const std::vector<std::string>& words) {
      if constexpr (std::is_same_v<T, std::vector<std::string>>)
        value = words;
      else if (!read_value(words.front(), value))
        return false;
      return !test || test(value);
    };
    return option;
  }

  // What --help calls a value of T.
  template <class T>
  static const char* kind() {
    return std::is_integral_v<T> ? "INTEGER" : std::is_floating_point_v<T> ? "NUMBER" : "TEXT";
  }

  static std::string times(size_t count) { return count == 2 ? "twice" : std::to_string(count) + " times"; }

  std::string config_file() const { return app_.get_config_ptr()->results().back(); }

  const Option& find(const std::string& key) const {
    for (const auto& option : options_)
      if (option->key_ == key) return *option;
    throw std::logic_error("no option is called " + key);
  }

  std::string where(const Option& option) const {
    return option.from_config_ ? option.key_ + " in " + config_file() : option.name_;
  }

  // A key of the config file: refused where unknown, and remembered where the command line does not give it.
  void note_config_key(const std::string& key, const std::string& place) {
    std::vector<std::string> known;
    for (const auto& option : options_) {
      if (!option->cli_->get_configurable()) continue;
      if (option->key_ == key) {
        option->from_config_ = option->cli_->count() == 0;
        return;
      }
      known.push_back(option->key_);
    }
    std::string closest = nearest(key, known);
    throw Error(place + " gives " + key + ", which is no option that a file can give" + hint(closest));
  }

  std::string hint(const std::string& closest) const {
    return closest.empty() ? "; " + program_ + " --help lists them" : "; the nearest is " + closest;
  }

  std::vector<std::string> option_names() const {
    std::vector<std::string> names = {"--help", "--version"};
    if (app_.get_config_ptr()) names.push_back("--config");
    for (const auto& option : options_) names.push_back(option->name_);
    return names;
  }

  bool is_option_name(const std::string& word) const {
    std::vector<std::string> names = option_names();
    return word == "--" || (word.rfind("--", 0) == 0 && std::find(names.begin(), names.end(), word) != names.end());
  }

  // CLI11 takes the word after an option as its value even where that word is an option, as in --out --resume.
  void refuse_missing_values(int argc, const char* const* argv) const {
    auto missing = [&](const std::string& name, int i) {
      return argv[i] == name + "=" || (argv[i] == name && (i + 1 == argc || is_option_name(argv[i + 1])));
    };
    for (int i = 1; i < argc && std::string(argv[i]) != "--"; i++) {
      for (const auto& option : options_)
        if (!option->is_flag_ && missing(option->name_, i))
          throw Error(option->name_ + " needs a value: " + option->allowed_);
      if (app_.get_config_ptr() && missing("--config", i)) throw Error("--config needs a value: an existing file");
    }
  }

  void refuse_unknown_words() const {
    for (const std::string& word : app_.remaining()) {
      if (word.rfind('-', 0) != 0) continue;
      std::string name = word.substr(0, word.find('='));
      throw Error(name + " is not an option of " + program_ + hint(nearest(name, option_names())));
    }
    if (!app_.remaining().empty())
      throw Error("'" + app_.remaining().front() + "' belongs to no option of " + program_ + "; options start with --");
  }

  std::string program_;
  CLI::App app_;
  std::vector<std::unique_ptr<Option>> options_;
};

#include "train/command_line.h"

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <new>
#include <sstream>
#include <stdexcept>

#include "train/build_info.h"

namespace {

constexpr size_t kMostShown = 200;  // bytes of a value in a message: most paths are shorter

// Where a program is started without standard input, output or error, the first files that it opens would take their
// numbers, and what it prints would go into them.
void open_standard_streams() {
  int number;
  do number = open("/dev/null", O_RDWR);
  while (0 <= number && number <= STDERR_FILENO);
  if (number >= 0) close(number);
}

}  // namespace

int run_program(const char* name, const std::function<int()>& body) {
  auto complain = [name](const std::string& sentence, int code) {
    std::cout.flush();
    std::cerr << name << ": " << printable(sentence) << std::endl;
    return code;
  };
  open_standard_streams();
  std::signal(SIGXFSZ, SIG_IGN);  // a file above the system's limit is then a write that fails, not the end
  try {
    const int code = body();
    // What is printed may be all that a program makes.
    if (std::cout.flush() && std::fflush(stdout) == 0 && !std::ferror(stdout)) return code;
    return complain("standard output could not be written to its end", std::max(code, 1));
  } catch (const HelpRequest& help) {
    std::cout << help.text << std::flush;
    return 0;
  } catch (const Error& error) {
    return complain(error.what(), 2);
  } catch (const Failure& failure) {
    return complain(failure.what(), 1);
  } catch (const std::filesystem::filesystem_error& error) {  // a name that is too long, a folder that is closed
    return complain("'" + shortened(error.path1().string(), kMostShown) + "' cannot be used: " + error.code().message(),
                    2);
  } catch (const std::bad_alloc&) {
    return complain("the machine has not enough memory for this", 1);
  } catch (const std::exception& error) {
    return complain(std::string("stopped unexpectedly: ") + error.what(), 1);
  }
}

// ---------------------------------------------------------------------------------------------- values and checks

std::string shortest_text(double value) {
  char text[40];
  int digits = std::abs(value) >= 1 && std::abs(value) < 1e15 ? 1 + int(std::log10(std::abs(value))) : 1;
  for (; digits <= 17; digits++) {
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    if (std::strtod(text, nullptr) == value) break;
  }
  return text;
}

std::string shell_word(const std::string& text) {
  const char* plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./+,:@%";
  if (!text.empty() && text.find_first_not_of(plain) == std::string::npos) return text;
  std::string quoted = "'";
  for (char c : text) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

std::string text_of(const std::vector<std::string>& values) {
  std::string text;
  for (const std::string& value : values) text += (text.empty() ? "" : " ") + value;
  return text;
}

namespace {

template <class T>
std::string text_of_numbers(const std::vector<T>& values) {
  std::string text;
  for (const T& value : values) text += (text.empty() ? "" : ",") + text_of(value);
  return text;
}

}  // namespace

std::string text_of(const std::vector<int>& values) { return text_of_numbers(values); }
std::string text_of(const std::vector<double>& values) { return text_of_numbers(values); }

bool read_value(const std::string& text, std::string& value) {
  value = text;
  return true;
}

bool read_value(const std::string& text, bool& value) {
  value = text == "true";
  return value || text == "false";
}

bool read_value(const std::string& text, double& value) {
  if (text.empty() || text.find_first_not_of("0123456789+-.eE") != std::string::npos) return false;
  char* end = nullptr;
  value = std::strtod(text.c_str(), &end);
  return *end == '\0' && std::isfinite(value);
}

namespace {

template <class T>
bool read_integer(const std::string& text, T& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

bool read_value(const std::string& text, int& value) { return read_integer(text, value); }
bool read_value(const std::string& text, int64_t& value) { return read_integer(text, value); }
bool read_value(const std::string& text, uint64_t& value) { return read_integer(text, value); }

namespace {

template <class T>
bool read_numbers(const std::string& text, std::vector<T>& values) {
  std::vector<T> read;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    if (!read_value(text.substr(begin, end - begin), read.emplace_back())) return false;
    begin = end + 1;
  }
  values = read;
  return true;
}

}  // namespace

bool read_value(const std::string& text, std::vector<int>& values) { return read_numbers(text, values); }
bool read_value(const std::string& text, std::vector<double>& values) { return read_numbers(text, values); }

Allowed<double> fraction() {
  return {[](const double& value) { return 0 <= value && value < 1; }, "a number from 0 to below 1"};
}

Allowed<std::string> not_empty() {
  return {[](const std::string& value) { return !value.empty(); }, "not empty"};
}

Allowed<std::string> existing_file() {
  auto test = [](const std::string& path) {
    std::error_code ignored;
    return std::filesystem::exists(path, ignored) && !std::filesystem::is_directory(path, ignored);
  };
  return {test, "an existing file"};
}

Allowed<std::string> one_of(const std::vector<std::string>& names) {
  auto test = [names](const std::string& value) { return std::find(names.begin(), names.end(), value) != names.end(); };
  return {test, list_of(names), names};
}

std::string list_of(const std::vector<std::string>& words, const char* last) {
  std::string text;
  for (size_t i = 0; i < words.size(); i++) text += (i == 0 ? "" : i + 1 == words.size() ? last : ", ") + words[i];
  return text;
}

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  constexpr size_t kLongestTypo = 60;  // the table of distances grows with the word
  if (word.size() > kLongestTypo) return "";
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

Error bad_value(const std::string& where, const std::string& value, const std::string& allowed) {
  return Error(where + " is '" + shortened(value, kMostShown) + "'; it must be " + allowed);
}

// ---------------------------------------------------------------------------------------------- the command line

std::string config_text(const std::string& text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return quoted + '"';
}

namespace {

// What --help calls a value of T.
template <class T>
const char* kind() {
  if (std::is_same_v<T, std::vector<int>> || std::is_same_v<T, std::vector<double>>) return "LIST";
  return std::is_integral_v<T> ? "INTEGER" : std::is_floating_point_v<T> ? "NUMBER" : "TEXT";
}

// CLI11 takes a word "[a,b]" of a list apart. For it no word, and no VALUE of --name=VALUE, starts with that bracket: an
// escape stands before it.
constexpr char kShield = '\x01';

size_t start_of_value(const std::string& word) {
  const size_t equals = word.starts_with("--") ? word.find('=') : word.npos;
  return equals == word.npos ? 0 : equals + 1;
}

std::string shielded(std::string word) {
  const size_t start = start_of_value(word);
  if (start < word.size() && (word[start] == '[' || word[start] == kShield)) word.insert(start, 1, kShield);
  return word;
}

std::string unshielded(std::string word) {
  const size_t start = start_of_value(word);
  if (start < word.size() && word[start] == kShield) word.erase(start, 1);
  return word;
}

std::string times(size_t count) { return count == 2 ? "twice" : std::to_string(count) + " times"; }

}  // namespace

// Reads "name = value" lines for CLI11. Its own reader cuts values at '#' even inside quotes, differs between
// versions and takes the first of two lines in silence.
class CommandLine::IniReader : public CLI::ConfigBase {
 public:
  explicit IniReader(CommandLine& line) : line_(line) {}

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    std::vector<CLI::ConfigItem> items;
    std::map<std::string, int> seen;
    std::istringstream lines(whole(input));
    std::string text;
    for (int number = 1; std::getline(lines, text); number++) {
      std::string place = line_.config_file() + " line " + std::to_string(number);
      CLI::ConfigItem item;
      if (!split_line(text, place, item)) continue;
      line_.note_config_key(item.name, place);
      if (!seen.emplace(item.name, number).second)
        throw Error(place + " gives " + item.name + " again; line " + std::to_string(seen[item.name]) +
                    " has it already");
      items.push_back(item);
    }
    return items;
  }

 private:
  // The file's content; it may be a pipe or a device, which has no size and perhaps no end.
  std::string whole(std::istream& input) const {
    constexpr size_t kMostBytes = 1 << 20;
    std::string content;
    for (int c = input.get(); c != std::istream::traits_type::eof(); c = input.get()) {
      if (content.size() == kMostBytes)
        throw Error("--config '" + line_.config_file() + "' has more than " + std::to_string(kMostBytes) +
                    " bytes; it must be a file of lines name=value");
      content += char(c);
    }
    return content;
  }

  // False for an empty line and a comment. A value is plain words up to a comment, or in quotes as
  // config_text() writes it.
  static bool split_line(const std::string& line, const std::string& place, CLI::ConfigItem& item) {
    const char* blank = " \t\r";
    size_t start = line.find_first_not_of(blank);
    if (start == std::string::npos || line[start] == '#' || line[start] == ';') return false;
    size_t equals = line.find('=');
    if (equals == std::string::npos || equals == start)
      throw Error(place + " is '" + shortened(line.substr(start), kMostShown) + "'; it must be name=value");
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
        throw Error(place + " gives " + shortened(item.name) +
                    " a value with an unclosed or inner quote; write \"...\"");
    } else {
      for (; i < line.size(); i++) {
        if ((line[i] == '#' || line[i] == ';') && (line[i - 1] == ' ' || line[i - 1] == '\t')) break;
        value += line[i];
      }
      value.erase(value.find_last_not_of(blank) + 1);
    }
    item.inputs = {shielded(value)};
    return true;
  }

  CommandLine& line_;
};

CommandLine::Option& CommandLine::Option::required() {
  required_ = true;
  return *this;
}

CommandLine::Option& CommandLine::Option::only_on_command_line() {
  cli_->configurable(false);
  return *this;
}

CommandLine::Option& CommandLine::Option::group(const std::string& heading) {
  cli_->group(heading);
  return *this;
}

CommandLine::Option& CommandLine::Option::default_text(const std::string& text) {
  cli_->default_str(text);
  return *this;
}

CommandLine::CommandLine(const std::string& program, const std::string& purpose)
    : program_(program), app_(std::make_unique<CLI::App>(purpose, program)) {
  app_->set_help_flag("-h,--help", "show this text and stop");
  app_->set_version_flag("--version", program + " of attnorm " + version_text(), "show the version and stop");
  app_->allow_extras();  // unknown options are reported by us, with the nearest known one
}

CommandLine::~CommandLine() = default;

template <class T>
CommandLine::Option& CommandLine::add_option(const std::string& name, const std::string& key, T& value,
                                             const std::string& help, Allowed<T> allowed) {
  options_.push_back(std::make_unique<Option>());
  Option& option = *options_.back();
  option.name_ = name;
  option.key_ = key;
  option.allowed_ = allowed.words;
  option.names_ = allowed.names;
  option.is_flag_ = std::is_same_v<T, bool>;
  option.is_list_ = std::is_same_v<T, std::vector<std::string>>;
  option.cli_ = option.is_flag_ ? app_->add_flag(name) : app_->add_option(name);
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
template CommandLine::Option& CommandLine::add_option(const std::string&, const std::string&, int&, const std::string&,
                                                      Allowed<int>);
template CommandLine::Option& CommandLine::add_option(const std::string&, const std::string&, int64_t&,
                                                      const std::string&, Allowed<int64_t>);
template CommandLine::Option& CommandLine::add_option(const std::string&, const std::string&, uint64_t&,
                                                      const std::string&, Allowed<uint64_t>);
template CommandLine::Option& CommandLine::add_option(const std::string&, const std::string&, double&,
                                                      const std::string&, Allowed<double>);
template CommandLine::Option& CommandLine::add_option(const std::string&, const std::string&, bool&, const std::string&,
                                                      Allowed<bool>);
template CommandLine::Option& CommandLine::add_option(const std::string&, const std::string&, std::string&,
                                                      const std::string&, Allowed<std::string>);
template CommandLine::Option& CommandLine::add_option(const std::string&, const std::string&, std::vector<std::string>&,
                                                      const std::string&, Allowed<std::vector<std::string>>);
template CommandLine::Option& CommandLine::add_option(const std::string&, const std::string&, std::vector<int>&,
                                                      const std::string&, Allowed<std::vector<int>>);
template CommandLine::Option& CommandLine::add_option(const std::string&, const std::string&, std::vector<double>&,
                                                      const std::string&, Allowed<std::vector<double>>);

void CommandLine::add_config() {
  app_->set_config("--config", "",
                   "read options from FILE, one line name=value for each; the command line goes before it");
  app_->get_config_ptr()->type_name("FILE")->take_all();
  app_->allow_config_extras(CLI::config_extras_mode::error);
  app_->config_formatter(std::make_shared<IniReader>(*this));
}

void CommandLine::parse(int argc, const char* const* argv) {
  split(argc, argv);
  assign();
}

void CommandLine::split(int argc, const char* const* argv) {
  refuse_missing_values(argc, argv);
  std::vector<std::string> words;
  for (int i = argc - 1; i > 0; i--) {  // CLI11 takes them from the back, and opens the file of --config
    const std::string word = argv[i];
    const bool config = word.starts_with("--config=") || std::string_view(argv[i - 1]) == "--config";
    words.push_back(config ? word : shielded(word));
  }
  try {
    app_->parse(std::move(words));
  } catch (const CLI::CallForHelp&) {
    throw HelpRequest{app_->help()};
  } catch (const CLI::CallForVersion& version) {
    throw HelpRequest{std::string(version.what()) + "\n"};
  } catch (const CLI::FileError&) {
    throw bad_value("--config", app_->get_config_ptr()->results().back(), "an existing file");
  } catch (const CLI::ParseError& error) {
    throw Error(error.what());
  }
  if (CLI::Option* config = app_->get_config_ptr(); config && config->count() > 1)
    throw Error("--config is given " + times(config->count()) + "; give it once");
  refuse_unknown_words();
  for (const auto& option : options_) {
    if (option->required_ && option->cli_->count() == 0)
      throw Error(option->name_ + " is missing; " + program_ + " needs it");
    if (!option->is_list_ && option->cli_->count() > 1)
      throw Error(where(*option) + " is given " + times(option->cli_->count()) + " ('" +
                  shortened(list_of(words_of(*option), "' and '"), kMostShown) + "'); give it once");
  }
}

void CommandLine::assign() {
  for (const auto& option : options_) {
    if (option->cli_->count() == 0 || option->assign_(words_of(*option))) continue;
    std::string text = text_of(words_of(*option));
    std::string closest = nearest(text, option->names_);
    throw bad_value(where(*option), text, option->allowed_ + (closest.empty() ? "" : "; the nearest is " + closest));
  }
}

bool CommandLine::given(const std::string& name) const { return find(name).cli_->count() > 0; }

bool CommandLine::given_by_config(const std::string& name) const { return find(name).from_config_; }

std::string CommandLine::given_text(const std::string& name) const { return text_of(words_of(find(name))); }

std::vector<std::string> CommandLine::words_of(const Option& option) {
  std::vector<std::string> words = option.cli_->results();
  for (std::string& word : words) word = unshielded(word);
  return words;
}

std::string CommandLine::where(const std::string& name) const { return where(find(name)); }

std::string CommandLine::config_file() const { return app_->get_config_ptr()->results().back(); }

const CommandLine::Option& CommandLine::find(const std::string& key) const {
  for (const auto& option : options_)
    if (option->key_ == key) return *option;
  throw std::logic_error("no option is called " + key);
}

std::string CommandLine::where(const Option& option) const {
  return option.from_config_ ? option.key_ + " in " + config_file() : option.name_;
}

// A key of the config file: refused where unknown, and remembered where the command line does not give it.
void CommandLine::note_config_key(const std::string& key, const std::string& place) {
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
  throw Error(place + " gives " + shortened(key) + ", which is no option that a file can give" + hint(closest));
}

std::string CommandLine::hint(const std::string& closest) const {
  return closest.empty() ? "; " + program_ + " --help lists them" : "; the nearest is " + closest;
}

std::vector<std::string> CommandLine::option_names() const {
  std::vector<std::string> names = {"--help", "--version"};
  if (app_->get_config_ptr()) names.push_back("--config");
  for (const auto& option : options_) names.push_back(option->name_);
  return names;
}

bool CommandLine::is_option_name(const std::string& word) const {
  std::vector<std::string> names = option_names();
  return word == "--" || (word.rfind("--", 0) == 0 && std::find(names.begin(), names.end(), word) != names.end());
}

// CLI11 takes the word after an option as its value even where that word is an option, as in --out --resume.
void CommandLine::refuse_missing_values(int argc, const char* const* argv) const {
  auto missing = [&](const std::string& name, int i) {
    return argv[i] == name + "=" || (argv[i] == name && (i + 1 == argc || is_option_name(argv[i + 1])));
  };
  for (int i = 1; i < argc && std::string(argv[i]) != "--"; i++) {
    for (const auto& option : options_)
      if (!option->is_flag_ && missing(option->name_, i))
        throw Error(option->name_ + " needs a value: " + option->allowed_);
    if (app_->get_config_ptr() && missing("--config", i)) throw Error("--config needs a value: an existing file");
  }
}

void CommandLine::refuse_unknown_words() const {
  for (const std::string& word : app_->remaining()) {
    if (word.rfind('-', 0) != 0) continue;
    std::string name = word.substr(0, word.find('='));
    throw Error(shortened(name, kMostShown) + " is not an option of " + program_ + hint(nearest(name, option_names())));
  }
  if (!app_->remaining().empty())
    throw Error("'" + shortened(unshielded(app_->remaining().front()), kMostShown) + "' belongs to no option of " +
                program_ + "; options start with --");
}

#include "train/experiments/records.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <tuple>

#include "data/atomic_file.h"
#include "data/error.h"
#include "train/command_line.h"

namespace fs = std::filesystem;

namespace {

const char* kResultsHeader =
    "run,group,normalizer,data,variant,lr,seed,steps,tokens,val_loss,test_loss,status,minutes,options_hash,data_hash,"
    "git,"
    "measures,options";
const char* kMeasurementsHeader = "run,quantity,x,y,value";

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> words;
  for (size_t begin = 0; begin <= line.size();) {
    const size_t end = std::min(line.find(',', begin), line.size());
    words.push_back(line.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

// The lines of a file that may be missing, without the header, cut at commas. Error unless it is read to its end: what is
// not read would be written over.
template <class Row>
void read_lines(const std::string& path, const std::string& header, const Row& row) {
  if (!fs::exists(path)) return;
  std::ifstream file(path);
  if (!file) throw Error("'" + path + "' cannot be opened");
  std::string line;
  const size_t columns = split(header).size();
  bool has_header = false;
  for (int number = 1; std::getline(file, line); number++) {
    const std::string where = "'" + path + "' line " + std::to_string(number);
    if (number == 1) {
      if (line != header) throw Error(where + " is '" + line + "'; it must be '" + header + "'");
      has_header = true;
      continue;
    }
    const std::vector<std::string> words = split(line);
    if (words.size() != columns)
      throw Error(where + " has " + std::to_string(words.size()) + " columns; it must have " + std::to_string(columns));
    row(words, where);
  }
  if (file.bad()) throw Error("'" + path + "' cannot be read to its end");
  if (!has_header) throw Error("'" + path + "' is empty; its first line must be '" + header + "'");
}

template <class T>
T value_of(const std::string& word, const std::string& where) {
  T value{};
  if (!read_value(word, value)) throw Error(where + " has '" + word + "', which is not the number that must be there");
  return value;
}
double number_or_missing(const std::string& word, const std::string& where) {
  return word.empty() ? kMissing : value_of<double>(word, where);
}
std::string text_or_missing(double value, int digits) {
  if (!std::isfinite(value)) return "";
  char text[40];
  std::snprintf(text, sizeof text, "%.*g", digits, value);
  return text;
}

// A text as one cell: "4a9b464, then 8a70ca9", of a run that was resumed by another program, keeps its words.
std::string cell(std::string text) {
  std::replace(text.begin(), text.end(), ',', ';');
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

bool is_before(const Measurement& a, const Measurement& b) {
  return std::tie(a.run, a.quantity, a.x, a.y) < std::tie(b.run, b.quantity, b.x, b.y);
}

}  // namespace

std::string ResultRow::measure_hash(const std::string& name) const {
  std::istringstream words(measures);
  for (std::string word; words >> word;)
    if (word.starts_with(name + "=")) return word.substr(name.size() + 1);
  return "";
}

Records::Records(const std::string& folder, const std::string& scale) {
  const std::string end = (scale == "small" ? "" : "-" + scale) + ".csv";
  results_path_ = (fs::path(folder) / ("results" + end)).string();
  measurements_path_ = (fs::path(folder) / ("measurements" + end)).string();
  read_lines(results_path_, kResultsHeader, [&](const std::vector<std::string>& words, const std::string& where) {
    ResultRow row;
    size_t i = 0;
    for (std::string* text : {&row.run, &row.group, &row.normalizer, &row.data, &row.variant}) *text = words[i++];
    row.lr = value_of<double>(words[i++], where);
    row.seed = value_of<uint64_t>(words[i++], where);
    row.steps = value_of<int64_t>(words[i++], where);
    row.tokens = value_of<int64_t>(words[i++], where);
    row.val_loss = number_or_missing(words[i++], where);
    row.test_loss = number_or_missing(words[i++], where);
    row.status = words[i++];
    if (row.status != "done" && row.status != "diverged")
      throw Error(where + " has the status '" + row.status + "'; it must be done or diverged");
    row.minutes = value_of<double>(words[i++], where);
    for (std::string* text : {&row.options_hash, &row.data_hash, &row.git, &row.measures, &row.options})
      *text = words[i++];
    if (find(row.run)) throw Error(where + " repeats the run " + row.run);
    rows_.push_back(row);
  });
  read_lines(measurements_path_, kMeasurementsHeader,
             [&](const std::vector<std::string>& words, const std::string& where) {
               measurements_.push_back({words[0], words[1], value_of<double>(words[2], where),
                                        value_of<double>(words[3], where), number_or_missing(words[4], where)});
             });
  std::sort(measurements_.begin(), measurements_.end(), is_before);
  const auto twice = std::adjacent_find(measurements_.begin(), measurements_.end(),
                                        [](const Measurement& a, const Measurement& b) { return !is_before(a, b); });
  if (twice != measurements_.end())
    throw Error("'" + measurements_path_ + "' has " + twice->quantity + " of " + twice->run +
                " at x = " + text_of(twice->x) + ", y = " + text_of(twice->y) + " twice");
}

const ResultRow* Records::find(const std::string& run) const {
  const auto found = std::find_if(rows_.begin(), rows_.end(), [&](const ResultRow& row) { return row.run == run; });
  return found == rows_.end() ? nullptr : &*found;
}

const ResultRow* Records::find_hash(const std::string& options_hash, const std::string& data_hash) const {
  const auto found = std::find_if(rows_.begin(), rows_.end(), [&](const ResultRow& row) {
    return row.options_hash == options_hash && row.data_hash == data_hash;
  });
  return found == rows_.end() ? nullptr : &*found;
}

std::vector<Measurement> Records::measured(const std::string& run, const std::string& quantity) const {
  std::vector<Measurement> result;
  for (const Measurement& m : measurements_)
    if (m.run == run && m.quantity == quantity) result.push_back(m);
  return result;
}

void Records::add(const ResultRow& row, const std::vector<Measurement>& measurements) {
  std::set<std::string> quantities;
  for (const Measurement& m : measurements) quantities.insert(m.quantity);
  std::erase_if(measurements_, [&](const Measurement& m) { return m.run == row.run && quantities.count(m.quantity); });
  measurements_.insert(measurements_.end(), measurements.begin(), measurements.end());
  std::sort(measurements_.begin(), measurements_.end(), is_before);
  std::erase_if(rows_, [&](const ResultRow& other) { return other.run == row.run; });
  rows_.push_back(row);
  std::sort(rows_.begin(), rows_.end(), [](const ResultRow& a, const ResultRow& b) { return a.run < b.run; });
  write_measurements();
  write_rows();
}

void Records::remove(const std::vector<std::string>& runs) {
  const std::set<std::string> names(runs.begin(), runs.end());
  std::erase_if(rows_, [&](const ResultRow& row) { return names.count(row.run) > 0; });
  std::erase_if(measurements_, [&](const Measurement& m) { return names.count(m.run) > 0; });
  write_rows();
  write_measurements();
}

void Records::write_measurements() const {
  std::string text = std::string(kMeasurementsHeader) + "\n";
  for (const Measurement& m : measurements_)
    text +=
        m.run + "," + m.quantity + "," + text_of(m.x) + "," + text_of(m.y) + "," + text_or_missing(m.value, 6) + "\n";
  write_file_atomically(measurements_path_, text);
}

void Records::write_rows() const {
  std::string text = std::string(kResultsHeader) + "\n";
  for (const ResultRow& row : rows_) {
    for (const std::string* word : {&row.run, &row.group, &row.normalizer, &row.data, &row.variant})
      text += cell(*word) + ",";
    text += text_of(row.lr) + "," + std::to_string(row.seed) + "," + std::to_string(row.steps) + "," +
            std::to_string(row.tokens) + "," + text_or_missing(row.val_loss, 9) + "," +
            text_or_missing(row.test_loss, 9) + "," + row.status + "," + text_or_missing(row.minutes, 3) + ",";
    for (const std::string* word : {&row.options_hash, &row.data_hash, &row.git, &row.measures})
      text += cell(*word) + ",";
    text += cell(row.options) + "\n";
  }
  write_file_atomically(results_path_, text);
}

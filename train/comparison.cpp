#include "train/comparison.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "data/error.h"

namespace {

constexpr std::size_t kSampleCharacters = 200;

// ------------------------------------------------------------------------------------------------ settings

// These say which run it is. Runs of different normalizers and seeds are what compare is for.
bool is_identity(const std::string& setting) {
  static const std::set<std::string> names{"normalizer", "seed", "data-seed", "out"};
  return names.count(setting) > 0;
}

// By design these change no loss: the folder of the data is judged by its hashes, and a preset by the options it sets.
bool is_harmless(const std::string& setting) {
  static const std::set<std::string> names{
      "threads",     "log-every", "eval-every", "attention-every", "checkpoint-every",
      "eval-tokens", "keep",      "config",     "dry-run",         "resume",
      "preset",      "data",      "text",       "checkpoint-sync"};
  return names.count(setting) > 0;
}

std::string setting_of(const Run& run, const std::string& name) {
  const auto found = run.settings.find(name);
  if (found == run.settings.end()) return "not recorded";
  return found->second.empty() ? "none" : found->second;
}

// "runs/a, runs/b and 4 more"
std::string list_of_runs(const std::vector<const Run*>& runs) {
  constexpr std::size_t kNamed = 3;
  std::string text;
  for (std::size_t i = 0; i < std::min(kNamed, runs.size()); i++) text += (i ? ", " : "") + runs[i]->path;
  if (runs.size() > kNamed) text += " and " + std::to_string(runs.size() - kNamed) + " more";
  return text;
}

std::set<std::string> setting_names(const std::vector<const Run*>& runs) {
  std::set<std::string> names;
  for (const Run* run : runs)
    for (const auto& [name, value] : run->settings)
      if (!is_identity(name)) names.insert(name);
  return names;
}

std::vector<SettingDifference> find_differences(const std::vector<const Run*>& runs) {
  std::vector<SettingDifference> differences;
  for (const std::string& name : setting_names(runs)) {
    std::map<std::string, std::vector<const Run*>> by_value;
    for (const Run* run : runs) by_value[setting_of(*run, name)].push_back(run);
    if (by_value.size() == 1) continue;
    std::string text = name + ":";
    for (const auto& [value, holders] : by_value)
      text += (text.back() == ':' ? " " : "; ") + value + " in " + list_of_runs(holders);
    differences.push_back({name, is_harmless(name), text});
  }
  return differences;
}

void refuse_different_data(const std::vector<Run>& runs) {
  std::map<std::string, const Run*> first;  // by file name: a run to compare the next ones with
  for (const Run& run : runs)
    for (const auto& [file, hash] : run.data_hashes) {
      const Run& other = *first.emplace(file, &run).first->second;
      const std::string& expected = other.data_hashes.at(file);
      if (hash != expected)
        throw Error(other.path + " and " + run.path + " were trained on different data: " + file + " has SHA-256 " +
                    expected.substr(0, 12) + " and " + hash.substr(0, 12) + "; runs can be compared on the same data");
    }
}

// ------------------------------------------------------------------------------------------------ groups

std::pair<std::string, std::string> seeds_of(const Run& run) { return {run.seed, run.data_seed}; }

bool same_results_expected(const Run& a, const Run& b) {
  for (const std::string& name : setting_names({&a, &b}))
    if (!is_harmless(name) && setting_of(a, name) != setting_of(b, name)) return false;
  return a.normalizer == b.normalizer && seeds_of(a) == seeds_of(b);
}

// Two runs with the same normalizer, seeds and options are one observation: the second is dropped, with a note.
void drop_repetitions(std::vector<Run>& runs, std::vector<std::string>& notes) {
  std::stable_sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) {
    return (a.state == RunState::kFinished) > (b.state == RunState::kFinished);  // the better record is kept
  });
  std::vector<Run> kept;
  for (Run& run : runs) {
    const auto first =
        std::find_if(kept.begin(), kept.end(), [&](const Run& other) { return same_results_expected(other, run); });
    if (first == kept.end()) {
      kept.push_back(std::move(run));
      continue;
    }
    std::string note = run.path + " repeats " + first->path + " (same normalizer, seed and options) and is left out";
    const EvalRecord *a = first->final_evaluation(), *b = run.final_evaluation();
    if (a && b)
      note += a->loss == b->loss ? "; their final losses are equal to the last bit"
                                 : "; their final losses differ by " + fixed_text(std::abs(a->loss - b->loss), 6);
    notes.push_back(note);
  }
  runs = std::move(kept);
}

// What tells the groups of one normalizer apart: nothing, unless seeds collide; then every option that differs.
std::vector<std::string> distinguishing_settings(const std::vector<const Run*>& runs) {
  std::set<std::pair<std::string, std::string>> seeds;
  for (const Run* run : runs) seeds.insert(seeds_of(*run));
  std::vector<std::string> names;
  if (seeds.size() == runs.size()) return names;
  for (const SettingDifference& difference : find_differences(runs))
    if (!difference.harmless) names.push_back(difference.name);
  return names;
}

bool by_seed(const Run& a, const Run& b) {
  auto key = [](const Run& run) {  // numbers in numeric order
    return std::make_tuple(run.seed.size(), run.seed, run.data_seed.size(), run.data_seed);
  };
  return key(a) < key(b);
}

std::vector<Group> make_groups(const std::vector<Run>& runs) {
  std::map<std::string, std::vector<const Run*>> by_normalizer;
  for (const Run& run : runs) by_normalizer[run.normalizer].push_back(&run);
  std::vector<Group> groups;
  for (const auto& [normalizer, members] : by_normalizer) {
    const std::vector<std::string> settings = distinguishing_settings(members);
    std::map<std::string, Group> by_label;
    for (const Run* run : members) {
      std::string label = normalizer;
      for (const std::string& name : settings) label += " " + name + "=" + setting_of(*run, name);
      Group& group = by_label[label];
      group.label = label;
      group.normalizer = normalizer;
      group.runs.push_back(*run);
    }
    for (auto& [label, group] : by_label) {
      std::sort(group.runs.begin(), group.runs.end(), by_seed);
      groups.push_back(std::move(group));
    }
  }
  return groups;
}

void summarize(Group& group) {
  std::vector<double> losses, bits, speeds, minutes;
  for (const Run& run : group.runs) {
    const EvalRecord* last = run.final_evaluation();
    if (!last) continue;
    losses.push_back(last->loss);
    if (std::isfinite(last->bits_per_byte)) bits.push_back(last->bits_per_byte);
    if (std::isfinite(run.tokens_per_s)) speeds.push_back(run.tokens_per_s);
    if (std::isfinite(run.seconds)) minutes.push_back(run.seconds / 60);
    group.peak_bytes = std::fmax(group.peak_bytes, run.peak_bytes);  // fmax passes over NaN
    if (group.sample.empty()) group.sample = run.sample;
  }
  group.loss = estimate(losses);
  if (bits.size() == losses.size()) group.bits_per_byte = estimate(bits);
  group.tokens_per_s = estimate(speeds).mean;
  group.minutes = estimate(minutes).mean;
}

// Common seeds of two groups, as pairs of runs.
std::vector<std::pair<const Run*, const Run*>> common_seeds(const Group& a, const Group& b) {
  std::vector<std::pair<const Run*, const Run*>> pairs;
  for (const Run& run : a.runs)
    for (const Run& other : b.runs)
      if (seeds_of(run) == seeds_of(other)) pairs.push_back({&run, &other});
  return pairs;
}

void subtract_baseline(Group& group, const Group& baseline) {
  std::vector<double> ours, theirs;
  for (const auto& [a, b] : common_seeds(group, baseline))
    if (a->final_evaluation() && b->final_evaluation()) {
      ours.push_back(a->final_evaluation()->loss);
      theirs.push_back(b->final_evaluation()->loss);
    }
  group.pairs = ours.size();
  group.difference = paired_difference(ours, theirs);
  if (group.pairs == 0) group.difference.mean = group.loss.mean - baseline.loss.mean;
}

int smoothing_window(const std::vector<Group>& groups) {
  std::size_t longest = 0;
  for (const Group& group : groups)
    for (const Run& run : group.runs) longest = std::max(longest, run.steps.size());
  return 1 + 2 * static_cast<int>(longest / 60);  // a thirtieth of the run, odd
}

}  // namespace

Comparison compare_runs(std::vector<Run> runs, const std::string& baseline, bool baseline_required) {
  refuse_different_data(runs);
  Comparison result;
  drop_repetitions(runs, result.notes);
  std::vector<const Run*> pointers;
  for (const Run& run : runs) pointers.push_back(&run);
  result.differences = find_differences(pointers);
  result.groups = make_groups(runs);
  result.smoothing = smoothing_window(result.groups);

  for (Group& group : result.groups) summarize(group);
  auto is_baseline = [&](const Group& group) { return group.label == baseline || group.normalizer == baseline; };
  auto worse = [&](const Group& a, const Group& b) {
    auto key = [&](const Group& group) {
      return std::make_tuple(!is_baseline(group), std::isnan(group.loss.mean),
                             std::isnan(group.loss.mean) ? 0.0 : group.loss.mean, group.label);
    };
    return key(a) < key(b);
  };
  std::sort(result.groups.begin(), result.groups.end(), worse);

  result.has_baseline = !result.groups.empty() && is_baseline(result.groups.front());
  if (!result.has_baseline && baseline_required) {
    std::string present;
    for (const Group& group : result.groups) present += (present.empty() ? "" : ", ") + group.label;
    throw Error("--baseline is '" + baseline + "'; the runs given have " + present);
  }
  if (result.has_baseline)
    for (std::size_t i = 1; i < result.groups.size(); i++) subtract_baseline(result.groups[i], result.groups.front());
  return result;
}

// ------------------------------------------------------------------------------------------------ curves

std::vector<double> running_mean(const std::vector<double>& values, int window) {
  const std::ptrdiff_t n = static_cast<std::ptrdiff_t>(values.size()), half = window / 2;
  // A tree of sums, for the window grows with the run: node i is the sum of 2i and 2i + 1, the leaves start at n.
  struct Sum {
    double value = 0;
    std::ptrdiff_t count = 0;
    void operator+=(const Sum& other) { value += other.value, count += other.count; }
  };
  std::vector<Sum> tree(2 * n);
  for (std::ptrdiff_t i = 0; i < n; i++)
    if (std::isfinite(values[i])) tree[n + i] = {values[i], 1};
  for (std::ptrdiff_t i = n - 1; i > 0; i--) tree[i] = tree[2 * i], tree[i] += tree[2 * i + 1];

  std::vector<double> means(n);
  for (std::ptrdiff_t i = 0; i < n; i++) {
    Sum sum;
    std::ptrdiff_t begin = n + i - std::min(i, half), end = n + i + std::min(n - 1 - i, std::min(i, half)) + 1;
    for (; begin < end; begin /= 2, end /= 2) {
      if (begin % 2 == 1) sum += tree[begin++];
      if (end % 2 == 1) sum += tree[--end];
    }
    means[i] = sum.count > 0 ? sum.value / static_cast<double>(sum.count) : Run::kUnknown;
  }
  return means;
}

namespace {

using Values = std::map<std::int64_t, double>;  // loss by step

Values smoothed_training(const Run& run, int smoothing) {
  std::vector<double> losses;
  for (const StepRecord& record : run.steps) losses.push_back(record.loss);
  const std::vector<double> means = running_mean(losses, smoothing);
  Values values;
  for (std::size_t i = 0; i < means.size(); i++) values[run.steps[i].step] = means[i];
  return values;
}

// The evaluations on as many tokens as the first one; the last, on the whole split, is often on more.
Values validation(const Run& run) {
  Values values;
  std::optional<std::int64_t> evaluated;
  for (const EvalRecord& record : run.evals) {
    if (record.split != "val") continue;
    if (!evaluated) evaluated = record.evaluated;
    if (record.evaluated == *evaluated) values[record.step] = record.loss;
  }
  return values;
}

// What is known at every run's steps alike: the estimate over runs.
Curve average(const std::vector<Values>& runs, std::int64_t tokens_per_update) {
  Curve curve;
  if (runs.empty()) return curve;
  for (const auto& [step, ignored] : runs.front()) {
    std::vector<double> values;
    for (const Values& run : runs)
      if (const auto found = run.find(step); found != run.end() && std::isfinite(found->second))
        values.push_back(found->second);
    if (values.size() == runs.size())
      curve.push_back({step, static_cast<double>(step) * static_cast<double>(tokens_per_update), estimate(values)});
  }
  return curve;
}

std::vector<const Run*> runs_to_draw(const Group& group) {
  std::vector<const Run*> all, finished;
  for (const Run& run : group.runs) {
    all.push_back(&run);
    if (run.final_evaluation()) finished.push_back(&run);
  }
  return finished.empty() ? all : finished;
}

template <class F>
Curve average_of(const Group& group, F values_of) {
  std::vector<Values> values;
  for (const Run* run : runs_to_draw(group)) values.push_back(values_of(*run));
  return average(values, group.runs.front().tokens_per_update);
}

}  // namespace

Curve training_curve(const Group& group, int smoothing) {
  return average_of(group, [&](const Run& run) { return smoothed_training(run, smoothing); });
}

Curve validation_curve(const Group& group) { return average_of(group, validation); }

Curve difference_curve(const Group& group, const Group& baseline) {
  const std::vector<const Run*> ours = runs_to_draw(group), theirs = runs_to_draw(baseline);
  auto among = [](const std::vector<const Run*>& runs, const Run* run) {
    return std::find(runs.begin(), runs.end(), run) != runs.end();
  };
  auto subtract = [](const Values& a, const Values& b) {
    Values values;
    for (const auto& [step, loss] : a)
      if (const auto found = b.find(step); found != b.end()) values[step] = loss - found->second;
    return values;
  };
  const std::int64_t tokens_per_update = group.runs.front().tokens_per_update;
  std::vector<Values> differences;
  for (const auto& [a, b] : common_seeds(group, baseline))
    if (among(ours, a) && among(theirs, b)) differences.push_back(subtract(validation(*a), validation(*b)));
  if (!differences.empty()) return average(differences, tokens_per_update);

  auto means = [](const Curve& curve) {
    Values values;
    for (const CurvePoint& point : curve) values[point.step] = point.loss.mean;
    return values;
  };
  return average({subtract(means(validation_curve(group)), means(validation_curve(baseline)))}, tokens_per_update);
}

// ------------------------------------------------------------------------------------------------ texts

std::string fixed_text(double value, int decimals) {
  if (std::isnan(value)) return "-";
  std::array<char, 400> text;  // the largest double has 309 digits
  std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  return text.data();
}

std::string signed_text(double value, int decimals) {
  if (std::isnan(value)) return "-";
  const std::string digits = fixed_text(std::abs(value), decimals);
  if (digits.find_first_not_of("0.") == std::string::npos) return digits;  // no sign on a rounded zero
  return (value < 0 ? "\u2212" : "+") + digits;
}

namespace {

// Columns on a terminal: characters that continue a UTF-8 sequence take none.
std::size_t width_of(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](unsigned char byte) { return (byte & 0xC0) != 0x80; });
}

// Rows of cells as aligned columns, the first to the left and the others to the right.
std::string align(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); i++) widths[i] = std::max(widths[i], width_of(row[i]));
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); i++) {
      const std::string blanks(widths[i] - width_of(row[i]), ' ');
      text += i == 0 ? row[i] + blanks : "  " + blanks + row[i];
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

bool any_interval(const std::vector<Group>& groups) {
  return std::any_of(groups.begin(), groups.end(), [](const Group& group) { return group.loss.has_interval(); });
}

std::string half_width_text(const Estimate& value) {
  return value.has_interval() ? "\u00B1" + fixed_text(value.half_width, 4) : "-";
}

}  // namespace

std::string table_text(const Comparison& comparison) {
  const bool intervals = any_interval(comparison.groups);
  std::vector<std::vector<std::string>> rows(2);
  auto column = [&](const std::string& first, const std::string& second) {
    rows[0].push_back(first);
    rows[1].push_back(second);
  };
  column("normalizer", "");
  column("runs", "");
  column("val loss", "[nats]");
  if (intervals) column("95 %", "interval");
  column("bits/byte", "");
  if (comparison.has_baseline) column("difference from", comparison.groups.front().label + " [nats]");
  if (comparison.has_baseline && intervals) column("95 %", "interval");
  column("tokens/s", "");
  column("peak memory", "[MiB]");
  column("minutes", "");

  for (const Group& group : comparison.groups) {
    const std::size_t all = group.runs.size();
    std::vector<std::string> row{group.label, std::to_string(group.loss.count)};
    if (group.loss.count < all) row.back() += " of " + std::to_string(all);
    row.push_back(fixed_text(group.loss.mean, 4));
    if (intervals) row.push_back(half_width_text(group.loss));
    row.push_back(fixed_text(group.bits_per_byte.mean, 4));
    if (comparison.has_baseline) row.push_back(signed_text(group.difference.mean, 4));
    if (comparison.has_baseline && intervals) row.push_back(half_width_text(group.difference));
    row.push_back(fixed_text(group.tokens_per_s, 0));
    row.push_back(fixed_text(group.peak_bytes / (1 << 20), 0));
    row.push_back(fixed_text(group.minutes, 1));
    rows.push_back(row);
  }
  return align(rows);
}

std::string remarks_text(const Comparison& comparison) {
  std::string text;
  std::set<std::int64_t> evaluated;
  bool without_hashes = false;
  for (const Group& group : comparison.groups)
    for (const Run& run : group.runs) {
      if (run.state != RunState::kFinished)
        text += run.path + ": " + run.state_text() + "; not in the averages.\n";
      else if (!run.final_evaluation())
        text += run.path + ": finished without a finite validation loss at its last step; not in the averages.\n";
      else
        evaluated.insert(run.final_evaluation()->evaluated);
      for (const std::string& note : run.notes) text += run.path + ": " + note + ".\n";
      without_hashes |= run.data_hashes.empty();
    }
  for (const std::string& note : comparison.notes) text += note + ".\n";
  if (evaluated.size() > 1)
    text += "The final validation losses cover different numbers of tokens: do not compare them.\n";
  if (without_hashes) text += "Some runs record no SHA-256 of their data: nobody checks that it is the same.\n";
  if (!comparison.has_baseline) text += "No run of the baseline is given: no differences are shown.\n";

  std::string effective, harmless;
  for (const SettingDifference& difference : comparison.differences)
    (difference.harmless ? harmless : effective) += "  " + difference.text + "\n";
  if (!effective.empty())
    text +=
        "The runs differ in more than normalizer and seed; the losses may differ for these reasons too:\n" + effective;
  if (!harmless.empty()) text += "Different too, without effect on the losses:\n" + harmless;
  return text;
}

namespace {

// The first characters of a text, its lines indented.
std::string excerpt(std::string_view text) {
  std::size_t end = 0, characters = 0;
  for (; end < text.size(); end++)
    if ((text[end] & 0xC0) != 0x80 && ++characters > kSampleCharacters) break;  // a character of UTF-8 starts
  std::string result;
  for (std::size_t i = 0; i < end;) {
    const std::size_t line = std::min(text.find('\n', i), end);
    result += printable(text.substr(i, line - i));
    if (line < end) result += "\n  ";
    i = line + 1;
  }
  return end < text.size() ? result + " ..." : result;
}

// Whether a setting is the same in all runs.
bool all_share(const Comparison& comparison, const std::string& name) {
  return std::none_of(comparison.differences.begin(), comparison.differences.end(),
                      [&](const SettingDifference& difference) { return difference.name == name; });
}

}  // namespace

std::string samples_text(const Comparison& comparison) {
  std::string text;
  for (const Group& group : comparison.groups)
    if (!group.sample.empty()) text += group.label + " writes:\n  " + excerpt(group.sample) + "\n\n";
  return text;
}

std::string promises_text(const Comparison& comparison) {
  std::string single, unpaired, text;
  std::size_t compared = 0, with_interval = 0;
  for (const Group& group : comparison.groups) {
    if (std::isnan(group.difference.mean)) continue;
    compared++;
    with_interval += group.difference.has_interval();
    if (group.pairs == 1) single += (single.empty() ? "" : ", ") + group.label;
    if (group.pairs == 0) unpaired += (unpaired.empty() ? "" : ", ") + group.label;
  }
  const std::size_t without = compared - with_interval;
  if (!single.empty())
    text += "one seed: the difference has no error bar" + (without < compared ? " (" + single + ")" : "") + "\n";
  if (!unpaired.empty())
    text +=
        "no common seed with the baseline: the difference is one of means and has no error bar (" + unpaired + ")\n";
  if (with_interval > 0)
    text += "intervals: 95 %, Student's t over seeds; differences are paired by seed (same start, same batches)\n";
  if (with_interval >= 5)
    text += "with " + std::to_string(with_interval) +
            " intervals of 95 %, expect one in twenty to miss the true difference by chance\n";

  std::string different;
  for (const char* name : {"version", "git", "compiler", "simd", "device", "precision", "tf32"})
    if (!all_share(comparison, name)) different += (different.empty() ? "" : ", ") + std::string(name);
  const std::string git = setting_of(comparison.groups.front().runs.front(), "git");
  if (!different.empty())
    text += "reproducibility: runs differ in " + different +
            "; equal options give losses that agree up to rounding, which training amplifies, not equal bits\n";
  else if (git.find("dirty") != std::string::npos || git == "unknown" || git == "not recorded")
    text += "reproducibility: same compiler, vectors and device, but the source is not known exactly (git: " + git +
            "); equal bits cannot be promised\n";
  else
    text +=
        "reproducibility: same source, compiler, vectors and device; the same options give the same bits on the same "
        "kind of processor\n";
  return text;
}

// ------------------------------------------------------------------------------------------------ CSV

namespace {

std::string csv_number(double value) {  // shortest text that reads back exactly; empty where not finite
  if (!std::isfinite(value)) return "";
  std::array<char, 32> text;
  return std::string(text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr);
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char letter : text) quoted += letter == '"' ? "\"\"" : std::string(1, letter);
  return quoted + "\"";
}

}  // namespace

std::string csv_text(const Comparison& comparison) {
  std::string text =
      "normalizer,seed,data_seed,run,step,tokens,kind,loss,smoothed_loss,bits_per_byte,evaluated_tokens\n";
  for (const Group& group : comparison.groups)
    for (const Run& run : group.runs) {
      const std::string who = csv_field(run.normalizer) + "," + csv_field(run.seed) + "," + csv_field(run.data_seed) +
                              "," + csv_field(run.path) + ",";
      const Values smoothed = smoothed_training(run, comparison.smoothing);
      for (const StepRecord& record : run.steps)
        text += who + std::to_string(record.step) + "," + csv_number(record.tokens) + ",train," +
                csv_number(record.loss) + "," + csv_number(smoothed.at(record.step)) + ",,\n";
      for (const EvalRecord& record : run.evals)
        text += who + std::to_string(record.step) + "," + csv_number(run.tokens_at(record.step)) + "," +
                csv_field(record.split) + "," + csv_number(record.loss) + ",," + csv_number(record.bits_per_byte) +
                "," + std::to_string(record.evaluated) + "\n";
    }
  return text;
}

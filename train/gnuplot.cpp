#include "train/gnuplot.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "data/error.h"
#include "train/command_line.h"

namespace {

// Dashes and point shapes repeat after 4 and 11, and neighbours differ in grey too.
constexpr const char* kColours[] = {"0072B2", "D55E00", "009E73", "CC79A7", "56B4E9", "E69F00"};
constexpr const char* kDashes[] = {"solid", "(8,4)", "(3,3)", "(10,3,2,3)"};
constexpr int kPoints[] = {7, 5, 9, 11, 13, 6, 4, 8, 10, 12, 2};  // filled shapes first

}  // namespace

LineStyle line_style(std::size_t number) {
  return {number == 0 ? "000000" : kColours[(number - 1) % std::size(kColours)], kDashes[number % std::size(kDashes)],
          kPoints[number % std::size(kPoints)]};
}

std::string line_colour(const LineStyle& style, const char* transparency) {
  return " lc rgb '#" + std::string(transparency) + style.colour + "'";
}

std::string gnuplot_number(double value) {
  if (!std::isfinite(value)) return "NaN";
  std::ostringstream text;
  text.precision(10);
  text << value;
  return text.str();
}

std::string gnuplot_range(double low, double high) {
  return "[" + gnuplot_number(low) + ":" + gnuplot_number(high) + "]";
}

std::string gnuplot_text(const std::string& text) {
  std::string result = "'";
  for (char letter : text) result += letter == '\'' ? "''" : std::string(1, letter);
  return result + "'";
}

std::string data_block(const std::string& name, const std::string& rows) {
  return "$" + name + " << EOD\n" + rows + "EOD\n";
}

std::string plot_command(const std::vector<std::string>& elements) {
  std::string text = "plot ";
  for (std::size_t i = 0; i < elements.size(); i++) text += (i ? ", \\\n     " : "") + elements[i];
  return text + "\n";
}

std::string Picture::begin(const std::string& terminal) const {
  return "set encoding utf8\nset minussign\nset terminal " + terminal + " size " + std::to_string(width) + "," +
         std::to_string(height) +
         " noenhanced font 'Helvetica,13' background rgb 'white'\nset datafile missing 'NaN'\n"
         "set border 3 lw 1 lc rgb '#444444'\nset tics nomirror out\nset grid lc rgb '#DDDDDD' lw 0.6 dt solid\n";
}

std::string Picture::panel(int left, int top, int right, int bottom) const {
  auto side = [](const char* name, double part) {
    return std::string("set ") + name + " at screen " + gnuplot_number(part) + "\n";
  };
  return side("tmargin", 1 - double(top) / height) + side("bmargin", 1 - double(bottom) / height) +
         side("lmargin", double(left) / width) + side("rmargin", double(right) / width);
}

std::string Picture::legend(int left, int top) const {
  return "set key at screen " + gnuplot_number(double(left) / width) + ", screen " +
         gnuplot_number(1 - double(top) / height) + " left top Left reverse vertical maxcols 1\n";
}

// ---------------------------------------------------------------------------------------------- running it

namespace {

// An empty file of its own, removed at the end.
struct TemporaryFile {
  std::string path = (std::filesystem::temp_directory_path() / "attnorm-plot-XXXXXX").string();
  TemporaryFile() {
    const int file = mkstemp(path.data());
    if (file < 0) throw Failure("no temporary file can be made in " + std::filesystem::temp_directory_path().string());
    close(file);
  }
  ~TemporaryFile() { unlink(path.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
};

}  // namespace

void check_picture_name(const std::string& path) {
  if (!path.ends_with(".svg") && !path.ends_with(".png"))
    throw Error("--out is '" + path + "'; it must end in .svg or .png");
}

std::string terminal_for(const std::string& path) {
  check_picture_name(path);
  return path.ends_with(".svg") ? "svg" : "pngcairo";
}

std::optional<std::string> run_gnuplot(const std::string& script) {
  const TemporaryFile script_file, error_file;
  if (!(std::ofstream(script_file.path) << script).flush())
    throw Failure("'" + script_file.path + "' cannot be written");
  const std::string command =
      "gnuplot " + shell_word(script_file.path) + " 2> " + shell_word(error_file.path) + " < /dev/null";
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) throw Failure("no shell can be started for gnuplot");
  std::string output;
  char buffer[1 << 16];
  for (std::size_t count; (count = fread(buffer, 1, sizeof buffer, pipe)) > 0;) output.append(buffer, count);
  const int status = pclose(pipe);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) return std::nullopt;  // the shell's "command not found"
  if (status != 0 || output.empty()) {
    std::ifstream errors(error_file.path);
    std::string line, last = "no message";
    while (std::getline(errors, line))
      if (line.find_first_not_of(" ^\t") != std::string::npos) last = line;
    throw Failure("gnuplot failed: " + last);
  }
  return output;
}

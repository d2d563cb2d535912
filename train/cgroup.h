// Where Linux keeps the limits of the container or service that this process runs in. Every path is read below `root`,
// which is "" on a machine and a folder with made-up files in the tests.
#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

// The whole of a small file, "" where there is none.
inline std::string text_of_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// The folders that may limit this process through `controller` ("cpu", "memory"): its own cgroup and all above it, of
// version 2 and version 1. In a container /proc/self/cgroup may name a path of the host; then only the last, the mount
// point itself, exists.
inline std::vector<std::string> cgroup_folders(const std::string& controller, const std::string& root) {
  std::vector<std::string> folders;
  std::istringstream lines(text_of_file(root + "/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {  // "4:cpu,cpuacct:/a/b" (version 1) or "0::/a/b" (version 2)
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string controllers = ",";
    controllers.append(line, first + 1, second - first - 1).append(",");
    bool version_2 = controllers == ",,";
    if (!version_2 && controllers.find("," + controller + ",") == std::string::npos) continue;
    std::string mount = root + "/sys/fs/cgroup" + (version_2 ? "" : "/" + controller);
    std::filesystem::path path = std::filesystem::path(line.substr(second + 1)).lexically_normal();
    for (; path.has_relative_path(); path = path.parent_path()) folders.push_back(mount + path.string());
    folders.push_back(mount);
  }
  return folders;
}

#include "train/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "data/error.h"

namespace {

// Whether `path` still leads to the opened file: its former owner may have removed it between open and lock.
bool is_at(const FileDescriptor& file, const std::string& path) {
  struct stat opened {
  }, found{};
  return fstat(file.number(), &opened) == 0 && stat(path.c_str(), &found) == 0 && opened.st_dev == found.st_dev &&
         opened.st_ino == found.st_ino;
}

// "1234 on fox", as the owner wrote it; it may not have done so yet.
std::string owner(const std::string& path) {
  std::string line;
  std::ifstream file(path);
  return std::getline(file, line) && line.size() < 200 ? "process " + line : "another process";
}

std::string this_process() {
  char host[128] = "";
  gethostname(host, sizeof host - 1);
  return std::to_string(getpid()) + " on " + host + "\n";
}

}  // namespace

FolderLock::FolderLock(const std::string& folder, const std::string& option)
    : path_((std::filesystem::path(folder) / "lock").string()) {
  auto fail = [&] { throw Failure("'" + path_ + "' cannot be written: " + std::strerror(errno)); };
  do {
    file_ = FileDescriptor(open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    if (!file_) fail();
    if (flock(file_.number(), LOCK_EX | LOCK_NB) == 0) continue;
    if (errno == EWOULDBLOCK)
      throw Error((option.empty() ? "" : option + " ") + "'" + folder + "' is in use by " + owner(path_) +
                  "; wait until it ends" + (option.empty() ? "" : ", or give another folder"));
    if (errno != ENOLCK && errno != ENOTSUP && errno != ENOSYS) fail();
  } while (!is_at(file_, path_));
  const std::string text = this_process();
  if (ftruncate(file_.number(), 0) != 0 || !write_all(file_, text.data(), text.size())) {
    const int reason = errno;
    unlink(path_.c_str());
    errno = reason;
    fail();
  }
}

FolderLock::~FolderLock() { unlink(path_.c_str()); }

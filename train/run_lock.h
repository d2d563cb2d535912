// One process at a time may train in a run folder. RUN/lock is locked for as long as the process lives, whatever ends it,
// and says who holds it; the file of a process that was killed is left behind and does no harm.
#pragma once

#include <string>

#include "data/file_descriptor.h"

class RunLock {
 public:
  // Error, with the process that holds the lock, where there is one; Failure where the disk refuses. On a file system
  // without locks the run goes unlocked.
  explicit RunLock(const std::string& run);
  ~RunLock();  // removes the file
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  std::string path_;
  FileDescriptor file_;
};

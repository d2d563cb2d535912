// One process at a time may write in a folder: train in its run, reproduce in the folder of an experiment. FOLDER/lock is
// locked for as long as the process lives, whatever ends it, and says who holds it; the file of a process that was killed is
// left behind and does no harm.
#pragma once

#include <string>

#include "data/file_descriptor.h"

class FolderLock {
 public:
  // Error, with the process that holds the lock, where there is one, and with the option that named the folder, if any did;
  // Failure where the disk refuses. On a file system without locks the folder stays unlocked.
  explicit FolderLock(const std::string& folder, const std::string& option = "");
  ~FolderLock();  // removes the file
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  std::string path_;
  FileDescriptor file_;
};

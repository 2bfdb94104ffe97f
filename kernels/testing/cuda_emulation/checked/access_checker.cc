#include "kernels/testing/cuda_emulation/checked/access_checker.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <sstream>
#include <vector>

#include "kernels/testing/cuda_emulation/blocks.h"
#include "kernels/testing/cuda_emulation/checks.h"

// Defined by the linker: the bounds of the section that holds threadIdx and the like.
extern const char __start_cuda_registers[], __stop_cuda_registers[];

namespace cuda_emulation::checks {
namespace {

// Which thread made an access and when: the epochs count how often, before it, all threads of the block had
// synchronized and the thread had synchronized with others of its warp.
struct Access {
  uint64_t exists : 1, is_atomic : 1, thread : 10, warp_epoch : 14, block_epoch : 14, block : 24;
};
constexpr unsigned kMostEpochs = 1 << 14, kMostBlocks = 1 << 24;

// The accesses of a byte since the kernel started. Two reads by different warps suffice: any write that conflicts with
// a third read also conflicts with one of them.
struct Byte {
  Access write, reads[2];
};
constexpr size_t kPage = 4096;

// A piece of memory. The history of its bytes is in pages that are allocated when first touched.
struct Region {
  uintptr_t begin = 0, end = 0;
  bool is_shared = false;  // each block has its own, at the same address
  Byte* bytes = nullptr;
  std::vector<size_t> touched;  // pages
  std::vector<bool> is_touched;

  Region(uintptr_t begin, size_t nbytes, bool is_shared)
      : begin(begin), end(begin + nbytes), is_shared(is_shared), is_touched(nbytes / kPage + 1) {
    bytes = static_cast<Byte*>(
        mmap(nullptr, history_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (bytes == MAP_FAILED) report("no address space left for the history of memory", nullptr);
  }
  Region(const Region&) = delete;
  ~Region() { munmap(bytes, history_size()); }

  size_t history_size() const { return (end - begin) * sizeof(Byte); }

  Byte* history(uintptr_t address, size_t nbytes) {
    for (size_t page = (address - begin) / kPage; page <= (address + nbytes - 1 - begin) / kPage; ++page)
      if (!is_touched[page]) {
        is_touched[page] = true;
        touched.push_back(page);
      }
    return bytes + (address - begin);
  }

  void forget() {
    for (size_t page : touched) {
      const size_t first = page * kPage, last = std::min(first + kPage, static_cast<size_t>(end - begin));
      std::fill(bytes + first, bytes + last, Byte{});
      is_touched[page] = false;
    }
    touched.clear();
  }
};

struct Range {
  uintptr_t begin, end;
  bool contains(uintptr_t address, size_t nbytes) const { return address >= begin && address + nbytes <= end; }
};

uintptr_t number(const void* address) { return reinterpret_cast<uintptr_t>(address); }

// Memory regions

std::map<uintptr_t, Region>& regions() {
  static auto* all = new std::map<uintptr_t, Region>;
  return *all;
}
Region* recent[4] = {};        // the last ones found, in no order
unsigned oldest = 0;           // among them
std::vector<Range> constants;  // of the program or module that contains this file

// Finds the module's variables, which emulate shared memory, and its constants.
void find_segments() {
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void*) {
        std::vector<Range> readable, writable;
        bool is_this = false;
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& segment = info->dlpi_phdr[i];
          if (segment.p_type != PT_LOAD) continue;
          const uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
          const Range range{begin, begin + segment.p_memsz};
          (segment.p_flags & PF_W ? writable : readable).push_back(range);
          is_this |= range.contains(number(__start_cuda_registers), 1);
        }
        if (!is_this) return 0;
        constants = readable;
        for (const Range& range : writable)
          regions().try_emplace(range.begin, range.begin, range.end - range.begin, true);
        return 1;
      },
      nullptr);
}

// Running state

thread_local bool is_running = false;   // whether this host thread runs a kernel
thread_local bool is_checking = false;  // whether the checker runs; library code that it calls may be instrumented, too
Range arguments, local_memory;
unsigned block, thread, block_epoch;
unsigned warp_epochs[kMaxThreads];  // how often a thread has synchronized with its warp
unsigned seen[kMaxThreads][32];     // the warp epoch up to which a thread sees the accesses of each lane of its warp
const void* lock;                   // held by the running thread

Region* find_region(uintptr_t address) {
  for (Region* region : recent)
    if (region && address >= region->begin && address < region->end) return region;
  auto after = regions().upper_bound(address);
  if (after == regions().begin()) return nullptr;
  Region& region = std::prev(after)->second;
  if (address >= region.end) return nullptr;
  return recent[oldest++ % 4] = &region;
}

const char* text(Kind kind) { return kind == Kind::read ? "read" : kind == Kind::write ? "write" : "atomic access"; }

std::string access_text(Kind kind) {
  return std::string(text(kind)) + " by thread " + std::to_string(thread) + " of block " + std::to_string(block);
}

// Whether `before` cannot conflict with the running thread's access: it was to another block's shared memory, by the
// same thread, before a barrier, or both are atomic.
inline bool is_ordered(const Access& before, const Region& region, bool is_atomic) {
  if (!before.exists || (before.is_atomic && is_atomic)) return true;
  if (before.block != block) return region.is_shared;
  if (before.thread == thread || before.block_epoch < block_epoch) return true;
  return before.thread / 32 == thread / 32 && before.warp_epoch < seen[thread][before.thread % 32];
}

bool are_of_one_warp(const Access& one, const Access& other) {
  return one.block == other.block && one.thread / 32 == other.thread / 32;
}

[[noreturn]] void report_order(const Access& before, bool is_shared, Kind kind, Kind other, const void* where) {
  std::ostringstream message;
  message << access_text(kind) << " in " << (is_shared ? "shared" : "global")
          << " memory: no barrier orders it after the " << text(before.is_atomic ? Kind::atomic : other)
          << " by thread " << before.thread << " of block " << before.block;
  report(message.str(), where);
}

inline void check_order(const Access& before, const Region& region, bool is_atomic, Kind kind, Kind other,
                        const void* where) {
  if (!is_ordered(before, region, is_atomic)) report_order(before, region.is_shared, kind, other, where);
}

// "FILE:LINE: " of the instruction before this one, in the innermost inlined function that is not from this folder.
std::string source_of(const void* where) {
  Dl_info info;
  if (!dladdr(where, &info)) return "";
  std::ostringstream command;
  command << "addr2line -i -e '" << info.dli_fname << "' 0x" << std::hex << number(where) - number(info.dli_fbase) - 1;
  std::string found;
  if (FILE* pipe = popen(command.str().c_str(), "r")) {
    char line[4096];
    while (std::fgets(line, sizeof line, pipe))
      if (found.empty() || found.find("/cuda_emulation/") != std::string::npos)
        found = std::string(line, std::strcspn(line, " \n"));  // a discriminator may follow after a space
    pclose(pipe);
  }
  return (found.empty() || found[0] == '?' ? command.str() : found) + ": ";
}

}  // namespace

void report(const std::string& text, const void* where) {
  is_checking = true;
  const std::string place = where ? source_of(where) : "";
  if (is_running) fail(place + text);
  std::fprintf(stderr, "CUDA emulation: %s%s\n", place.c_str(), text.c_str());  // host code in the same files
  std::abort();
}

void report_at(const char* file, unsigned line, const char* text, const int64_t* number) {
  is_checking = true;
  const std::string place = std::string(file) + ":" + std::to_string(line) + ": ";
  report(place + text + (number ? " " + std::to_string(*number) : ""), nullptr);
}

static void check_access(uintptr_t address, size_t nbytes, Kind kind, const void* where) {
  if (kind == Kind::read) {
    if (Range{number(__start_cuda_registers), number(__stop_cuda_registers)}.contains(address, nbytes)) return;
    if (arguments.contains(address, nbytes)) return;
  }
  Region* region = find_region(address);
  if (!region && kind == Kind::read)
    for (const Range& range : constants)
      if (range.contains(address, nbytes)) return;
  if (!region || address + nbytes > region->end) {
    std::ostringstream message;
    message << access_text(kind) << ", of " << nbytes << " bytes: ";
    if (region)
      message << "they begin at byte " << address - region->begin << " of " << region->end - region->begin;
    else
      message << "no kernel can reach " << reinterpret_cast<const void*>(address);
    report(message.str(), where);
  }
  const bool is_atomic = kind == Kind::atomic || lock;
  const Access now{1, is_atomic, thread, warp_epochs[thread], block_epoch, block};
  Byte* history = region->history(address, nbytes);
  Byte before, after;
  for (size_t i = 0; i < nbytes; ++i) {
    Byte& byte = history[i];
    if (i > 0 && std::memcmp(&byte, &before, sizeof byte) == 0) {  // nearly always: bytes of one number
      byte = after;
      continue;
    }
    before = byte;
    if (region->is_shared && kind != Kind::write && (!byte.write.exists || byte.write.block != block))
      report(access_text(kind) + " in shared memory: the block has written nothing there", where);
    check_order(byte.write, *region, is_atomic, kind, Kind::write, where);
    if (kind == Kind::read) {
      const Access &first = byte.reads[0], &second = byte.reads[1];
      if (is_ordered(first, *region, false))
        byte.reads[0] = now;
      else if (is_ordered(second, *region, false) || are_of_one_warp(first, second))
        byte.reads[1] = now;
    } else {
      for (const Access& read : byte.reads) check_order(read, *region, is_atomic, kind, Kind::read, where);
      byte.write = now;
    }
    after = byte;
  }
}

void access(const void* pointer, size_t nbytes, Kind kind, const void* where) {
  const uintptr_t address = number(pointer);
  if (!is_running || is_checking || nbytes == 0 || local_memory.contains(address, nbytes)) return;
  is_checking = true;
  check_access(address, nbytes, kind, where);
  is_checking = false;
}

void aligned_access(const void* address, size_t nbytes, Kind kind, const void* where) {
  if (is_running && !is_checking && number(address) % nbytes != 0)
    report(std::string(text(kind)) + " of " + std::to_string(nbytes) + " bytes at no multiple of that", where);
  access(address, nbytes, kind, where);
}

void grid_begins(const void* begin, size_t nbytes) {
  if (constants.empty()) find_segments();
  arguments = {number(begin), number(begin) + nbytes};
  for (auto& [address, region] : regions()) region.forget();
}

void block_begins(unsigned index) {
  if (index >= kMostBlocks) report("more blocks than can be told apart", nullptr);
  block = index;
  block_epoch = 0;
  std::fill(std::begin(warp_epochs), std::end(warp_epochs), 0);
  std::fill(&seen[0][0], &seen[0][0] + kMaxThreads * 32, 0);
}

void turn_begins(unsigned index, const void* stack, size_t nbytes) {
  thread = index;
  local_memory = {number(stack), number(stack) + nbytes};
  is_running = true;
  is_checking = false;
}

void turn_ends() {
  is_running = false;
  if (lock && last_failure().empty()) report("a thread waits, or is done, while it holds a lock", nullptr);
  lock = nullptr;
}

void block_meets() {
  if (++block_epoch == kMostEpochs) report("more barriers than can be told apart", nullptr);
}

// From now on each of the lanes sees everything that any of them had seen or done.
void lanes_meet(unsigned index, unsigned mask) {
  const unsigned first = index / 32 * 32;
  unsigned joined[32] = {};
  for (unsigned lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1) {
      for (unsigned other = 0; other < 32; ++other) joined[other] = std::max(joined[other], seen[first + lane][other]);
      joined[lane] = std::max(joined[lane], ++warp_epochs[first + lane]);
      if (warp_epochs[first + lane] == kMostEpochs) report("more barriers than can be told apart", nullptr);
    }
  for (unsigned lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1) std::copy(std::begin(joined), std::end(joined), seen[first + lane]);
}

void atomic_access(const void* address, size_t nbytes, const void* where) {
  access(address, nbytes, Kind::atomic, where);
}

// Accesses under a lock count as atomic: the kernels have only one lock.
void lock_taken(const void* address) { lock = address; }
void lock_given_back(const void* address) {
  if (lock == address) lock = nullptr;
}

void memory_begins(const void* memory, size_t nbytes) {
  regions().try_emplace(number(memory), number(memory), std::max<size_t>(nbytes, 1), false);
}

void memory_ends(const void* memory) {
  regions().erase(number(memory));
  std::fill(std::begin(recent), std::end(recent), nullptr);
}

}  // namespace cuda_emulation::checks

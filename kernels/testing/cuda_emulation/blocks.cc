// Runs the threads of a block, which take turns.
#undef _FORTIFY_SOURCE  // with it, longjmp refuses to go to another stack
#include "kernels/testing/cuda_emulation/blocks.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "kernels/testing/cuda_emulation/checks.h"

NEEDLE_CUDA_REGISTERS uint3 threadIdx, blockIdx;
NEEDLE_CUDA_REGISTERS dim3 blockDim, gridDim;

namespace cuda_emulation {
namespace {

// Continues at `to`, and returns when something continues at `from`. (swapcontext makes a system call each time.)
void switch_places(jmp_buf& from, jmp_buf& to) {
  if (!_setjmp(from)) _longjmp(to, 1);
}

// A block. Each thread has its own stack from its first wait on.

enum class State { ready, at_block_barrier, at_warp_barrier, done };

struct Fiber {
  jmp_buf place;
  char* stack;
  unsigned thread;  // the thread's index in the block
};

struct Thread {
  State state;
  Fiber* fiber;
  unsigned mask;       // the lanes that it waits for
  bool orders_memory;  // whether the wait orders memory accesses: a shuffle does not guarantee that
  int flag;            // its argument of __syncthreads_or
  unsigned exchanges;  // how many exchanges it has done: two rounds of values are kept in turn
};

constexpr size_t kStackBytes = 64 << 10;

jmp_buf scheduler;
std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Fiber*> idle;
Thread threads[kMaxThreads];
uint64_t exchanged[kMaxThreads][2];
int block_flag;
unsigned running, num_threads;
const Call* body;
std::string failure;

bool has_failed() { return !failure.empty(); }

void run_fiber(unsigned index) {
  Fiber& fiber = *fibers[index];
  for (;;) {
    switch_places(fiber.place, scheduler);  // until it is given a thread
    body->run(body->arguments.get());
    threads[fiber.thread].state = State::done;
  }
}

// Lets run_fiber begin on its stack.
void start(const Fiber& fiber, unsigned index) {
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = fiber.stack;
  context.uc_stack.ss_size = kStackBytes;
  makecontext(&context, reinterpret_cast<void (*)()>(run_fiber), 1, index);
  if (!_setjmp(scheduler)) setcontext(&context);
}

Fiber* idle_fiber() {
  if (idle.empty()) {
    auto fiber = std::make_unique<Fiber>();
    fiber->stack = static_cast<char*>(
        mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0));
    idle.push_back(fiber.get());
    fibers.push_back(std::move(fiber));
    start(*fibers.back(), static_cast<unsigned>(fibers.size() - 1));
  }
  Fiber* fiber = idle.back();
  idle.pop_back();
  return fiber;
}

// Runs a thread until it waits, finishes or fails.
void resume(unsigned number) {
  Thread& thread = threads[number];
  if (!thread.fiber) {
    thread.fiber = idle_fiber();
    thread.fiber->thread = number;
  }
  thread.state = State::ready;
  running = number;
  threadIdx = {number % blockDim.x, number / blockDim.x % blockDim.y, number / blockDim.x / blockDim.y};
  checks::turn_begins(number, thread.fiber->stack, kStackBytes);
  switch_places(scheduler, thread.fiber->place);
  checks::turn_ends();
  if (thread.state == State::done && !has_failed()) {
    idle.push_back(thread.fiber);
    thread.fiber = nullptr;
  }
}

void wait(State state) {
  Thread& thread = threads[running];
  thread.state = state;
  switch_places(thread.fiber->place, scheduler);
}

void meet_lanes(unsigned mask, bool orders_memory) {
  threads[running].mask = mask;
  threads[running].orders_memory = orders_memory;
  wait(State::at_warp_barrier);
}

// Whether all lanes that this one waits for have arrived; lanes that have finished are not waited for.
bool warp_has_come(unsigned number) {
  const unsigned first = number / 32 * 32;
  for (unsigned lane = 0; lane < 32 && first + lane < num_threads; ++lane) {
    const State state = threads[first + lane].state;
    if (threads[number].mask >> lane & 1 && state != State::at_warp_barrier && state != State::done) return false;
  }
  return true;
}

// Called once for all lanes that synchronized at this one's __syncwarp().
void tell_that_lanes_meet(unsigned number) {
  const Thread& thread = threads[number];
  if (thread.state != State::at_warp_barrier || !thread.orders_memory) return;
  checks::lanes_meet(number, thread.mask);
  const unsigned first = number / 32 * 32, mask = thread.mask;
  for (unsigned lane = 0; lane < 32 && first + lane < num_threads; ++lane)
    if (mask >> lane & 1) threads[first + lane].orders_memory = false;
}

void run_block(bool backwards) {
  num_threads = blockDim.x * blockDim.y * blockDim.z;
  unsigned alive = 0;
  for (unsigned i = 0; i < num_threads; ++i) threads[i] = {State::ready, nullptr, 0, false, 0, 0};
  for (unsigned i = 0; i < num_threads; ++i) {
    const unsigned number = backwards ? num_threads - 1 - i : i;
    resume(number);
    if (has_failed()) return;
    alive += threads[number].state != State::done;
  }
  while (alive > 0) {
    std::vector<unsigned> go_on;
    bool block_has_come = true;
    for (unsigned i = 0; i < num_threads; ++i)
      block_has_come &= threads[i].state == State::at_block_barrier || threads[i].state == State::done;
    if (block_has_come) {
      block_flag = 0;
      for (unsigned i = 0; i < num_threads; ++i)
        if (threads[i].state == State::at_block_barrier) block_flag |= threads[i].flag;
    }
    for (unsigned i = 0; i < num_threads; ++i) {
      const unsigned number = backwards ? num_threads - 1 - i : i;
      const State state = threads[number].state;
      if ((state == State::at_block_barrier && block_has_come) ||
          (state == State::at_warp_barrier && warp_has_come(number)))
        go_on.push_back(number);
    }
    if (go_on.empty()) {
      failure = "threads wait at different barriers, for ever";
      return;
    }
    if (block_has_come) checks::block_meets();
    for (unsigned number : go_on) tell_that_lanes_meet(number);
    for (unsigned number : go_on) {
      resume(number);
      if (has_failed()) return;
      alive -= threads[number].state == State::done;
    }
  }
}

}  // namespace

void run_grid(const dim3& grid, const dim3& block, const Call& call) {
  static bool backwards = false;
  backwards = !backwards;  // so that a kernel that depends on the thread order fails on every second launch
  gridDim = grid;
  blockDim = block;
  body = &call;
  checks::grid_begins(call.arguments.get(), call.nbytes);
  unsigned number = 0;
  for (unsigned z = 0; z < gridDim.z; ++z)
    for (unsigned y = 0; y < gridDim.y; ++y)
      for (unsigned x = 0; x < gridDim.x; ++x) {
        blockIdx = {x, y, z};
        checks::block_begins(number++);
        run_block(backwards);
        if (has_failed()) return;
      }
}

const std::string& last_failure() { return failure; }

void forget_failure() { failure.clear(); }

// The other threads are abandoned where they are.
void fail(const std::string& text) {
  failure = text;
  wait(State::done);
  std::abort();  // never reached
}

int this_lane() { return static_cast<int>(running % 32); }

uint64_t exchange(unsigned mask, uint64_t value, int lane) {
  const unsigned number = running, source = number / 32 * 32 + static_cast<unsigned>(lane);
  const unsigned round = threads[number].exchanges++ % 2;
  exchanged[number][round] = value;
  meet_lanes(mask, false);
  return exchanged[source][round];
}

unsigned ballot(unsigned mask, bool value) {
  unsigned bits = 0;
  const unsigned first = running / 32 * 32;
  const unsigned round = threads[running].exchanges++ % 2;
  exchanged[running][round] = value;
  meet_lanes(mask, false);
  for (unsigned lane = 0; lane < 32 && first + lane < num_threads; ++lane)
    if (mask >> lane & 1) bits |= static_cast<unsigned>(exchanged[first + lane][round]) << lane;
  return bits;
}

}  // namespace cuda_emulation

using namespace cuda_emulation;

void __syncthreads() { __syncthreads_or(0); }

int __syncthreads_or(int value) {
  threads[running].flag = value;
  wait(State::at_block_barrier);
  return block_flag;
}

void __syncwarp(unsigned mask) { meet_lanes(mask, true); }

// The interpreter lock. Nothing else in these modules takes it or gives it up.
//
// Once the interpreter is shutting down, CPython before 3.14 ends a thread that asks for the lock by unwinding its stack.
// That ends the process where it meets a destructor or a function that is noexcept, and destroys, without the lock, what
// the thread had of Python's. So such a thread sleeps where it asked, until the process ends, as from 3.14 on.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

namespace needle::bindings {

// Calls `take`, which waits for the lock. A function of its own, so that unwinding comes here before it comes to a caller.
template <class Take>
[[gnu::noinline]] auto take_lock(const Take& take) {
  struct SleepIfUnwound {
    bool returned = false;
    ~SleepIfUnwound() {
      while (!returned) pause();
    }
  } guard;
  const auto result = take();
  guard.returned = true;
  return result;
}

// Gives the lock up while it lives.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  ~Unlocked() {
    take_lock([this] {
      PyEval_RestoreThread(state_);
      return true;
    });
  }
  Unlocked(const Unlocked&) = delete;

 private:
  PyThreadState* const state_;
};

// Has the lock while it lives, in any thread, whether that had it or not.
class Locked {
 public:
  Locked() : state_(take_lock([] { return PyGILState_Ensure(); })) {}
  ~Locked() { PyGILState_Release(state_); }
  Locked(const Locked&) = delete;

 private:
  const PyGILState_STATE state_;
};

}  // namespace needle::bindings

// The GIL. Nothing else in these modules acquires or releases it.
//
// Once the interpreter is shutting down, CPython before 3.14 ends a thread that requests the GIL by unwinding its
// stack. That aborts the process if the unwinding reaches a destructor or a noexcept function, and it destroys the
// thread's Python objects without holding the GIL. So such a thread sleeps here until the process ends, as CPython does
// from 3.14 on.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

namespace needle::bindings {

// Calls `take`, which waits for the GIL. It is not inlined, so that unwinding reaches it before it reaches a caller.
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

// Releases the GIL for its lifetime.
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

// Holds the GIL for its lifetime, in any thread, whether or not the thread held it before.
class Locked {
 public:
  Locked() : state_(take_lock([] { return PyGILState_Ensure(); })) {}
  ~Locked() { PyGILState_Release(state_); }
  Locked(const Locked&) = delete;

 private:
  const PyGILState_STATE state_;
};

}  // namespace needle::bindings

// A team of threads that run one function together and meet at barriers within it.
// Not here: what they do. Enter at Team::run(). A team serves one caller at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace solvent {

class Team {
  public:
    explicit Team(int n_threads);
    ~Team();
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    int n_threads() const { return n_threads_; }
    // Threads of the run that goes on.
    int n_active() const { return alone_ ? 1 : n_threads_; }
    // Runs work(thread) on every thread, the caller being thread 0; returns when all are done.
    // alone: on the caller's thread only, the others left asleep.
    void run(const std::function<void(int)>& work, bool alone = false);
    // Within work: returns when all threads have called it. Spins, then yields: phases last microseconds.
    void barrier();

  private:
    void serve(int thread);

    int n_threads_;
    bool alone_ = false;
    std::vector<std::thread> threads_;
    const std::function<void(int)>* work_ = nullptr;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<uint64_t> round_{0};
    std::atomic<bool> stop_{false};
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<uint64_t> phase_{0};
};

}  // namespace solvent

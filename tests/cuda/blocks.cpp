// Runs a grid: its blocks are spread over the cores, the threads of a block are fibers on one of them.
//
// A thread runs until it waits, then the next one does. The lanes of a warp go on when all whom a join asks
// for wait there; the warps of a block go on when all their threads wait at the barrier. Warps and lanes
// take turns forwards and backwards, so that a missing barrier gives a wrong result.

#include <link.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

// Last: it has names for CUDA that the system's headers use otherwise.
#include "blocks.h"
#include "races.h"

namespace emulation {

thread_local Here here;
thread_local const Program* current_program;

namespace {

const size_t STACK = 64 << 10, PAGE = 4096;
// Shared memory starts as NaNs, all bits set.
const int POISON = 0xff;
// How often a block asks for what never comes.
const int MOST_POLLS = 1000000;

struct Copy {
    void* to;
    const void* from;
    int bytes;
    unsigned group;
};

// Copies of one thread that are not done yet.
struct Copies {
    std::vector<Copy> waiting;
    unsigned group = 0;

    void finish(unsigned before) {
        size_t kept = 0;
        for (const Copy& copy : waiting) {
            if (copy.group >= before) {
                waiting[kept++] = copy;
                continue;
            }
            if (copy.from) memcpy(copy.to, copy.from, copy.bytes);
            else memset(copy.to, 0, copy.bytes);
            here.races->copy_ends(copy.to, copy.bytes);
        }
        waiting.resize(kept);
    }
};

} // namespace

struct Fiber {
    char* stack;
    size_t bytes;
    void* context;
    Copies copies;
};

struct Worker {
    void* context; // of the scheduler
    std::vector<Fiber*> fibers, idle;
    Warp warps[32];
    Barrier parts[16];
    const Launch* launch;
    sigjmp_buf escape;
    bool trapped;
};

namespace {

// Keeps the registers that a call keeps, stores the stack pointer and goes on from another: swapcontext
// without its system call.
#if defined(__x86_64__) && !defined(EMULATION_PORTABLE)
asm(R"(
.text
.hidden emulation_switch
.globl emulation_switch
emulation_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
extern "C" void emulation_switch(void** save, void* go_on);

void* first_context(char* stack, size_t bytes, void (*start)()) {
    void** top = reinterpret_cast<void**>(stack + bytes);
    *--top = nullptr; // no caller
    *--top = reinterpret_cast<void*>(start);
    for (int n = 0; n < 6; n++) *--top = nullptr;
    return top;
}
#else
void emulation_switch(void** save, void* go_on) {
    if (!*save) *save = new ucontext_t;
    swapcontext(static_cast<ucontext_t*>(*save), static_cast<ucontext_t*>(go_on));
}

void* first_context(char* stack, size_t bytes, void (*start)()) {
    ucontext_t* context = new ucontext_t;
    getcontext(context);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = bytes;
    makecontext(context, start, 0);
    return context;
}
#endif

Fiber* current() { return static_cast<Fiber*>(here.warp->fiber[here.lane]); }

void wait() { emulation_switch(&current()->context, here.worker->context); }

// A fiber runs one thread after the other.
void run_threads() {
    for (;;) {
        const Launch& launch = *here.worker->launch;
        launch.entry->call(launch.entry->function, launch.arguments);
        Warp& warp = *here.warp;
        current()->copies.finish(~0u);
        warp.live &= ~(1u << here.lane);
        Fiber* fiber = current();
        warp.fiber[here.lane] = nullptr;
        here.worker->idle.push_back(fiber);
        emulation_switch(&fiber->context, here.worker->context);
    }
}

void reset(Fiber* fiber) {
    fiber->context = first_context(fiber->stack, fiber->bytes, run_threads);
    fiber->copies = Copies();
}

Fiber* new_fiber(Worker& worker) {
    size_t index = worker.fibers.size();
    char* stack = static_cast<char*>(mmap(nullptr, STACK + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (stack == MAP_FAILED) {
        fprintf(stderr, "CUDA emulation: no memory for stacks\n");
        abort();
    }
    mprotect(stack, PAGE, PROT_NONE);
    Fiber* fiber = new Fiber;
    worker.fibers.push_back(fiber);
    // Tops of stacks that are a power of two apart would share few lines of the cache.
    fiber->stack = stack + PAGE;
    fiber->bytes = STACK - index % 32 * 320;
    reset(fiber);
    return fiber;
}

void run_lane(Worker& worker, Warp& warp, unsigned lane) {
    if (!warp.fiber[lane]) {
        if (worker.idle.empty()) worker.idle.push_back(new_fiber(worker));
        warp.fiber[lane] = worker.idle.back();
        worker.idle.pop_back();
    }
    unsigned thread = warp.index * 32 + lane;
    here.thread = {thread % here.block_size.x, thread / here.block_size.x % here.block_size.y, thread / here.block_size.x / here.block_size.y};
    here.lane = lane;
    here.warp = &warp;
    emulation_switch(&worker.context, static_cast<Fiber*>(warp.fiber[lane])->context);
}

// Until all lanes wait for the barrier, have returned, or wait for one that does not come.
void run_warp(Worker& worker, Warp& warp, bool backwards) {
    for (;;) {
        unsigned ready = warp.ready;
        warp.ready = 0;
        while (ready) {
            unsigned lane = backwards ? 31 - __builtin_clz(ready) : __builtin_ctz(ready);
            ready &= ~(1u << lane);
            run_lane(worker, warp, lane);
        }
        unsigned released = 0;
        for (unsigned left = warp.joining; left;) {
            unsigned mask = warp.mask[__builtin_ctz(left)], same = 0;
            for (unsigned lane = 0; lane < 32; lane++) same |= unsigned(warp.mask[lane] == mask) << lane;
            same &= left;
            left &= ~same;
            if (mask & warp.live & ~same) continue;
            released |= same;
            if (!(same & ~warp.ordered)) here.races->joined(warp.index, same);
        }
        if (!released) return;
        warp.joining &= ~released;
        for (unsigned left = warp.joining; left; left &= left - 1) {
            unsigned lane = __builtin_ctz(left);
            warp.slots[warp.turn ^ 1][lane] = warp.slots[warp.turn][lane];
        }
        warp.turn ^= 1;
        warp.joins++;
        warp.ready = released;
        backwards = !backwards;
    }
}

// False if threads wait for one another for ever.
bool run_block(Worker& worker, unsigned threads, unsigned seed) {
    unsigned warps = (threads + 31) / 32;
    for (unsigned n = 0; n < warps; n++) {
        Warp& warp = worker.warps[n];
        warp.index = n;
        warp.live = warp.ready = threads - n * 32 >= 32 ? ~0u : (1u << threads % 32) - 1;
        warp.joining = warp.at_barrier = warp.polling = 0;
        warp.product_join = warp.joins = 0;
    }
    for (Barrier& part : worker.parts) part = {};
    here.races->start_block(threads);
    int polls = 0;
    for (bool backwards = seed & 1;; backwards = !backwards) {
        for (unsigned n = 0; n < warps; n++) run_warp(worker, worker.warps[backwards ? warps - 1 - n : n], backwards != (n & 1));
        unsigned waiting = 0, joining = 0, polling = 0;
        for (unsigned n = 0; n < warps; n++) polling |= worker.warps[n].polling;
        for (unsigned n = 0; n < warps; n++) {
            Warp& warp = worker.warps[n];
            waiting |= warp.at_barrier;
            joining |= warp.joining;
            // Those that ask for something again and again do it until it is there, before the block's barrier may open.
            unsigned& next = polling ? warp.polling : warp.at_barrier;
            warp.ready = next;
            next = 0;
        }
        if (polling && polls++ < MOST_POLLS) continue;
        if (joining || polling) return false;
        if (!waiting) return true;
        here.races->met();
    }
}

// The memory of this library that is local to the thread: all shared arrays are in there.
struct Shared {
    char* start = nullptr;
    size_t bytes = 0;
};

Shared find_shared() {
    Shared shared;
    here.lane = 0; // so that it exists
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* found) {
            Shared& shared = *static_cast<Shared*>(found);
            char* start = static_cast<char*>(info->dlpi_tls_data);
            for (int n = 0; n < info->dlpi_phnum; n++) {
                size_t bytes = info->dlpi_phdr[n].p_memsz;
                char* at = reinterpret_cast<char*>(&here);
                if (info->dlpi_phdr[n].p_type == PT_TLS && start && at >= start && at < start + bytes) shared = {start, bytes};
            }
            return 0;
        },
        &shared);
    return shared;
}

std::mutex learning;

// Fills shared memory before a block; which part of it an entry uses shows when the first block is done.
struct Poison {
    Shared shared = find_shared();

    void fill(size_t from, size_t to) {
        if (from >= to) return;
        Here kept = here;
        const Program* program = current_program;
        memset(shared.start + from, POISON, to - from);
        here = kept;
        current_program = program;
    }
    bool own(const char* at) const {
        auto in = [&](const void* start, size_t bytes) { return at + 8 > start && at < static_cast<const char*>(start) + bytes; };
        return in(&here, sizeof here) || in(&current_program, sizeof current_program);
    }
    void learn(Entry& entry) {
        size_t from = shared.bytes, to = 0;
        for (size_t at = 0; at < shared.bytes; at++) {
            if (shared.start[at] == char(POISON) || own(shared.start + at)) continue;
            from = std::min(from, at & ~size_t(63));
            to = std::min(shared.bytes, (at | 63) + 1);
        }
        std::lock_guard<std::mutex> guard(learning);
        if (entry.shared_known) return;
        entry.shared_from = from;
        entry.shared_to = to;
        __atomic_store_n(&entry.shared_known, true, __ATOMIC_RELEASE);
    }
};

struct Pool {
    std::mutex mutex;
    std::condition_variable start, done;
    const Launch* launch = nullptr;
    unsigned long turn = 0;
    unsigned running = 0, workers = 0;
    std::atomic<size_t> next{0};
    std::atomic<int> outcome{0};

    void work();
    void run_blocks(Worker& worker, Poison& poison, const Launch& launch);
};

void handle_fault(int signal, siginfo_t* info, void* context);

void Pool::work() {
    Worker& worker = *new Worker();
    here.worker = &worker;
    Poison poison;
    here.races = new Races(poison.shared.start, poison.shared.bytes);
    stack_t alternative = {};
    alternative.ss_size = 64 << 10;
    alternative.ss_sp = malloc(alternative.ss_size);
    sigaltstack(&alternative, nullptr);
    std::unique_lock<std::mutex> guard(mutex);
    for (unsigned long seen = 0;;) {
        start.wait(guard, [&] { return turn != seen; });
        seen = turn;
        const Launch& now = *launch;
        guard.unlock();
        run_blocks(worker, poison, now);
        here.races->watch(0);
        guard.lock();
        if (--running == 0) done.notify_all();
    }
}

void Pool::run_blocks(Worker& worker, Poison& poison, const Launch& launch) {
    Entry& entry = *launch.entry;
    size_t blocks = size_t(launch.grid.x) * launch.grid.y * launch.grid.z;
    unsigned threads = launch.block.x * launch.block.y * launch.block.z;
    size_t chunk = std::max<size_t>(1, blocks / workers / 16);
    worker.launch = &launch;
    here.grid = launch.grid;
    here.block_size = launch.block;
    current_program = launch.program;
    here.races->watch(launch.watched);
    auto give_up = [&](Outcome what) {
        int expected = 0;
        outcome.compare_exchange_strong(expected, int(what));
        for (Fiber* fiber : worker.fibers) reset(fiber);
        worker.idle = worker.fibers;
        for (unsigned n = 0; n < 32; n++) memset(worker.warps[n].fiber, 0, sizeof worker.warps[n].fiber);
        here.races->forget();
    };
    if (sigsetjmp(worker.escape, 1)) {
        give_up(worker.trapped ? Outcome::Failed : Outcome::BadAddress);
        return;
    }
    for (;;) {
        size_t first = next.fetch_add(chunk);
        if (first >= blocks || outcome) return;
        for (size_t block = first; block < std::min(blocks, first + chunk); block++) {
            here.block = {unsigned(block % launch.grid.x), unsigned(block / launch.grid.x % launch.grid.y),
                          unsigned(block / launch.grid.x / launch.grid.y)};
            bool known = __atomic_load_n(&entry.shared_known, __ATOMIC_ACQUIRE);
            if (known) poison.fill(entry.shared_from, entry.shared_to);
            else poison.fill(0, poison.shared.bytes);
            if (!run_block(worker, threads, launch.seed + unsigned(block))) {
                fprintf(stderr, "CUDA emulation: %s, block %zu: threads wait for others that never come\n", entry.name, block);
                give_up(Outcome::Failed);
                return;
            }
            if (!known) poison.learn(entry);
        }
    }
}

const int FAULTS[] = {SIGSEGV, SIGBUS, SIGFPE};
struct sigaction previous[32];

// What a kernel reads or writes where no memory is ends the launch, not the process.
void handle_fault(int signal, siginfo_t* info, void* context) {
    if (here.worker && here.worker->launch) {
        const char* what = signal == SIGFPE ? "integer division by zero" : "bad address";
        fprintf(stderr, "CUDA emulation: %s, block %u, thread %u: %s, at %p\n", here.worker->launch->entry->name, here.block.x,
                here.thread.x, what, info->si_addr);
        here.worker->trapped = false;
        siglongjmp(here.worker->escape, 1);
    }
    struct sigaction& before = previous[signal];
    if (before.sa_flags & SA_SIGINFO) before.sa_sigaction(signal, info, context);
    else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) before.sa_handler(signal);
    else sigaction(signal, &before, nullptr);
}

Pool& pool() {
    static Pool* pool = [] {
        Pool* pool = new Pool;
        struct sigaction action = {};
        action.sa_sigaction = handle_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        for (int signal : FAULTS) sigaction(signal, &action, &previous[signal]);
        // 16 at most: the stacks of a block of 1024 threads take two mappings each.
        pool->workers = std::min(16u, std::max(1u, std::thread::hardware_concurrency()));
        for (unsigned n = 0; n < pool->workers; n++) std::thread([pool] { pool->work(); }).detach();
        return pool;
    }();
    return *pool;
}

} // namespace

Outcome run(const Launch& launch) {
    Pool& pool = emulation::pool();
    std::unique_lock<std::mutex> guard(pool.mutex);
    pool.launch = &launch;
    pool.running = pool.workers;
    pool.next = 0;
    pool.outcome = 0;
    pool.turn++;
    pool.start.notify_all();
    pool.done.wait(guard, [&] { return pool.running == 0; });
    return Outcome(pool.outcome.load());
}

void barrier() {
    here.warp->at_barrier |= 1u << here.lane;
    wait();
}

void join(unsigned mask, bool ordered) {
    unsigned lane = 1u << here.lane;
    here.warp->mask[here.lane] = mask;
    here.warp->joining |= lane;
    here.warp->ordered = ordered ? here.warp->ordered | lane : here.warp->ordered & ~lane;
    wait();
}

const char* name_of_launch() { return here.worker->launch->entry->name; }

void end_launch() {
    here.worker->trapped = true;
    siglongjmp(here.worker->escape, 1);
}

void trap() {
    fprintf(stderr, "CUDA emulation: %s, block %u, thread %u: trap\n", name_of_launch(), here.block.x, here.thread.x);
    end_launch();
}

// The bytes come when the thread waits for them, not before; until then they are NaNs.
void copy_later(void* to, const void* from, int bytes, bool ok) {
    if ((uintptr_t(to) | uintptr_t(from)) % bytes) {
        fprintf(stderr, "CUDA emulation: a copy of %d bytes is not aligned\n", bytes);
        trap();
    }
    here.races->copy_starts(to, bytes, __builtin_return_address(0));
    memset(to, POISON, bytes);
    Copies& copies = current()->copies;
    copies.waiting.push_back({to, ok ? from : nullptr, bytes, copies.group});
}

void start_barrier(Barrier& barrier, unsigned count) {
    here.races->starts(barrier, __builtin_return_address(0));
    barrier = {uint8_t(count), uint8_t(count), 0};
}

static void arrive_from(Barrier& barrier, void* place) {
    here.races->arrives(barrier, place);
    if (--barrier.left) return;
    barrier.left = barrier.count;
    barrier.phase++;
    here.races->phase_ends(barrier);
}

void arrive(Barrier& barrier) { arrive_from(barrier, __builtin_return_address(0)); }

void wait_for_phase(Barrier& barrier, unsigned phase) {
    here.races->waits(barrier, __builtin_return_address(0));
    while ((barrier.phase & 1) == phase) {
        here.warp->polling |= 1u << here.lane;
        wait();
    }
    here.races->passes(barrier);
}

void meet(unsigned part, unsigned threads) {
    Barrier& barrier = here.worker->parts[part];
    if (barrier.count != threads) barrier = {uint8_t(threads), uint8_t(threads), 0};
    unsigned phase = barrier.phase & 1;
    arrive_from(barrier, nullptr);
    wait_for_phase(barrier, phase);
}

void commit_copies() { current()->copies.group++; }

void wait_for_copies(int groups_left) {
    Copies& copies = current()->copies;
    copies.finish(copies.group >= unsigned(groups_left) ? copies.group - groups_left : 0);
}

// 16 × 8 = (16 × 16) · (16 × 8), from the words of mma.m16n8k16; their halves are bf16 if `brain`, else f16.
void multiply(float (&product)[16][8], const Slot (&slots)[32], bool brain) {
    auto widened = [&](unsigned word, int n) {
        uint16_t half = word >> n * 16;
        uint32_t bits = uint32_t(half) << 16;
        float wide;
        memcpy(&wide, &bits, sizeof wide);
        _Float16 narrow;
        memcpy(&narrow, &half, sizeof narrow);
        return brain ? wide : float(narrow);
    };
    float a[16][16], b[16][8];
    for (int lane = 0; lane < 32; lane++) {
        int row = lane / 4, pair = lane % 4 * 2;
        const unsigned* word = slots[lane].word;
        for (int n = 0; n < 2; n++) {
            a[row][pair + n] = widened(word[0], n);
            a[row + 8][pair + n] = widened(word[1], n);
            a[row][pair + 8 + n] = widened(word[2], n);
            a[row + 8][pair + 8 + n] = widened(word[3], n);
            b[pair + n][row] = widened(word[4], n);
            b[pair + 8 + n][row] = widened(word[5], n);
        }
    }
    for (int i = 0; i < 16; i++) {
        float sums[8] = {};
        for (int k = 0; k < 16; k++)
            for (int j = 0; j < 8; j++) sums[j] += a[i][k] * b[k][j];
        memcpy(product[i], sums, sizeof sums);
    }
}

// 16 × 8 = (16 × 8) · (8 × 8), from the words of mma.m16n8k8.
void multiply_tf32(float (&product)[16][8], const Slot (&slots)[32]) {
    auto cut = [](unsigned word) {
        word &= 0xffffe000;
        float value;
        memcpy(&value, &word, sizeof value);
        return value;
    };
    float a[16][8], b[8][8];
    for (int lane = 0; lane < 32; lane++) {
        int row = lane / 4, k = lane % 4;
        const unsigned* word = slots[lane].word;
        a[row][k] = cut(word[0]);
        a[row + 8][k] = cut(word[1]);
        a[row][k + 4] = cut(word[2]);
        a[row + 8][k + 4] = cut(word[3]);
        b[k][row] = cut(word[4]);
        b[k + 4][row] = cut(word[5]);
    }
    for (int i = 0; i < 16; i++) {
        float sums[8] = {};
        for (int k = 0; k < 8; k++)
            for (int j = 0; j < 8; j++) sums[j] += a[i][k] * b[k][j];
        memcpy(product[i], sums, sizeof sums);
    }
}

} // namespace emulation

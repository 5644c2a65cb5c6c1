// Finds accesses to shared memory that nothing orders, and ends the launch.
//
// g++ -fsanitize=thread calls __tsan_read4 and the like before each access to memory; these are here, instead of its library.

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <string>

// Last: they have names for CUDA that the system's headers use otherwise.
#include "blocks.h"
#include "races.h"

namespace emulation {

namespace {

// Cores that watch what they run.
std::atomic<int> watching;

const Stamp UNDER_WAY = ~0u, FIRST = 1, LAST = 1u << 30;

Dl_info this_library() {
    Dl_info info = {};
    dladdr(reinterpret_cast<void*>(&trap), &info);
    return info;
}

Cell* cells(size_t count) {
    void* memory = mmap(nullptr, count * sizeof(Cell), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        fprintf(stderr, "CUDA emulation: no memory to watch shared memory with\n");
        abort();
    }
    return static_cast<Cell*>(memory);
}

// File and line of a place in the code, then where that was inlined; the place itself where addr2line can't tell.
std::string lines_of(uint32_t place) {
    const char* library = this_library().dli_fname;
    char text[1024];
    std::string found;
    // What is known is where a call returns to: the line after it, perhaps.
    snprintf(text, sizeof text, "addr2line -i -e '%s' %#x 2>/dev/null", library, place - 1);
    if (FILE* pipe = popen(text, "r")) {
        while (fgets(text, sizeof text, pipe)) {
            std::string line = text;
            line = line.substr(0, line.find_first_of(" \n"));
            size_t start = std::min(line.rfind("shaders/"), line.rfind("tests/cuda/"));
            if (start == std::string::npos || line.find("/emulation.h:") != std::string::npos) continue;
            found += (found.empty() ? "" : ", in ") + line.substr(start);
        }
        pclose(pipe);
    }
    if (!found.empty()) return found;
    snprintf(text, sizeof text, "%s+%#x", library, place);
    return text;
}

} // namespace

Races::Races(char* shared, size_t bytes) : shared(shared), all(bytes), code(static_cast<char*>(this_library().dli_fbase)) {
    words = cells(all / 4 + 1);
    singles = cells(all + 4);
    chains.resize(1); // 0 is none
    std::fill(std::begin(time), std::end(time), FIRST);
}

void Races::forget() {
    madvise(words, (all / 4 + 1) * sizeof(Cell), MADV_DONTNEED);
    madvise(singles, (all + 4) * sizeof(Cell), MADV_DONTNEED);
    chains.resize(1);
    unused = 0;
    std::fill(std::begin(time), std::end(time), FIRST);
}

void Races::watch(size_t most) {
    left = most;
    if (!most) {
        stop();
        return;
    }
    // The launch before may have lost sight of its copies.
    if (lost) forget();
    lost = false;
    bytes = all;
    watching++;
}

void Races::stop() {
    if (bytes) watching--;
    bytes = 0;
}

void Races::start_block(unsigned count) {
    if (*std::max_element(std::begin(time), std::end(time)) > LAST) forget();
    threads = 1024;
    met();
    threads = count;
    for (unsigned n = 0; n < 32; n++) whole[n] = n * 32 + 32 <= count ? ~0u : n * 32 < count ? (1u << count % 32) - 1 : 0;
    clocks_on = false;
    barriers.clear();
}

void Races::met() {
    all_met = *std::max_element(time, time + threads) + 1;
    std::fill(time, time + threads, all_met);
    std::fill(std::begin(warp_joined), std::end(warp_joined), all_met);
}

void Races::joined(unsigned warp, unsigned lanes) {
    if (!bytes) return;
    unsigned first = warp * 32, end = std::min(first + 32, threads);
    if (lanes != whole[warp]) use_clocks();
    if (clocks_on) {
        std::vector<Stamp> known(threads);
        for (unsigned left = lanes; left; left &= left - 1) {
            unsigned thread = first + __builtin_ctz(left);
            clock(thread)[thread] = ++time[thread];
            for (unsigned n = 0; n < threads; n++) known[n] = std::max(known[n], clock(thread)[n]);
        }
        for (unsigned left = lanes; left; left &= left - 1) learn(known, first + __builtin_ctz(left));
    }
    if (lanes != whole[warp]) return;
    Stamp latest = *std::max_element(time + first, time + end) + 1;
    std::fill(time + first, time + end, latest);
    warp_joined[warp] = latest;
}

void Races::use_clocks() {
    if (clocks_on) return;
    clocks_on = true;
    clocks.assign(size_t(threads) * threads, 0);
}

void Races::learn(std::vector<Stamp>& from, unsigned thread) {
    if (from.empty()) return;
    Stamp* own = clock(thread);
    for (unsigned n = 0; n < threads; n++) own[n] = std::max(own[n], from[n]);
}

Passing& Races::passing(const Barrier& barrier) {
    use_clocks();
    return barriers[&barrier];
}

void Races::starts(const Barrier& barrier, void* from) {
    touch(&barrier, sizeof barrier, Access::Write, from);
    barriers.erase(&barrier);
}

void Races::arrives(const Barrier& barrier, void* from) {
    if (!bytes) return;
    touch(&barrier, sizeof barrier, Access::Atomic, from);
    std::vector<Stamp>& arrived = passing(barrier).arrived;
    arrived.resize(threads);
    Now own = now(from);
    clock(own.thread)[own.thread] = ++time[own.thread];
    unsigned first = own.warp * 32, end = std::min(first + 32, threads);
    for (unsigned n = 0; n < threads; n++) arrived[n] = std::max(arrived[n], clock(own.thread)[n]);
    for (unsigned n = first; n < end; n++) arrived[n] = std::max(arrived[n], warp_joined[own.warp]);
}

void Races::phase_ends(const Barrier& barrier) {
    if (!bytes) return;
    Passing& at = passing(barrier);
    at.done.swap(at.arrived);
    std::fill(at.arrived.begin(), at.arrived.end(), 0);
}

void Races::waits(const Barrier& barrier, void* from) { touch(&barrier, sizeof barrier, Access::Atomic, from); }

void Races::passes(const Barrier& barrier) {
    if (bytes) learn(passing(barrier).done, now(nullptr).thread);
}

void Races::copy_ends(const void* to, unsigned size) {
    size_t offset = static_cast<const char*>(to) - shared;
    if (offset >= bytes) return;
    Now own = now(nullptr);
    each_cell(offset, size, [&](Cell& cell) { cell.write.stamp = own.stamp; });
}

Races::Now Races::now(void* from) const {
    unsigned warp = here.warp->index, thread = warp * 32 + here.lane;
    return {thread, warp, 1u << here.lane, time[thread], uint32_t(static_cast<char*>(from) - code)};
}

template <class Each>
inline void Races::each_cell(size_t offset, size_t size, Each each) {
    size_t end = offset + size;
    for (size_t word = offset / 4; word * 4 < end; word++) {
        Cell& cell = words[word];
        size_t first = std::max(offset, word * 4), last = std::min(end, word * 4 + 4);
        if (last - first == 4 && !cell.write.split) {
            each(cell);
            continue;
        }
        if (!cell.write.split) {
            for (size_t n = word * 4; n < word * 4 + 4; n++) {
                singles[n] = cell;
                singles[n].more = 0;
                for (uint32_t at = cell.more; at; at = chains[at].next) singles[n].more = link(chains[at].touch, singles[n].more);
            }
            drop(cell.more);
            cell.write.split = true;
        }
        for (size_t n = first; n < last; n++) each(singles[n]);
    }
}

void Races::check(size_t offset, size_t size, Access access, void* from) {
    // It lies among the kernels' shared arrays.
    if (shared + offset == reinterpret_cast<char*>(&current_program)) return;
    if (!left--) {
        lost = true;
        stop();
        return;
    }
    Now who = now(from);
    each_cell(offset, std::min(size, bytes - offset), [&](Cell& cell) { check_cell(cell, who, access); });
}

// Whether what these lanes did at that time comes before what happens now.
inline bool Races::knows(const Now& now, unsigned warp, unsigned lanes, Stamp stamp) const {
    if (stamp < all_met) return true;
    if (warp == now.warp) {
        lanes &= ~now.lane_bit;
        if (stamp < warp_joined[warp] || !lanes) return true;
    }
    if (!clocks_on) return false;
    const Stamp* known = clocks.data() + size_t(now.thread) * threads + warp * 32;
    for (; lanes; lanes &= lanes - 1)
        if (known[__builtin_ctz(lanes)] <= stamp) return false;
    return true;
}

static const char* doing(Access access) {
    return access == Access::Read ? "reads" : access == Access::Copy ? "copies to" : access == Access::Write ? "writes" : "changes";
}

void Races::check_write(const Cell& cell, const Now& now, Access access) {
    const Write& write = cell.write;
    if (write.stamp == UNDER_WAY) report(now, doing(access), write.thread, "has a copy under way to", write.place);
    if (!knows(now, write.thread / 32, 1u << write.thread % 32, write.stamp)) report(now, doing(access), write.thread, "wrote", write.place);
}

void Races::check_touch(const Touch& touch, const Now& now, Access access) {
    bool writes = access == Access::Write || access == Access::Copy;
    if (!writes && touch.atomic == (access == Access::Atomic)) return;
    if (knows(now, touch.warp, touch.lanes, touch.stamp)) return;
    unsigned lane = __builtin_ctz(touch.lanes);
    for (unsigned left = touch.lanes; left; left &= left - 1)
        if (!knows(now, touch.warp, left & -left, touch.stamp)) lane = __builtin_ctz(left);
    report(now, doing(access), touch.warp * 32 + lane, touch.atomic ? "changed" : "read", touch.place);
}

void Races::check_touches(const Cell& cell, const Now& now, Access access) {
    for (const Touch& touch : cell.touches)
        if (touch.stamp) check_touch(touch, now, access);
    for (uint32_t at = cell.more; at; at = chains[at].next) check_touch(chains[at].touch, now, access);
}

inline void Races::check_cell(Cell& cell, const Now& now, Access access) {
    if (cell.write.stamp >= all_met) check_write(cell, now, access);
    Touch& first = cell.touches[0];
    // If the first is old, all are.
    bool touched = first.stamp >= all_met;
    if (access == Access::Write || access == Access::Copy) {
        if (touched) check_touches(cell, now, access);
        if (cell.more) drop(cell.more);
        first.stamp = 0;
        cell.write = {access == Access::Copy ? UNDER_WAY : now.stamp, now.place, uint16_t(now.thread), false};
        return;
    }
    Touch touch = {now.stamp, now.lane_bit, now.place, uint16_t(now.warp), access == Access::Atomic};
    if (!touched) {
        if (cell.more) drop(cell.more);
        first = touch;
        cell.touches[1].stamp = 0;
    } else if (!cell.touches[1].stamp && first.stamp == touch.stamp && first.warp == touch.warp && first.atomic == touch.atomic) {
        first.lanes |= touch.lanes;
    } else {
        check_touches(cell, now, access);
        add(cell, touch, now);
    }
}

// A touch takes the place of one that is known to come before it, as whatever comes after it comes after that.
void Races::add(Cell& cell, const Touch& touch, const Now& now) {
    auto takes = [&](Touch& old) {
        if (old.atomic != touch.atomic) return false;
        if (old.warp == touch.warp && old.stamp == touch.stamp) {
            old.lanes |= touch.lanes;
            return true;
        }
        if (!knows(now, old.warp, old.lanes, old.stamp)) return false;
        old = touch;
        return true;
    };
    Touch &first = cell.touches[0], &second = cell.touches[1];
    if (takes(first)) return;
    if (!second.stamp) {
        second = touch;
        return;
    }
    if (takes(second)) return;
    // Without clocks, whoever does not know this one does not know one of two other warps.
    if (!clocks_on && first.atomic == touch.atomic && second.atomic == touch.atomic && first.warp != second.warp) return;
    for (uint32_t at = cell.more; at; at = chains[at].next)
        if (takes(chains[at].touch)) return;
    cell.more = link(touch, cell.more);
}

inline void Races::drop(uint32_t& chain) {
    if (!chain) return;
    uint32_t last = chain;
    while (chains[last].next) last = chains[last].next;
    chains[last].next = unused;
    unused = chain;
    chain = 0;
}

uint32_t Races::link(const Touch& touch, uint32_t next) {
    if (!unused) {
        chains.push_back({touch, next});
        return chains.size() - 1;
    }
    uint32_t at = unused;
    unused = chains[at].next;
    chains[at] = {touch, next};
    return at;
}

void Races::report(const Now& now, const char* does, unsigned other, const char* did, uint32_t place) {
    fprintf(stderr,
            "CUDA emulation: %s, block (%u, %u, %u): thread %u %s shared memory that thread %u %s, and nothing orders them\n"
            "  thread %u: %s\n  thread %u: %s\n",
            name_of_launch(), here.block.x, here.block.y, here.block.z, now.thread, does, other, did, now.thread, lines_of(now.place).c_str(),
            other, lines_of(place).c_str());
    end_launch();
}

} // namespace emulation

// What g++ calls.

using emulation::Access;
using emulation::here;

#define EXPORT extern "C" __attribute__((used))
#define TOUCH(at, bytes, access)                                     \
    if (emulation::watching.load(std::memory_order_relaxed) && here.races) here.races->touch((const void*)(at), bytes, Access::access, __builtin_return_address(0))
#define ACCESSES(bytes)                                                          \
    EXPORT void __tsan_read##bytes(void* at) { TOUCH(at, bytes, Read); }          \
    EXPORT void __tsan_write##bytes(void* at) { TOUCH(at, bytes, Write); }        \
    EXPORT void __tsan_unaligned_read##bytes(void* at) { TOUCH(at, bytes, Read); } \
    EXPORT void __tsan_unaligned_write##bytes(void* at) { TOUCH(at, bytes, Write); }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
EXPORT void __tsan_read_range(void* at, size_t bytes) { TOUCH(at, bytes, Read); }
EXPORT void __tsan_write_range(void* at, size_t bytes) { TOUCH(at, bytes, Write); }
EXPORT void __tsan_vptr_update(void*, void*) {}
EXPORT void __tsan_init() {}

#define CHANGE(name)                                                                    \
    EXPORT uint32_t __tsan_atomic32_##name(volatile uint32_t* at, uint32_t value, int) { \
        TOUCH(at, 4, Atomic);                                                           \
        return __atomic_##name(at, value, __ATOMIC_SEQ_CST);                            \
    }
CHANGE(fetch_add)
CHANGE(fetch_sub)
CHANGE(fetch_or)
CHANGE(fetch_and)
CHANGE(fetch_xor)
EXPORT uint32_t __tsan_atomic32_exchange(volatile uint32_t* at, uint32_t value, int) {
    TOUCH(at, 4, Atomic);
    return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST);
}
EXPORT uint32_t __tsan_atomic32_load(const volatile uint32_t* at, int) {
    TOUCH(at, 4, Atomic);
    return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}
EXPORT int __tsan_atomic32_compare_exchange_strong(volatile uint32_t* at, uint32_t* want, uint32_t value, int, int) {
    TOUCH(at, 4, Atomic);
    return __atomic_compare_exchange_n(at, want, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
EXPORT void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

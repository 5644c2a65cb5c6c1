// Watches the shared memory of a block for accesses that nothing orders: races.cpp.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <unordered_map>
#include <vector>

#include "emulation.h"

namespace emulation {

// A thread's own time: it goes on when the thread lets others know what it has done.
typedef uint32_t Stamp;

// Reads, or atomic accesses, of lanes of a warp at one time.
struct Touch {
    Stamp stamp;
    uint32_t lanes;
    uint32_t place; // in the code, from its start
    uint16_t warp;
    bool atomic;
};

struct Write {
    Stamp stamp; // UNDER_WAY until an asynchronous copy has been waited for
    uint32_t place;
    uint16_t thread;
    bool split; // the word's bytes have cells of their own
};

// What was done to a word, or to one of its bytes: the last write, and what came after it.
struct Cell {
    Write write;
    Touch touches[2]; // in use as far as their stamps are not 0
    uint32_t more;    // touches, in Races::chains
};

// What is known to those that a barrier lets go on: for each thread, what it did before that time.
struct Passing {
    std::vector<Stamp> arrived, done;
};

enum class Access { Read, Write, Atomic, Copy };

// What the C++ of a kernel does goes through __tsan_read4 and the like; blocks.cpp tells of barriers. A write and another access to a byte by
// another thread, unless both are atomic, are in order if barriers lead from one to the other: __syncthreads, __syncwarp, a
// part's barrier, or one in shared memory. Shuffles, votes and matrix products lead nowhere.
//
// Stamps never go back, not even from block to block, so that all cells of blocks before are old.
class Races {
public:
    Races(char* shared, size_t bytes);

    void watch(size_t most); // a launch, but no more accesses than that; none: its end
    void start_block(unsigned threads);
    void forget();                               // after a block that was given up
    void joined(unsigned warp, unsigned lanes);  // by __syncwarp
    void met();                                  // all threads, by __syncthreads
    void starts(const Barrier& barrier, void* from);
    void arrives(const Barrier& barrier, void* from);
    void phase_ends(const Barrier& barrier);
    void waits(const Barrier& barrier, void* from);
    void passes(const Barrier& barrier);
    void copy_starts(const void* to, unsigned bytes, void* from) { touch(to, bytes, Access::Copy, from); }
    void copy_ends(const void* to, unsigned bytes);

    // Of the thread that runs.
    void touch(const void* at, size_t size, Access access, void* from) {
        size_t offset = static_cast<const char*>(at) - shared, own = static_cast<const char*>(at) - reinterpret_cast<const char*>(&here);
        if (offset < bytes && own >= sizeof here) check(offset, size, access, from);
    }

private:
    // Who is at it, and when.
    struct Now {
        unsigned thread, warp, lane_bit;
        Stamp stamp;
        uint32_t place;
    };

    char* shared;
    size_t all, bytes = 0; // so many there are, so many are watched
    size_t left = 0;       // accesses
    bool lost = false;     // the end of a block
    char* code;
    Cell *words, *singles; // one for each word, and one for each byte
    struct Link {
        Touch touch;
        uint32_t next;
    };
    std::vector<Link> chains;
    uint32_t unused = 0;

    unsigned threads = 0;
    Stamp all_met;          // what was done before this is known to all
    Stamp warp_joined[32];  // and before this to all lanes of the warp
    Stamp time[1024];
    unsigned whole[32];     // the lanes that the warp started with
    // Where other barriers have been used in the block, for each thread what it knows of each.
    bool clocks_on = false;
    std::vector<Stamp> clocks;
    std::unordered_map<const void*, Passing> barriers;

    Now now(void* from) const;
    void check(size_t offset, size_t size, Access access, void* from);
    template <class Each>
    void each_cell(size_t offset, size_t size, Each each);
    void check_cell(Cell& cell, const Now& now, Access access);
    void stop();
    bool knows(const Now& now, unsigned warp, unsigned lanes, Stamp stamp) const;
    void check_write(const Cell& cell, const Now& now, Access access);
    void check_touch(const Touch& touch, const Now& now, Access access);
    void check_touches(const Cell& cell, const Now& now, Access access);
    void add(Cell& cell, const Touch& touch, const Now& now);
    void drop(uint32_t& chain);
    uint32_t link(const Touch& touch, uint32_t next);
    void use_clocks();
    Stamp* clock(unsigned thread) { return clocks.data() + size_t(thread) * threads; }
    void learn(std::vector<Stamp>& from, unsigned thread);
    Passing& passing(const Barrier& barrier);
    [[noreturn]] void report(const Now& now, const char* does, unsigned other, const char* did, uint32_t place);
};

} // namespace emulation

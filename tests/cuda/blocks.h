// What driver.cpp asks of blocks.cpp and expression.cpp.
#pragma once

#include <string>

#include "emulation.h"

namespace emulation {

struct Program;

struct Launch {
    Entry* entry;
    void** arguments;
    const Program* program; // of `f`, if the module has one
    dim3 grid, block;
    unsigned seed;
    size_t watched; // accesses to shared memory by a core, for races
};

// Of the launch that runs on this thread; the end comes with an error.
const char* name_of_launch();
[[noreturn]] void end_launch();

enum class Outcome { Done, Failed, BadAddress };

// Runs all blocks, on all cores; what went wrong is printed.
Outcome run(const Launch& launch);

// The program of `f` in a module's text; null if it has none; `error` tells what was not understood.
Program* read_program(const std::string& module, std::string& error);
void free_program(Program* program);
// Of the launch that runs on this thread.
extern thread_local const Program* current_program;

} // namespace emulation

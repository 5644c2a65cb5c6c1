// The function `f` that the backend writes into a module: one expression in straight-line PTX. It is read
// once and run here value by value.

#include <stdlib.h>

#include <map>
#include <vector>

// Last: it has names for CUDA that the system's headers use otherwise.
#include "blocks.h"

// Defined in shaders/banded_zip.cu.
extern "C" {
__attribute__((weak)) float expr_exp(float);
__attribute__((weak)) float expr_ln(float);
__attribute__((weak)) float expr_tanh(float);
__attribute__((weak)) float expr_sin(float);
__attribute__((weak)) float expr_cos(float);
}

namespace emulation {

namespace {

enum Operation { Move, Add, Subtract, Multiply, Divide, Fma, Negate, Absolute, Root, Minimum, Maximum, Less, LessEqual, Greater, GreaterEqual, Equal, NotEqual, Select, Call };

struct Step {
    Operation operation;
    int to, from[3];
    float (*function)(float);
};

const int CELLS = 4096;

} // namespace

// Registers, predicates and parameters are cells, and so are constants; the first three are the arguments.
struct Program {
    std::vector<Step> steps;
    std::vector<float> cells;
    int result;
};

namespace {

struct Reader {
    Program& program;
    std::map<std::string, int> cells;

    int cell(const std::string& name) {
        auto found = cells.emplace(name, int(program.cells.size()));
        if (found.second) {
            bool constant = name.compare(0, 2, "0f") == 0 || name.compare(0, 2, "0F") == 0;
            program.cells.push_back(constant ? bits<float>(unsigned(strtoul(name.c_str() + 2, nullptr, 16))) : 0);
        }
        return found.first->second;
    }

    // One instruction: its name, then its operands; brackets and parentheses are gone.
    bool read(const std::vector<std::string>& words) {
        static const std::map<std::string, Operation> operations = {
            {"ld", Move}, {"st", Move}, {"mov", Move}, {"add", Add}, {"sub", Subtract}, {"mul", Multiply},
            {"div", Divide}, {"fma", Fma}, {"neg", Negate}, {"abs", Absolute}, {"sqrt", Root}, {"min", Minimum}, {"max", Maximum},
            {"setp.lt", Less}, {"setp.le", LessEqual}, {"setp.gt", Greater}, {"setp.ge", GreaterEqual}, {"setp.eq", Equal},
            {"setp.neu", NotEqual}, {"selp", Select}};
        static const std::map<std::string, float (*)(float)> functions = {
            {"expr_exp", expr_exp}, {"expr_ln", expr_ln}, {"expr_tanh", expr_tanh}, {"expr_sin", expr_sin}, {"expr_cos", expr_cos}};
        std::string name = words[0];
        if (name[0] == '.' || name == "ret") return true;
        Step step = {};
        if (name.compare(0, 4, "call") == 0) {
            auto found = words.size() == 4 ? functions.find(words[2]) : functions.end();
            if (found == functions.end() || !found->second) return false;
            step = {Call, cell(words[1]), {cell(words[3])}, found->second};
        } else {
            for (const char* part : {".param", ".rn", ".f32"}) {
                size_t at = name.find(part);
                if (at != std::string::npos) name.erase(at, strlen(part));
            }
            auto found = operations.find(name);
            if (found == operations.end() || words.size() < 3 || words.size() > 5) return false;
            step.operation = found->second;
            step.to = cell(words[1]);
            for (size_t n = 2; n < words.size(); n++) step.from[n - 2] = cell(words[n]);
        }
        program.steps.push_back(step);
        return program.cells.size() <= CELLS;
    }
};

} // namespace

Program* read_program(const std::string& module, std::string& error) {
    // The definition: `.func (…) f(…) {`, the declaration has no body.
    size_t at = 0, open, close;
    do {
        at = module.find(") f(", at);
        if (at == std::string::npos) return nullptr;
        open = module.find_first_of("{;", ++at);
    } while (open == std::string::npos || module[open] == ';');
    int depth = 1;
    for (close = open + 1; depth && close < module.size(); close++) depth += (module[close] == '{') - (module[close] == '}');

    Program* program = new Program;
    Reader reader = {*program, {}};
    for (const char* name : {"f_param_0", "f_param_1", "f_param_2"}) reader.cell(name);
    program->result = reader.cell("func_retval0");
    std::vector<std::string> words;
    std::string word;
    for (size_t n = open + 1; n < close; n++) {
        char c = module[n];
        if (c == '/' && module[n + 1] == '/') n = module.find('\n', n);
        bool apart = strchr(" \t\r\n,[]();{}", c) || c == '/';
        if (!apart) word += c;
        if (apart && !word.empty()) {
            words.push_back(word);
            word.clear();
        }
        if (c == ';' && !words.empty()) {
            if (!reader.read(words)) {
                for (const std::string& each : words) error += each + " ";
                delete program;
                return nullptr;
            }
            words.clear();
        }
    }
    return program;
}

void free_program(Program* program) { delete program; }

} // namespace emulation

// What the kernels call.
extern "C" float f(float a, float b, float c) {
    using namespace emulation;
    const Program& program = *current_program;
    float cell[CELLS];
    memcpy(cell, program.cells.data(), program.cells.size() * sizeof *cell);
    cell[0] = a, cell[1] = b, cell[2] = c;
    for (const Step& step : program.steps) {
        float x = cell[step.from[0]], y = cell[step.from[1]], z = cell[step.from[2]], to = x;
        switch (step.operation) {
        case Move: break;
        case Add: to = x + y; break;
        case Subtract: to = x - y; break;
        case Multiply: to = x * y; break;
        case Divide: to = x / y; break;
        case Fma: to = fmaf(x, y, z); break;
        case Negate: to = -x; break;
        case Absolute: to = fabsf(x); break;
        case Root: to = sqrtf(x); break;
        case Minimum: to = fminf(x, y); break;
        case Maximum: to = fmaxf(x, y); break;
        case Less: to = x < y; break;
        case LessEqual: to = x <= y; break;
        case Greater: to = x > y; break;
        case GreaterEqual: to = x >= y; break;
        case Equal: to = x == y; break;
        case NotEqual: to = x != y; break;
        case Select: to = z != 0 ? x : y; break;
        case Call: to = step.function(x); break;
        }
        cell[step.to] = to;
    }
    return cell[program.result];
}

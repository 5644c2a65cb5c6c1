// A libcuda.so.1 with one device that is this machine's CPU: as much of CUDA's driver interface as the
// crate cudarc calls for the `cuda` backend. Everything happens at once; streams and events are names.
//
//   BANDSAW_EMULATED_MEMORY=bytes     how much memory the device has; 8 GiB if not given
//   BANDSAW_EMULATED_CAPABILITY=80    its compute capability; 90 if not given
//   BANDSAW_EMULATED_RACES=accesses   how many a core watches in a launch for races in shared memory; 2^20 if not given

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <vector>

// Last: it has names for CUDA that the system's headers use otherwise.
#include "blocks.h"

#define EXPORT extern "C" __attribute__((visibility("default"))) int

using namespace emulation;

namespace {

enum {
    SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, INVALID_DEVICE = 101, INVALID_CONTEXT = 201, INVALID_PTX = 218,
    UNSUPPORTED_PTX_VERSION = 222, INVALID_HANDLE = 400, NOT_FOUND = 500, ILLEGAL_ADDRESS = 700, LAUNCH_OUT_OF_RESOURCES = 701,
    LAUNCH_FAILED = 719, NOT_SUPPORTED = 801
};
const std::map<int, const char*> ERRORS = {
    {SUCCESS, "CUDA_SUCCESS"}, {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"}, {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"}, {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"}, {INVALID_PTX, "CUDA_ERROR_INVALID_PTX"},
    {UNSUPPORTED_PTX_VERSION, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"}, {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"}, {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"},
    {LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"}, {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED"}};

typedef uintptr_t Pointer; // of the device: the address itself

struct Module {
    std::string text;
    Program* program;
    std::map<std::string, struct Function*> functions;
};

struct Function {
    Entry* entry;
    Module* module;
    unsigned dynamic_limit;
};

struct Event {
    std::chrono::steady_clock::time_point time;
};

size_t from_environment(const char* name, size_t otherwise) {
    const char* text = getenv(name);
    return text ? strtoull(text, nullptr, 10) : otherwise;
}

// Its modules and its memory go with it. After a fault every call in it fails.
struct Context {
    int fault = SUCCESS;
    std::vector<Module*> modules;
};

// Keeps what is freed until it is trimmed, if it was told to.
struct Pool {
    size_t used = 0, kept = 0;
    bool keeps = false;
};

struct Allocation {
    size_t bytes;
    char* mapping;
    size_t mapped;
    Context* context;
    Pool* pool;
};

// What all calls share; a call holds the lock until it is done.
struct Device {
    std::recursive_mutex lock;
    std::map<std::string, Entry> entries;
    std::map<std::string, const void*> variables;
    std::map<Pointer, Allocation> allocations;
    std::set<Context*> contexts;
    Pool pool; // the default one
    size_t total = from_environment("BANDSAW_EMULATED_MEMORY", size_t(8) << 30), used = 0, kept = 0;
    int capability = int(from_environment("BANDSAW_EMULATED_CAPABILITY", 90));
    Context* primary = nullptr;
    int retained = 0;
    unsigned launches = 0;
};

Device& device() {
    static Device* device = new Device;
    return *device;
}

thread_local Context* current_context;

struct Call : std::lock_guard<std::recursive_mutex> {
    Call() : lock_guard(device().lock) {}
};

int ready() {
    Call call;
    return device().contexts.count(current_context) ? current_context->fault : INVALID_CONTEXT;
}

// Memory ends where its mapping does, but for what is missing to 16 bytes: what a kernel reads or writes
// behind it is a fault. It starts with all bits set.
int allocate(Pointer* to, size_t bytes, Pool* pool) {
    Call call;
    if (int error = ready()) return error;
    if (bytes == 0) return INVALID_VALUE;
    const size_t page = 4096;
    size_t whole = (bytes + 15) / 16 * 16, pages = (whole + page - 1) / page * page, again = std::min(pool->kept, whole);
    if (device().used + device().kept + whole - again > device().total) return OUT_OF_MEMORY;
    void* mapping = mmap(nullptr, pages + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) return OUT_OF_MEMORY;
    char* start = static_cast<char*>(mapping);
    mprotect(start + pages, page, PROT_NONE);
    memset(start, 0xff, pages);
    *to = Pointer(start + pages - whole);
    device().allocations[*to] = {whole, start, pages + page, current_context, pool};
    device().used += whole, pool->used += whole;
    device().kept -= again, pool->kept -= again;
    return SUCCESS;
}

int release(Pointer at) {
    Call call;
    if (!at) return SUCCESS;
    auto found = device().allocations.find(at);
    if (found == device().allocations.end()) return INVALID_VALUE;
    const Allocation& old = found->second;
    munmap(old.mapping, old.mapped);
    device().used -= old.bytes, old.pool->used -= old.bytes;
    if (old.pool->keeps) device().kept += old.bytes, old.pool->kept += old.bytes;
    device().allocations.erase(found);
    return SUCCESS;
}

void trim(Pool* pool, size_t to) {
    size_t less = pool->kept - std::min(pool->kept, to > pool->used ? to - pool->used : 0);
    device().kept -= less, pool->kept -= less;
}

int create(Context** context) {
    Call call;
    device().contexts.insert(*context = new Context);
    return current_context = *context, SUCCESS;
}

void unload(Module* module) {
    for (auto& function : module->functions) delete function.second;
    free_program(module->program);
    delete module;
}

int destroy(Context* context) {
    Call call;
    if (!device().contexts.erase(context)) return INVALID_CONTEXT;
    for (Module* module : context->modules) unload(module);
    std::vector<Pointer> left;
    for (const auto& each : device().allocations)
        if (each.second.context == context) left.push_back(each.first);
    for (Pointer at : left) release(at);
    if (current_context == context) current_context = nullptr;
    return delete context, SUCCESS;
}

// Whether the device has these bytes: in one allocation, or a variable of a module.
bool has(Pointer at, size_t bytes) {
    auto after = device().allocations.upper_bound(at);
    if (after != device().allocations.begin()) {
        auto found = std::prev(after);
        if (at - found->first + bytes <= found->second.bytes) return true;
    }
    for (const auto& variable : device().variables)
        if (Pointer(variable.second) == at) return bytes <= sizeof(unsigned);
    return false;
}

int copy(void* to, const void* from, size_t bytes, bool to_device, bool from_device) {
    Call call;
    if (int error = ready()) return error;
    if (to_device && !has(Pointer(to), bytes)) return INVALID_VALUE;
    if (from_device && !has(Pointer(from), bytes)) return INVALID_VALUE;
    memmove(to, from, bytes);
    return SUCCESS;
}

template <class T>
int fill(Pointer at, T value, size_t count) {
    Call call;
    if (int error = ready()) return error;
    if (!has(at, count * sizeof(T)) || at % sizeof(T)) return INVALID_VALUE;
    for (size_t n = 0; n < count; n++) reinterpret_cast<T*>(at)[n] = value;
    return SUCCESS;
}

// Whether the module's text has `word` after `.entry` or the like, and not a longer word.
bool names(const std::string& text, const std::string& before, const std::string& word) {
    std::string all = before + word;
    for (size_t at = 0; (at = text.find(all, at)) != std::string::npos; at++) {
        char next = text[at + all.size()];
        if (!isalnum(next) && next != '_' && next != '$') return true;
    }
    return false;
}

int launch(Function* function, dim3 grid, dim3 block, unsigned shared, void** arguments) {
    Call call;
    if (int error = ready()) return error;
    if (!function) return INVALID_HANDLE;
    unsigned long threads = (unsigned long)block.x * block.y * block.z;
    if (!threads || !grid.x || !grid.y || !grid.z || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535) return INVALID_VALUE;
    if (threads > function->entry->threads || shared > function->dynamic_limit) return INVALID_VALUE;
    Launch launch = {function->entry, arguments, function->module->program, grid, block, device().launches++, from_environment("BANDSAW_EMULATED_RACES", 1 << 20)};
    Outcome outcome = run(launch);
    if (outcome == Outcome::Failed) current_context->fault = LAUNCH_FAILED;
    if (outcome == Outcome::BadAddress) current_context->fault = ILLEGAL_ADDRESS;
    // As on a GPU, it is a later call that tells.
    return SUCCESS;
}

} // namespace

namespace emulation {
void add(const Entry& entry) { device().entries[entry.name] = entry; }
void add(const char* variable, const void* address) { device().variables[variable] = address; }
} // namespace emulation

EXPORT cuInit(unsigned) { return SUCCESS; }
EXPORT cuDriverGetVersion(int* version) { return *version = 13000, SUCCESS; }
EXPORT cuGetErrorName(int error, const char** name) {
    auto found = ERRORS.find(error);
    *name = found == ERRORS.end() ? nullptr : found->second;
    return *name ? SUCCESS : INVALID_VALUE;
}
EXPORT cuGetErrorString(int error, const char** text) { return cuGetErrorName(error, text); }

EXPORT cuDeviceGetCount(int* count) { return *count = 1, SUCCESS; }
EXPORT cuDeviceGet(int* handle, int ordinal) { return ordinal ? INVALID_DEVICE : (*handle = 0, SUCCESS); }
EXPORT cuDeviceGetName(char* name, int length, int) { return snprintf(name, length, "CUDA emulation"), SUCCESS; }
EXPORT cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = device().total, SUCCESS; }
EXPORT cuDeviceGetUuid(char* uuid, int) { return memset(uuid, 0xba, 16), SUCCESS; }
EXPORT cuDeviceGetUuid_v2(char* uuid, int) { return cuDeviceGetUuid(uuid, 0); }
EXPORT cuDeviceGetAttribute(int* value, int attribute, int) {
    // By the numbers of CUdevice_attribute: threads per block, block and grid sizes, shared memory, warp,
    // registers, multiprocessors, threads of one, unified addresses, second-level cache, memory pools.
    static const std::map<int, int> values = {
        {1, 1024}, {2, 1024}, {3, 1024}, {4, 64}, {5, 0x7fffffff}, {6, 65535}, {7, 65535}, {8, 48 << 10}, {10, 32}, {12, 65536}, {13, 1000000},
        {16, 4}, {38, 4 << 20}, {39, 2048}, {41, 1}, {81, 228 << 10}, {97, 227 << 10}, {106, 32}, {115, 1}};
    auto found = values.find(attribute);
    *value = attribute == 75 ? device().capability / 10 : attribute == 76 ? device().capability % 10 : found == values.end() ? 0 : found->second;
    return SUCCESS;
}

EXPORT cuDevicePrimaryCtxRetain(Context** context, int) {
    Call call;
    Context* before = current_context;
    if (device().retained++ == 0) create(&device().primary);
    current_context = before;
    return *context = device().primary, SUCCESS;
}
EXPORT cuDevicePrimaryCtxRelease_v2(int) {
    Call call;
    if (device().retained == 0) return INVALID_CONTEXT;
    return --device().retained == 0 ? destroy(device().primary) : SUCCESS;
}
EXPORT cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) { return *flags = 0, *active = device().retained > 0, SUCCESS; }
EXPORT cuCtxCreate_v2(Context** context, unsigned, int) { return create(context); }
EXPORT cuCtxCreate_v3(Context** context, void*, int, unsigned, int) { return create(context); }
EXPORT cuCtxCreate_v4(Context** context, void*, unsigned, int) { return create(context); }
EXPORT cuCtxDestroy_v2(Context* context) { return destroy(context); }
EXPORT cuCtxSetCurrent(Context* context) { return current_context = context, SUCCESS; }
EXPORT cuCtxGetCurrent(Context** context) { return *context = current_context, SUCCESS; }
EXPORT cuCtxGetDevice(int* handle) { return *handle = 0, current_context ? SUCCESS : INVALID_CONTEXT; }
EXPORT cuCtxSynchronize() { return ready(); }
EXPORT cuCtxSetFlags(unsigned) { return ready(); }
EXPORT cuCtxSetLimit(int, size_t) { return ready(); }
EXPORT cuCtxGetLimit(size_t* value, int) { return *value = 0, ready(); }
EXPORT cuCtxGetStreamPriorityRange(int* least, int* greatest) { return *least = *greatest = 0, ready(); }

EXPORT cuStreamCreate(void** stream, unsigned) { return *stream = new char, ready(); }
EXPORT cuStreamCreateWithPriority(void** stream, unsigned, int) { return *stream = new char, ready(); }
EXPORT cuStreamDestroy_v2(void* stream) { return delete static_cast<char*>(stream), SUCCESS; }
EXPORT cuStreamSynchronize(void*) { return ready(); }
EXPORT cuStreamQuery(void*) { return ready(); }
EXPORT cuStreamWaitEvent(void*, void*, unsigned) { return ready(); }
EXPORT cuStreamIsCapturing(void*, int* capturing) { return *capturing = 0, SUCCESS; }
EXPORT cuStreamGetCtx(void*, Context** context) { return *context = current_context, SUCCESS; }
EXPORT cuLaunchHostFunc(void*, void (*function)(void*), void* data) { return function(data), ready(); }

EXPORT cuEventCreate(Event** event, unsigned) { return *event = new Event(), ready(); }
EXPORT cuEventDestroy_v2(Event* event) { return delete event, SUCCESS; }
EXPORT cuEventRecord(Event* event, void*) { return event->time = std::chrono::steady_clock::now(), ready(); }
EXPORT cuEventQuery(Event*) { return ready(); }
EXPORT cuEventSynchronize(Event*) { return ready(); }
EXPORT cuEventElapsedTime(float* milliseconds, Event* start, Event* end) {
    return *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count(), ready();
}
EXPORT cuEventElapsedTime_v2(float* milliseconds, Event* start, Event* end) { return cuEventElapsedTime(milliseconds, start, end); }

EXPORT cuMemGetInfo_v2(size_t* free, size_t* total) {
    Call call;
    return *total = device().total, *free = device().total - device().used - device().kept, ready();
}
EXPORT cuMemAlloc_v2(Pointer* to, size_t bytes) { return allocate(to, bytes, &device().pool); }
EXPORT cuMemAllocAsync(Pointer* to, size_t bytes, void*) { return allocate(to, bytes, &device().pool); }
EXPORT cuMemAllocFromPoolAsync(Pointer* to, size_t bytes, Pool* pool, void*) { return allocate(to, bytes, pool); }
EXPORT cuMemFree_v2(Pointer at) { return release(at); }
EXPORT cuMemFreeAsync(Pointer at, void*) { return release(at); }
EXPORT cuMemHostAlloc(void** to, size_t bytes, unsigned) { return *to = malloc(bytes), *to ? ready() : OUT_OF_MEMORY; }
EXPORT cuMemAllocHost_v2(void** to, size_t bytes) { return cuMemHostAlloc(to, bytes, 0); }
EXPORT cuMemFreeHost(void* at) { return free(at), SUCCESS; }
EXPORT cuDeviceGetDefaultMemPool(Pool** pool, int) { return *pool = &device().pool, SUCCESS; }
EXPORT cuDeviceGetMemPool(Pool** pool, int) { return *pool = &device().pool, SUCCESS; }
EXPORT cuMemPoolCreate(Pool** pool, const void*) { return *pool = new Pool, SUCCESS; }
EXPORT cuMemPoolDestroy(Pool* pool) {
    Call call;
    trim(pool, 0);
    // The real driver waits until its memory is freed.
    if (pool->used == 0) delete pool;
    return SUCCESS;
}
EXPORT cuMemPoolSetAttribute(Pool* pool, int attribute, uint64_t* value) {
    if (attribute == 4) pool->keeps = *value > 0; // the release threshold
    return SUCCESS;
}
EXPORT cuMemPoolGetAttribute(Pool* pool, int attribute, uint64_t* value) {
    Call call;
    *value = attribute == 5 ? pool->used + pool->kept : attribute == 7 ? pool->used : 0; // reserved, in use
    return SUCCESS;
}
EXPORT cuMemPoolTrimTo(Pool* pool, size_t bytes) {
    Call call;
    return trim(pool, bytes), SUCCESS;
}
EXPORT cuPointerGetAttribute(void* value, int attribute, Pointer at) {
    Call call;
    if (!has(at, 1)) return INVALID_VALUE;
    if (attribute == 1) *static_cast<void**>(value) = current_context;
    else if (attribute == 2) *static_cast<unsigned*>(value) = 2; // memory of a device
    else if (attribute == 3) *static_cast<Pointer*>(value) = at;
    else if (attribute == 9) *static_cast<int*>(value) = 0; // which device
    else return NOT_SUPPORTED;
    return SUCCESS;
}

EXPORT cuMemcpyHtoD_v2(Pointer to, const void* from, size_t bytes) { return copy(reinterpret_cast<void*>(to), from, bytes, true, false); }
EXPORT cuMemcpyHtoDAsync_v2(Pointer to, const void* from, size_t bytes, void*) { return cuMemcpyHtoD_v2(to, from, bytes); }
EXPORT cuMemcpyDtoH_v2(void* to, Pointer from, size_t bytes) { return copy(to, reinterpret_cast<void*>(from), bytes, false, true); }
EXPORT cuMemcpyDtoHAsync_v2(void* to, Pointer from, size_t bytes, void*) { return cuMemcpyDtoH_v2(to, from, bytes); }
EXPORT cuMemcpyDtoD_v2(Pointer to, Pointer from, size_t bytes) {
    return copy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes, true, true);
}
EXPORT cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t bytes, void*) { return cuMemcpyDtoD_v2(to, from, bytes); }
EXPORT cuMemsetD8_v2(Pointer at, unsigned char value, size_t count) { return fill(at, value, count); }
EXPORT cuMemsetD8Async(Pointer at, unsigned char value, size_t count, void*) { return fill(at, value, count); }
EXPORT cuMemsetD16_v2(Pointer at, unsigned short value, size_t count) { return fill(at, value, count); }
EXPORT cuMemsetD16Async(Pointer at, unsigned short value, size_t count, void*) { return fill(at, value, count); }
EXPORT cuMemsetD32_v2(Pointer at, unsigned value, size_t count) { return fill(at, value, count); }
EXPORT cuMemsetD32Async(Pointer at, unsigned value, size_t count, void*) { return fill(at, value, count); }

// PTX is taken, not machine code; what runs are the entries that were compiled from the same sources.
EXPORT cuModuleLoadData(Module** handle, const void* image) {
    Call call;
    if (int error = ready()) return error;
    std::string text = static_cast<const char*>(image), error;
    size_t target = text.find(".target sm_");
    if (text.find(".version") == std::string::npos || target == std::string::npos) return INVALID_PTX;
    if (atoi(text.c_str() + target + 11) > device().capability) return UNSUPPORTED_PTX_VERSION;
    Program* program = read_program(text, error);
    if (!error.empty()) {
        fprintf(stderr, "CUDA emulation: not understood in f: %s\n", error.c_str());
        return INVALID_PTX;
    }
    *handle = new Module{text, program, {}};
    current_context->modules.push_back(*handle);
    return SUCCESS;
}
EXPORT cuModuleLoadDataEx(Module** handle, const void* image, unsigned, int*, void**) { return cuModuleLoadData(handle, image); }
EXPORT cuModuleUnload(Module* module) {
    Call call;
    if (int error = ready()) return error;
    auto& modules = current_context->modules;
    modules.erase(std::remove(modules.begin(), modules.end(), module), modules.end());
    return unload(module), SUCCESS;
}
EXPORT cuModuleGetFunction(Function** handle, Module* module, const char* name) {
    Call call;
    if (int error = ready()) return error;
    auto entry = device().entries.find(name);
    if (!names(module->text, ".entry ", name)) return NOT_FOUND;
    if (entry == device().entries.end()) {
        fprintf(stderr, "CUDA emulation: the module has %s, the compiled sources have not\n", name);
        return NOT_FOUND;
    }
    Function*& function = module->functions[name];
    if (!function) function = new Function{&entry->second, module, 48 << 10};
    return *handle = function, SUCCESS;
}
EXPORT cuModuleGetGlobal_v2(Pointer* at, size_t* bytes, Module* module, const char* name) {
    Call call;
    auto found = device().variables.find(name);
    if (found == device().variables.end() || !names(module->text, " ", name)) return NOT_FOUND;
    if (at) *at = Pointer(found->second);
    if (bytes) *bytes = sizeof(unsigned);
    return SUCCESS;
}
EXPORT cuFuncGetAttribute(int* value, int attribute, Function* function) {
    *value = attribute == 0 ? function->entry->threads : attribute == 8 ? function->dynamic_limit : attribute == 6 ? device().capability : 0;
    return SUCCESS;
}
EXPORT cuFuncSetAttribute(Function* function, int attribute, int value) {
    if (attribute == 8 && (value < 0 || value > 227 << 10)) return INVALID_VALUE;
    if (attribute == 8) function->dynamic_limit = unsigned(value);
    return SUCCESS;
}
EXPORT cuFuncSetCacheConfig(Function*, int) { return SUCCESS; }
EXPORT cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Function*, int, size_t) { return *blocks = 1, SUCCESS; }

EXPORT cuLaunchKernel(Function* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void*,
                      void** arguments, void**) {
    return launch(function, {gx, gy, gz}, {bx, by, bz}, shared, arguments);
}
struct LaunchConfig {
    unsigned gx, gy, gz, bx, by, bz, shared;
};
EXPORT cuLaunchKernelEx(const LaunchConfig* c, Function* function, void** arguments, void**) {
    return launch(function, {c->gx, c->gy, c->gz}, {c->bx, c->by, c->bz}, c->shared, arguments);
}

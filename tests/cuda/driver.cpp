// A libcuda.so.1 with one device that is this machine's CPU: as much of CUDA's driver interface as the
// crate cudarc calls for the `cuda` backend. Everything happens at once; streams and events are names.
//
//   BANDSAW_EMULATED_MEMORY=bytes     how much memory the device has; 8 GiB if not given
//   BANDSAW_EMULATED_CAPABILITY=80    its compute capability; 90 if not given

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <chrono>
#include <map>
#include <mutex>
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

struct Allocation {
    size_t bytes;
    char* mapping;
    size_t mapped;
};

// What all calls share; a call holds the lock until it is done.
struct Device {
    std::recursive_mutex lock;
    std::map<std::string, Entry> entries;
    std::map<std::string, const void*> variables;
    std::map<Pointer, Allocation> allocations;
    size_t total = from_environment("BANDSAW_EMULATED_MEMORY", size_t(8) << 30), used = 0;
    int capability = int(from_environment("BANDSAW_EMULATED_CAPABILITY", 90));
    int retained = 0;
    unsigned launches = 0;
    // After a fault every call fails until the context is given up.
    int fault = SUCCESS;
};

Device& device() {
    static Device* device = new Device;
    return *device;
}

char the_context, the_pool;
thread_local void* current_context;

struct Call : std::lock_guard<std::recursive_mutex> {
    Call() : lock_guard(device().lock) {}
};

int ready() { return !current_context ? INVALID_CONTEXT : device().fault; }

// Memory ends where its mapping does, but for what is missing to 16 bytes: what a kernel reads or writes
// behind it is a fault. It starts with all bits set.
int allocate(Pointer* to, size_t bytes) {
    Call call;
    if (int error = ready()) return error;
    if (bytes == 0) return INVALID_VALUE;
    const size_t page = 4096;
    size_t whole = (bytes + 15) / 16 * 16, pages = (whole + page - 1) / page * page;
    if (whole > device().total - device().used) return OUT_OF_MEMORY;
    void* mapping = mmap(nullptr, pages + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) return OUT_OF_MEMORY;
    char* start = static_cast<char*>(mapping);
    mprotect(start + pages, page, PROT_NONE);
    memset(start, 0xff, pages);
    *to = Pointer(start + pages - whole);
    device().allocations[*to] = {whole, start, pages + page};
    device().used += whole;
    return SUCCESS;
}

int release(Pointer at) {
    Call call;
    if (!at) return SUCCESS;
    auto found = device().allocations.find(at);
    if (found == device().allocations.end()) return INVALID_VALUE;
    munmap(found->second.mapping, found->second.mapped);
    device().used -= found->second.bytes;
    device().allocations.erase(found);
    return SUCCESS;
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
    Launch launch = {function->entry, arguments, function->module->program, grid, block, device().launches++};
    Outcome outcome = run(launch);
    if (outcome == Outcome::Failed) device().fault = LAUNCH_FAILED;
    if (outcome == Outcome::BadAddress) device().fault = ILLEGAL_ADDRESS;
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

EXPORT cuDevicePrimaryCtxRetain(void** context, int) {
    Call call;
    device().retained++;
    return *context = &the_context, SUCCESS;
}
EXPORT cuDevicePrimaryCtxRelease_v2(int) {
    Call call;
    if (device().retained == 0) return INVALID_CONTEXT;
    if (--device().retained == 0) device().fault = SUCCESS;
    return SUCCESS;
}
EXPORT cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) { return *flags = 0, *active = device().retained > 0, SUCCESS; }
EXPORT cuCtxSetCurrent(void* context) { return current_context = context, SUCCESS; }
EXPORT cuCtxGetCurrent(void** context) { return *context = current_context, SUCCESS; }
EXPORT cuCtxGetDevice(int* handle) { return *handle = 0, current_context ? SUCCESS : INVALID_CONTEXT; }
EXPORT cuCtxPushCurrent_v2(void* context) { return cuCtxSetCurrent(context); }
EXPORT cuCtxPopCurrent_v2(void** context) { return *context = current_context, current_context = nullptr, SUCCESS; }
EXPORT cuCtxSynchronize() {
    Call call;
    return ready();
}
EXPORT cuCtxSetFlags(unsigned) { return ready(); }
EXPORT cuCtxSetLimit(int, size_t) { return ready(); }
EXPORT cuCtxGetLimit(size_t* value, int) { return *value = 0, ready(); }
EXPORT cuCtxGetStreamPriorityRange(int* least, int* greatest) { return *least = *greatest = 0, ready(); }

EXPORT cuStreamCreate(void** stream, unsigned) { return *stream = new char, ready(); }
EXPORT cuStreamCreateWithPriority(void** stream, unsigned, int) { return *stream = new char, ready(); }
EXPORT cuStreamDestroy_v2(void* stream) { return delete static_cast<char*>(stream), SUCCESS; }
EXPORT cuStreamSynchronize(void*) { return cuCtxSynchronize(); }
EXPORT cuStreamQuery(void*) { return cuCtxSynchronize(); }
EXPORT cuStreamWaitEvent(void*, void*, unsigned) { return ready(); }
EXPORT cuStreamIsCapturing(void*, int* capturing) { return *capturing = 0, SUCCESS; }
EXPORT cuStreamGetCtx(void*, void** context) { return *context = &the_context, SUCCESS; }
EXPORT cuLaunchHostFunc(void*, void (*function)(void*), void* data) { return function(data), ready(); }

EXPORT cuEventCreate(Event** event, unsigned) { return *event = new Event(), ready(); }
EXPORT cuEventDestroy_v2(Event* event) { return delete event, SUCCESS; }
EXPORT cuEventRecord(Event* event, void*) { return event->time = std::chrono::steady_clock::now(), ready(); }
EXPORT cuEventQuery(Event*) { return cuCtxSynchronize(); }
EXPORT cuEventSynchronize(Event*) { return cuCtxSynchronize(); }
EXPORT cuEventElapsedTime(float* milliseconds, Event* start, Event* end) {
    return *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count(), ready();
}
EXPORT cuEventElapsedTime_v2(float* milliseconds, Event* start, Event* end) { return cuEventElapsedTime(milliseconds, start, end); }

EXPORT cuMemGetInfo_v2(size_t* free, size_t* total) {
    Call call;
    return *total = device().total, *free = device().total - device().used, ready();
}
EXPORT cuMemAlloc_v2(Pointer* to, size_t bytes) { return allocate(to, bytes); }
EXPORT cuMemAllocAsync(Pointer* to, size_t bytes, void*) { return allocate(to, bytes); }
EXPORT cuMemAllocFromPoolAsync(Pointer* to, size_t bytes, void*, void*) { return allocate(to, bytes); }
EXPORT cuMemFree_v2(Pointer at) { return release(at); }
EXPORT cuMemFreeAsync(Pointer at, void*) { return release(at); }
EXPORT cuMemHostAlloc(void** to, size_t bytes, unsigned) { return *to = malloc(bytes), *to ? ready() : OUT_OF_MEMORY; }
EXPORT cuMemAllocHost_v2(void** to, size_t bytes) { return cuMemHostAlloc(to, bytes, 0); }
EXPORT cuMemFreeHost(void* at) { return free(at), SUCCESS; }
EXPORT cuDeviceGetDefaultMemPool(void** pool, int) { return *pool = &the_pool, SUCCESS; }
EXPORT cuDeviceGetMemPool(void** pool, int) { return *pool = &the_pool, SUCCESS; }
EXPORT cuDeviceSetMemPool(int, void*) { return SUCCESS; }
EXPORT cuMemPoolCreate(void** pool, const void*) { return *pool = &the_pool, SUCCESS; }
EXPORT cuMemPoolDestroy(void*) { return SUCCESS; }
EXPORT cuMemPoolSetAttribute(void*, int, void*) { return SUCCESS; }
EXPORT cuMemPoolGetAttribute(void*, int, uint64_t* value) { return *value = 0, SUCCESS; }
EXPORT cuMemPoolTrimTo(void*, size_t) { return SUCCESS; }
EXPORT cuPointerGetAttribute(void* value, int attribute, Pointer at) {
    Call call;
    if (!has(at, 1)) return INVALID_VALUE;
    if (attribute == 1) *static_cast<void**>(value) = &the_context;
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
    return SUCCESS;
}
EXPORT cuModuleLoadDataEx(Module** handle, const void* image, unsigned, int*, void**) { return cuModuleLoadData(handle, image); }
EXPORT cuModuleUnload(Module* module) {
    Call call;
    for (auto& function : module->functions) delete function.second;
    free_program(module->program);
    delete module;
    return SUCCESS;
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

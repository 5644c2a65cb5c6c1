#!/usr/bin/env python3
"""Checks the emulation itself; a GPU gives the same, but where a kernel is wrong on purpose.

    LD_LIBRARY_PATH=$(scripts/cuda-emulator) tests/cuda/check.py
    tests/cuda/check.py check.ptx       on a GPU, with the PTX of check.cu
    tests/cuda/check.py check_races.ptx right|wrong     only runs those kernels, for compute-sanitizer to tell
"""

import ctypes as c
import math
import os
import random
import re
import struct
import sys
import tempfile

driver = c.CDLL("libcuda.so.1")
FLOAT, WORD = "f", "I"
with open(os.path.join(os.path.dirname(__file__), "check_races.cu")) as file:
    RACES = re.findall(r"^RACE\((\d+), (\w+)\)", file.read(), re.M)
if len(sys.argv) > 1:
    PTX = open(sys.argv[1], "rb").read()
else:
    names = ["sum", "reverse", "no_barrier", "dynamic", "votes", "stuck", "outside", "product", "product_brain"]
    PTX = b".version 8.0\n.target sm_80\n.global .align 4 .u32 check_dynamic_shared = 102400;\n"
    PTX += b"".join(b".visible .entry check_%s()\n" % name.encode() for name in names)
    PTX += b"".join(b".visible .entry race_%s_%s()\n" % (name.encode(), kind) for _, name in RACES for kind in (b"right", b"wrong"))
EMULATED = len(sys.argv) == 1


def ask(name, *arguments, want=0):
    got = getattr(driver, name)(*arguments)
    assert got == want, f"{name}: {got}, not {want}"


class Context:
    """A context with the module; what is in it goes with it."""

    def __enter__(self):
        self.context, self.module = c.c_void_p(), c.c_void_p()
        ask("cuInit", 0)
        ask("cuCtxCreate_v2", c.byref(self.context), 0, 0)
        ask("cuModuleLoadData", c.byref(self.module), PTX)
        return self

    def __exit__(self, *_):
        driver.cuCtxDestroy_v2(self.context)

    def launch(self, name, blocks, data, outputs, kind=FLOAT, count=None, want=0):
        """Runs entry `name` with `data` (bytes), gives `outputs` numbers."""
        function, shared = c.c_void_p(), c.c_uint()
        ask("cuModuleGetFunction", c.byref(function), self.module, name.encode())
        threads, address, size = c.c_int(), c.c_uint64(), c.c_size_t()
        ask("cuFuncGetAttribute", c.byref(threads), 0, function)
        if driver.cuModuleGetGlobal_v2(c.byref(address), c.byref(size), self.module, name.encode() + b"_shared") == 0:
            ask("cuMemcpyDtoH_v2", c.byref(shared), address, c.c_size_t(4))
            ask("cuFuncSetAttribute", function, 8, shared)
        source, target = c.c_uint64(), c.c_uint64()
        ask("cuMemAlloc_v2", c.byref(source), c.c_size_t(len(data)))
        ask("cuMemAlloc_v2", c.byref(target), c.c_size_t(outputs * 4))
        ask("cuMemcpyHtoD_v2", source, data, c.c_size_t(len(data)))
        params = c.c_uint(len(data) // 4 if count is None else count)
        arguments = (c.c_void_p * 3)(*[c.addressof(x) for x in (params, source, target)])
        ask("cuLaunchKernel", function, blocks, 1, 1, threads, 1, 1, shared, None, arguments, None)
        out = c.create_string_buffer(outputs * 4)
        ask("cuCtxSynchronize", want=want)
        if want:
            return None
        ask("cuMemcpyDtoH_v2", out, target, c.c_size_t(outputs * 4))
        return list(struct.unpack(f"{outputs}{kind}", out.raw))


def pack(kind, values):
    return struct.pack(f"{len(values)}{kind}", *values)


def check_threads(gpu):
    values = [float(n % 97) for n in range(100 * 256)]
    assert gpu.launch("check_sum", 100, pack(FLOAT, values), 100) == [sum(values[n * 256 : n * 256 + 256]) for n in range(100)]
    reverse = [values[n - n % 128 + 127 - n % 128] for n in range(200 * 128)]
    assert gpu.launch("check_reverse", 200, pack(FLOAT, values), 200 * 128) == reverse
    if EMULATED:
        # Whichever way the threads took turns, half of them read what was not there yet.
        os.environ["BANDSAW_EMULATED_RACES"] = "0"
        got = gpu.launch("check_no_barrier", 200, pack(FLOAT, values), 200 * 128)
        del os.environ["BANDSAW_EMULATED_RACES"]
        assert all(math.isnan(x) or x == y for x, y in zip(got, reverse)) and sum(map(math.isnan, got)) > 200 * 40, got[:128]
    many = [float(n) for n in range(25 << 10)]
    assert gpu.launch("check_dynamic", 1, pack(FLOAT, many), len(many)) == many[::-1]


def check_votes(gpu):
    values = [(n * 37 + 11) % 101 if n < 64 else n % 7 for n in range(96)]
    got = gpu.launch("check_votes", 1, pack(WORD, values), 96 * 5, WORD)
    for n in range(96):
        warp = values[n - n % 32 :][:32]
        odd = sum((x & 1) << lane for lane, x in enumerate(warp))
        half = sum((x >> 1 & 1) << lane for lane, x in enumerate(warp[:16])) if n % 32 < 16 else 0
        source = values[n - 3] if n % 8 >= 3 else values[n]
        want = [odd, any(x > 90 for x in warp) | all(x < 90 for x in warp) << 1, half, source, sum(x & 1 for x in values)]
        assert got[n * 5 : n * 5 + 5] == want, (n, got[n * 5 : n * 5 + 5], want)


def pack_halves(values, brain):
    """f16, or bf16: the upper halves of f32, the rest cut off."""
    return b"".join(pack(FLOAT, [x])[2:] for x in values) if brain else pack("e", values)


def unpack_halves(data, brain):
    if not brain:
        return list(struct.unpack(f"{len(data) // 2}e", data))
    return [struct.unpack(FLOAT, b"\0\0" + data[n : n + 2])[0] for n in range(0, len(data), 2)]


def check_product(gpu, brain):
    def random_half():
        return unpack_halves(pack_halves([random.uniform(-2, 2)], brain), brain)[0]

    a = [[random_half() for _ in range(16)] for _ in range(16)]
    b = [[random_half() for _ in range(8)] for _ in range(16)]
    data = pack_halves(sum(a, []) + sum(b, []), brain)
    for rows in (16, 8):  # of B: zeros where cp_async_16 was told not to copy
        got = gpu.launch("check_product" + "_brain" * brain, 1, data, 128 + 256, WORD, count=128 + rows * 4)
        sums = struct.unpack("128f", pack(WORD, got[:128]))
        for i in range(16):
            for j in range(8):
                want = 1 + j % 2 + i // 8 * 2 + sum(a[i][k] * b[k][j] for k in range(rows))
                assert abs(sums[i * 8 + j] - want) < 1e-4, (i, j, sums[i * 8 + j], want)
        for lane in range(32):
            row, pair = lane // 4, lane % 4 * 2
            zero = [[0.0] * 8] * (16 - rows)
            right = b[:rows] + zero
            want = [a[row + i][pair + k + n] for k in (0, 8) for i in (0, 8) for n in (0, 1)]
            want += [right[pair + k + n][row] for k in (0, 8) for n in (0, 1)] + [right[row + k][pair + n] for k in (0, 8) for n in (0, 1)]
            have = unpack_halves(pack(WORD, got[128 + lane * 8 :][:8]), brain)
            assert have == want, (lane, have, want)


class Errors:
    """What goes to stderr meanwhile."""

    def __enter__(self):
        self.kept, self.file = os.dup(2), tempfile.TemporaryFile()
        os.dup2(self.file.fileno(), 2)
        return self

    def __exit__(self, *_):
        os.dup2(self.kept, 2)
        os.close(self.kept)
        self.file.seek(0)
        self.text = self.file.read().decode()


def race(threads, name, kind, error=0):
    """Five blocks; all that comes out was in there."""
    values = [float(1 + n % 50) for n in range(5 * int(threads))]
    with Context() as gpu:
        got = gpu.launch(f"race_{name}_{kind}", 5, pack(FLOAT, values), len(values), want=error)
    assert error or kind == "wrong" or set(got) <= set(values), (name, got)


def check_races():
    """What nothing orders is found, with both places; what is in order is not."""
    for threads, name in RACES:
        for kind, error in (("right", 0), ("wrong", 719), ("right", 0)):
            with Errors() as errors:
                race(threads, name, kind, error)
            if not error:
                assert not errors.text, (name, errors.text)
                continue
            assert f"race_{name}_wrong, block" in errors.text and "and nothing orders them" in errors.text, (name, errors.text)
            places = re.findall(r"thread \d+: (tests/cuda/check_races.cu|shaders/shared/\w+.cuh):\d+", errors.text)
            assert len(places) % 2 == 0 and len(places) > 0, (name, errors.text)
    assert len(RACES) >= 20


if b".entry race_" in PTX and not EMULATED:
    for threads, name in RACES:
        race(threads, name, sys.argv[2])
    sys.exit()
with Context() as gpu:
    check_threads(gpu)
    check_votes(gpu)
    check_product(gpu, False)
    check_product(gpu, True)
if EMULATED:
    check_races()
    values = pack(FLOAT, [1.0] * 64)
    for name, error in [("check_stuck", 719), ("check_outside", 700)]:
        with Context() as gpu:
            gpu.launch(name, 1, values, 64, count=64, want=error)
    with Context() as gpu:
        check_threads(gpu)
print("the emulation is right" if EMULATED else "the GPU is right")

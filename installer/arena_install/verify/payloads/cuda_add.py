"""Adds two vectors on every GPU that this container sees, through the driver's own library: it proves that code for the
GPU is translated, runs and gives the right result, and needs no CUDA toolkit in the image.

The kernel is PTX, which every driver translates for the GPU that it has. Reports a record "added" for each GPU.
"""

from __future__ import annotations

import array
import ctypes
import sys

from gpu_view import report  # type: ignore[import-not-found]  # mounted beside this file

COUNT = 1 << 20
BLOCK = 256

PTX = b"""
.version 6.4
.target sm_50
.address_size 64
.visible .entry add(.param .u64 left, .param .u64 right, .param .u64 sum, .param .u32 count)
{
    .reg .pred %outside;
    .reg .b32 %block, %size, %thread, %index, %limit;
    .reg .f32 %a, %b, %c;
    .reg .b64 %left, %right, %sum, %offset;
    ld.param.u64 %left, [left];
    ld.param.u64 %right, [right];
    ld.param.u64 %sum, [sum];
    ld.param.u32 %limit, [count];
    mov.u32 %block, %ctaid.x;
    mov.u32 %size, %ntid.x;
    mov.u32 %thread, %tid.x;
    mad.lo.s32 %index, %block, %size, %thread;
    setp.ge.u32 %outside, %index, %limit;
    @%outside bra END;
    cvta.to.global.u64 %left, %left;
    cvta.to.global.u64 %right, %right;
    cvta.to.global.u64 %sum, %sum;
    mul.wide.u32 %offset, %index, 4;
    add.s64 %left, %left, %offset;
    add.s64 %right, %right, %offset;
    add.s64 %sum, %sum, %offset;
    ld.global.f32 %a, [%left];
    ld.global.f32 %b, [%right];
    add.f32 %c, %a, %b;
    st.global.f32 [%sum], %c;
END:
    ret;
}
\x00"""


class CudaError(Exception):
    pass


class Cuda:
    """The few calls of libcuda that this takes; each raises CudaError with the driver's own name for what is wrong."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")

    def __call__(self, name: str, *arguments: object) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorName(code, ctypes.byref(text))
            raise CudaError(f"{name}: {(text.value or b'error').decode()} ({code})")


def wrong(cuda: Cuda, index: int, count: int) -> tuple[str, int]:
    """(the GPU's name, how many of `count` sums are wrong). Leaves nothing on the GPU."""
    device, context, module, kernel = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    name = ctypes.create_string_buffer(96)
    cuda("cuDeviceGet", ctypes.byref(device), index)
    cuda("cuDeviceGetName", name, len(name), device)
    cuda("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    try:
        cuda("cuCtxSetCurrent", context)
        cuda("cuModuleLoadData", ctypes.byref(module), PTX)
        cuda("cuModuleGetFunction", ctypes.byref(kernel), module, b"add")
        left = array.array("f", (float(i % 1024) for i in range(count)))
        right = array.array("f", (float(i % 4096) for i in range(count)))
        found = array.array("f", bytes(4 * count))
        places = [ctypes.c_uint64() for _ in range(3)]
        for place in places:
            cuda("cuMemAlloc_v2", ctypes.byref(place), ctypes.c_size_t(4 * count))
        for place, values in zip(places, (left, right), strict=False):
            cuda("cuMemcpyHtoD_v2", place, ctypes.c_void_p(values.buffer_info()[0]), ctypes.c_size_t(4 * count))
        given = [*places, ctypes.c_uint32(count)]
        pointers = (ctypes.c_void_p * 4)(*(ctypes.cast(ctypes.byref(value), ctypes.c_void_p) for value in given))
        cuda("cuLaunchKernel", kernel, -(-count // BLOCK), 1, 1, BLOCK, 1, 1, 0, None, pointers, None)
        cuda("cuCtxSynchronize")
        cuda("cuMemcpyDtoH_v2", ctypes.c_void_p(found.buffer_info()[0]), places[2], ctypes.c_size_t(4 * count))
        for place in places:
            cuda("cuMemFree_v2", place)
        return name.value.decode(), sum(a + b != c for a, b, c in zip(left, right, found, strict=True))
    finally:
        cuda("cuDevicePrimaryCtxRelease_v2", device)


def main() -> int:
    count = ctypes.c_int()
    try:
        cuda = Cuda()
        cuda("cuInit", 0)
        cuda("cuDeviceGetCount", ctypes.byref(count))
    except (OSError, AttributeError, CudaError) as error:
        report("added", index=-1, name="", wrong=COUNT, count=COUNT, error=str(error))
        return 0
    for index in range(count.value):
        try:
            name, bad = wrong(cuda, index, COUNT)
            report("added", index=index, name=name, wrong=bad, count=COUNT, error="")
        except (AttributeError, CudaError) as error:
            report("added", index=index, name="", wrong=COUNT, count=COUNT, error=str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())

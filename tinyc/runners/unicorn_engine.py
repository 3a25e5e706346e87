"""Unicorn's C interface, the few functions of it that running a program needs.

Unicorn's own Python binding calls Python for each watched instruction; here they are watched by compiled code (runtime/emulator), which
needs the interface as it is in unicorn/unicorn.h.
"""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path
from typing import Any, Final

from tinyc.errors import ToolError

PACKAGE: Final = "unicorn"
LIBRARIES: Final = ("libunicorn.so.2", "libunicorn.2.dylib", "libunicorn.so", "libunicorn.dylib", "unicorn.dll")

UC_ARCH_ARM: Final = 1
UC_MODE_THUMB: Final = 1 << 4
UC_MODE_MCLASS: Final = 1 << 5
UC_PROT_READ: Final = 1
UC_PROT_WRITE: Final = 2
UC_PROT_EXEC: Final = 4
UC_HOOK_INTR: Final = 1 << 0
UC_HOOK_CODE: Final = 1 << 2
UC_HOOK_MEM_BAD: Final = 0b111111 << 4
"""Accesses to memory that is not there, and those that its protection forbids."""
UC_HOOK_MEM_READ: Final = 1 << 10
UC_HOOK_MEM_WRITE: Final = 1 << 11
UC_MEM_WRITE: Final = 17
UC_MEM_READ_UNMAPPED: Final = 19
UC_MEM_WRITE_UNMAPPED: Final = 20
UC_MEM_FETCH_UNMAPPED: Final = 21
UC_MEM_WRITE_PROT: Final = 22
UC_MEM_FETCH_PROT: Final = 24
UC_CTL_WRITE_CPU_MODEL: Final = 1 << 30 | 1 << 26 | 7
CPU_MODELS: Final = {"cortex-m4": 9, "cortex-m7": 10}

REGISTERS: Final = (*range(66, 79), 12, 10, 11)
"""Unicorn's numbers of r0 to r12, sp, lr and pc."""
SP: Final = REGISTERS[13]
LR: Final = REGISTERS[14]
FPEXC: Final = 4
STATUS_REGISTER: Final = 3


def find_unicorn() -> Path:
    """The library of the Python package unicorn; raises ToolError naming the package where there is none."""
    package = importlib.util.find_spec(PACKAGE)
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        for name in LIBRARIES:
            path = Path(folder) / "lib" / name
            if path.is_file():
                return path
    raise ToolError("Unicorn is not installed; pip install 'tinyc[emulator]'")


class EngineError(Exception):
    """A call of Unicorn failed; `code` is its uc_err."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Engine:
    """One emulated core. Addresses and sizes in bytes; `close` it, or use it in a `with`."""

    def __init__(self, core: str) -> None:
        """`core` is a key of CPU_MODELS. Raises ToolError where Unicorn is missing or too old."""
        path = find_unicorn()
        try:
            self.library = ctypes.CDLL(str(path))
        except OSError as error:
            raise ToolError(f"cannot load {path}: {error}") from error
        version = self.library.uc_version(None, None) >> 24
        if version < 2:
            raise ToolError(f"Unicorn {version} is too old; pip install 'unicorn>=2'")
        self.library.uc_strerror.restype = ctypes.c_char_p
        self.handle = ctypes.c_void_p()
        self._kept: list[Any] = []
        self._call("open", ctypes.c_int(UC_ARCH_ARM), ctypes.c_int(UC_MODE_THUMB | UC_MODE_MCLASS), ctypes.byref(self.handle))
        self.library.uc_ctl.argtypes = [ctypes.c_void_p, ctypes.c_uint]  # what follows is variadic
        self._call("ctl", self.handle, UC_CTL_WRITE_CPU_MODEL, ctypes.c_int(CPU_MODELS[core]))

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees the emulated memory."""
        if self.handle:
            self.library.uc_close(self.handle)
            self.handle = ctypes.c_void_p()

    def map(self, address: int, size: int, protection: int) -> None:
        """Memory of zeros; both numbers must be multiples of 4096."""
        self._call("mem_map", self.handle, ctypes.c_uint64(address), ctypes.c_size_t(size), ctypes.c_uint32(protection))

    def write(self, address: int, data: bytes) -> None:
        """Puts `data` there, whatever the protection."""
        self._call("mem_write", self.handle, ctypes.c_uint64(address), data, ctypes.c_size_t(len(data)))

    def read(self, address: int, size: int) -> bytes:
        """The `size` bytes from `address` on; raises EngineError where there is no memory."""
        buffer = ctypes.create_string_buffer(size)
        self._call("mem_read", self.handle, ctypes.c_uint64(address), buffer, ctypes.c_size_t(size))
        return buffer.raw

    def set_register(self, identifier: int, value: int) -> None:
        """Sets one of REGISTERS or FPEXC."""
        self._call("reg_write", self.handle, ctypes.c_int(identifier), ctypes.byref(ctypes.c_uint32(value)))

    def register(self, identifier: int) -> int:
        """The value of one of REGISTERS or FPEXC."""
        value = ctypes.c_uint32()
        self._call("reg_read", self.handle, ctypes.c_int(identifier), ctypes.byref(value))
        return value.value

    def hook(self, kind: int, callback: Any, data: Any, first: int = 1, last: int = 0) -> None:
        """Has the C function `callback` called, with the address of the structure `data`, for `kind` at the addresses `first` to `last`."""
        pointer = ctypes.byref(data)
        self._kept += [callback, data]
        function = ctypes.cast(callback, ctypes.c_void_p)
        limits = ctypes.c_uint64(first), ctypes.c_uint64(last)
        self._call("hook_add", self.handle, ctypes.byref(ctypes.c_size_t()), ctypes.c_int(kind), function, pointer, *limits)

    def start(self, address: int) -> None:
        """Executes Thumb code from `address` on until it is stopped. Raises EngineError where it cannot go on."""
        until, no_limit = ctypes.c_uint64(0xFFFF_FFFE), ctypes.c_uint64(0)
        self._call("emu_start", self.handle, ctypes.c_uint64(address | 1), until, no_limit, ctypes.c_size_t(0))

    def function_address(self, name: str) -> int:
        """Where the function `name` of the C interface lies in this process."""
        return ctypes.cast(getattr(self.library, name), ctypes.c_void_p).value or 0

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self.library, f"uc_{name}")(*arguments)
        if code != 0:
            raise EngineError(code, self.library.uc_strerror(code).decode())

"""Arm semihosting as the harness uses it: two files of the work folder, text, exit. A program cannot reach any other file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

OPEN: Final = 0x01
CLOSE: Final = 0x02
WRITE: Final = 0x05
READ: Final = 0x06
EXIT: Final = 0x18
EXIT_EXTENDED: Final = 0x20
CONSOLE: Final = ":tt"
FAILED: Final = 0xFFFF_FFFF
NAME_LIMIT: Final = 256
SIZE_LIMIT: Final = 1 << 28
"""Bytes that a program may write in all, or read at once: a broken one must not take this machine's memory."""


@dataclass
class Semihosting:
    """Answers the calls of one program, whose memory `read` and `write` give access to.

    `inputs` are the files that it may read; what it writes is collected in `outputs`, text in `console`. `status` is its exit code, None
    until it has ended.
    """

    read: Callable[[int, int], bytes]
    write: Callable[[int, bytes], None]
    inputs: dict[str, bytes]
    outputs: dict[str, bytearray]
    console: bytearray = field(default_factory=bytearray)
    status: int | None = None
    _handles: list[tuple[str, bool]] = field(default_factory=list)
    _positions: dict[int, int] = field(default_factory=dict)

    def call(self, operation: int, parameter: int) -> int:
        """The result of `operation`, whose parameter block lies at `parameter`; unknown operations fail, as they do with a debugger."""
        if operation == EXIT:
            self.status = 1 if self.status is None else self.status
            return 0
        block = [int.from_bytes(self.read(parameter + 4 * index, 4), "little") for index in range(3 if operation != CLOSE else 1)]
        if operation == EXIT_EXTENDED:
            self.status = block[1]
            return 0
        if operation == OPEN:
            return self._open(self.read(block[0], min(block[2], NAME_LIMIT)).decode("latin-1"), block[1] >= 4)
        if block[0] >= len(self._handles):
            return FAILED
        if operation == WRITE:
            return self._write(block[0], block[1], block[2])
        if operation == READ:
            return self._read(block[0], block[1], block[2])
        return 0 if operation == CLOSE else FAILED

    def _open(self, name: str, for_writing: bool) -> int:
        if name != CONSOLE and name not in (self.outputs if for_writing else self.inputs):
            return FAILED
        self._handles.append((name, for_writing))
        self._positions[len(self._handles) - 1] = 0
        return len(self._handles) - 1

    def _write(self, handle: int, address: int, size: int) -> int:
        name, for_writing = self._handles[handle]
        written = self.console if name == CONSOLE else self.outputs.get(name, bytearray())
        if not for_writing or len(written) + size > SIZE_LIMIT:
            return size
        written.extend(self.read(address, size))
        return 0

    def _read(self, handle: int, address: int, size: int) -> int:
        """The number of bytes that were not there any more."""
        name, for_writing = self._handles[handle]
        if for_writing or name == CONSOLE:
            return size
        start = self._positions[handle]
        data = self.inputs[name][start : start + size]
        self._positions[handle] = start + len(data)
        self.write(address, data)
        return size - len(data)

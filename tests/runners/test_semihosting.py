"""Semihosting reaches the two files of a run and the console, and nothing else of this machine."""

from __future__ import annotations

import pytest

from tinyc.runners.semihosting import CLOSE, EXIT, EXIT_EXTENDED, FAILED, OPEN, READ, SIZE_LIMIT, WRITE, Semihosting

READ_MODE, WRITE_MODE = 1, 5


class Program:
    """A program's memory, and calls as it makes them."""

    def __init__(self, inputs: bytes = b"") -> None:
        self.memory = bytearray(1024)
        self.host = Semihosting(self.read, self.write, {"input.bin": inputs}, {"output.bin": bytearray()})

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.memory[address : address + size])

    def write(self, address: int, data: bytes) -> None:
        self.memory[address : address + len(data)] = data

    def call(self, operation: int, *block: int) -> int:
        for index, word in enumerate(block):
            self.write(16 + 4 * index, word.to_bytes(4, "little"))
        return self.host.call(operation, 16)

    def open(self, name: bytes, mode: int) -> int:
        self.write(64, name + b"\0")
        return self.call(OPEN, 64, mode, len(name))


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (b"/etc/passwd", READ_MODE),
        (b"../input.bin", READ_MODE),
        (b"output.bin", READ_MODE),
        (b"input.bin", WRITE_MODE),
        (b"x" * 300, READ_MODE),
    ],
)
def test_other_files_cannot_be_opened(name: bytes, mode: int) -> None:
    assert Program().open(name, mode) == FAILED


def test_reading_goes_on_where_it_stopped_and_says_what_is_missing() -> None:
    program = Program(b"abcdefgh")
    handle = program.open(b"input.bin", READ_MODE)
    assert program.call(READ, handle, 512, 5) == 0
    assert program.read(512, 6) == b"abcde\0"
    assert program.call(READ, handle, 512, 5) == 2
    assert program.read(512, 5) == b"fghde"
    assert program.call(READ, handle, 512, 5) == 5


def test_writing_appends_to_the_output_and_to_the_console_apart() -> None:
    program = Program()
    output, console = program.open(b"output.bin", WRITE_MODE), program.open(b":tt", WRITE_MODE)
    program.write(512, b"one two")
    assert program.call(WRITE, output, 512, 3) == 0
    assert program.call(WRITE, console, 516, 3) == 0
    assert program.call(WRITE, output, 515, 4) == 0
    assert bytes(program.host.outputs["output.bin"]) == b"one two"
    assert bytes(program.host.console) == b"two"


def test_handles_that_were_never_given_and_the_wrong_direction_fail() -> None:
    program = Program(b"abc")
    given = program.open(b"input.bin", READ_MODE)
    console = program.open(b":tt", WRITE_MODE)
    assert program.call(READ, 7, 512, 1) == program.call(WRITE, 7, 512, 1) == program.call(CLOSE, 7) == FAILED
    assert program.call(WRITE, given, 512, 9) == 9
    assert program.call(READ, console, 512, 9) == 9
    assert program.call(CLOSE, given) == 0
    assert program.call(0x13, given, 0, 0) == FAILED


def test_writing_more_than_the_limit_is_refused() -> None:
    program = Program()
    output = program.open(b"output.bin", WRITE_MODE)
    assert program.call(WRITE, output, 512, SIZE_LIMIT + 1) == SIZE_LIMIT + 1
    assert program.host.outputs["output.bin"] == b""


def test_the_exit_code_is_the_programs() -> None:
    extended, plain, running = Program(), Program(), Program()
    extended.call(EXIT_EXTENDED, 0x20026, 5)
    plain.call(EXIT)
    assert [program.host.status for program in (extended, plain, running)] == [5, 1, None]

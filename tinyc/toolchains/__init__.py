"""Compilers and linkers that tinyc calls: arm-none-eabi-gcc for the parts, the machine's own C compiler for checks."""

from tinyc.toolchains.gcc_arm import GccArm, ObjectSize, find_gcc_arm
from tinyc.toolchains.native import NativeCompiler, find_native_compiler
from tinyc.toolchains.process import find_tool, run_tool

__all__ = ["GccArm", "NativeCompiler", "ObjectSize", "find_gcc_arm", "find_native_compiler", "find_tool", "run_tool"]

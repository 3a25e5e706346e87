"""Compilers and linkers that tinyc calls: arm-none-eabi-gcc or zig for the parts, the machine's own C compiler for checks."""

from tinyc.toolchains.arm import TOOLCHAINS, ArmToolchain, find_arm_toolchain
from tinyc.toolchains.gcc_arm import GccArm, ObjectSize, find_gcc_arm
from tinyc.toolchains.native import NativeCompiler, find_native_compiler
from tinyc.toolchains.process import find_tool, run_tool
from tinyc.toolchains.zig import ZigArm, find_zig_arm

__all__ = [
    "TOOLCHAINS",
    "ArmToolchain",
    "GccArm",
    "NativeCompiler",
    "ObjectSize",
    "ZigArm",
    "find_arm_toolchain",
    "find_gcc_arm",
    "find_native_compiler",
    "find_tool",
    "find_zig_arm",
    "run_tool",
]

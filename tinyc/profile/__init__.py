"""Where the instructions of an inference go: exact counts and estimated cycles, layer by layer."""

from tinyc.profile.profile import profile_build

__all__ = ["profile_build"]

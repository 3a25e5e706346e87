"""Running generated C and linking it for a part: QEMU, this machine, and the real part's memory map."""

from tinyc.runners.base import RunnerError, RunResult
from tinyc.runners.description import BuildDescription, TensorRegion, read_description
from tinyc.runners.io import load_inputs, random_inputs, save_outputs
from tinyc.runners.part import LinkedPart, link_for_part
from tinyc.runners.run import RUNNERS, run_build

__all__ = [
    "RUNNERS",
    "BuildDescription",
    "LinkedPart",
    "RunResult",
    "RunnerError",
    "TensorRegion",
    "link_for_part",
    "load_inputs",
    "random_inputs",
    "read_description",
    "run_build",
    "save_outputs",
]

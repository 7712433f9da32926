"""An emulator of CUDA on the CPU: runs the text of the kernels as it is, and checks what they do.

``EmulatedDevice`` takes the place of a GPU for the launcher. Threads are fibers (``fibers.cpp``) that run until they
wait for one another (``scheduler.cpp``); every access to memory is checked (``checker.cpp``). A launch that does
something wrong raises :class:`EmulatorError` with file, line, array and threads.
"""

from tests.emulator.build import require_compiler
from tests.emulator.device import EmulatedDevice, run_in_order
from tests.emulator.kernels import EmulatorError
from tests.emulator.stand_in import stand_in_for_a_gpu

__all__ = ["EmulatedDevice", "EmulatorError", "require_compiler", "run_in_order", "stand_in_for_a_gpu"]

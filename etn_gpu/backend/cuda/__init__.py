"""CUDA: kernels from the folder ``kernels/``, compiled at run time and launched on a device."""

"""The compiled kernels: targets, how they are built and loaded, and what runs on a device."""

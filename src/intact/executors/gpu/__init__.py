"""The parts of the GPU executor: the plan of a program's dispatches, its shaders (WGSL), and the device that runs them.

`plan` has the dispatches as data, `planning` makes them from a program, `fusing` joins those that one shader can run,
`matrices` has weights in the layout of the shaders, `shaders` reads the shaders' texts, `batch` lays out what is
uploaded for a step, `device` is the only file that calls the `wgpu` package, `running` runs a plan on it.
"""

"""What the layers are made of, between the modules and the C++ core. Private: import nothing from here outside fastrnn.

Dependencies point one way: extension (the C++ core) ← cells (its table) ← call (the arguments of a layer) ← checks ←
operators (with their shapes and flops) ← batching, transforms, autograd (one layer) ← stack (all layers) ← backend (who
runs a call) ← fastrnn.functional ← fastrnn.nn.
"""

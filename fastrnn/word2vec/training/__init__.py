"""Training: parameters, the tables for the C++ kernel, the reference in numpy, and the state of a model."""

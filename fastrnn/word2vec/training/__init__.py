"""What a model learns: its parameters, the tables of the training kernel, and the state of a model."""

"""What a training leaves in its folder: the model, checkpoints, the log and the report."""

"""Cells that users write: a step in torch's functions, traced once, its gradient derived, and what runs it."""

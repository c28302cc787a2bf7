"""Reading files that anyone may have written: compressed text, JSON and .npz archives."""

"""Reading files from untrusted sources safely: compressed text, JSON and .npz archives."""

"""Reading files from untrusted sources safely: compressed text and JSON."""

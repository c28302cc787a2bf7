"""The systems that `fastrnn train` knows by name: each is data, a model and settings that work."""

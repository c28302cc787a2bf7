"""The command line: each command reads its options, calls what does the work and prints what that returns.

``main`` has the commands together. Nothing is imported here: ``fastrnn word2vec`` does without torch.
"""

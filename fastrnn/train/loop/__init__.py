"""The training loop: ``fit`` reads top to bottom, and each thing it uses has a file.

``fastrnn.train`` exports what a program needs of it.
"""

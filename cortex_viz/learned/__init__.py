"""Pictures of what a network learned: its kernels, what it sees in an example, what its units answer to.

Each module computes its numbers by one function, and draws them by another, which writes a .png, .svg or .pdf
and returns its path.  Only drawing needs matplotlib, and raises ImportError where that is absent.
"""

"""How to compute: types, the vocabulary of primitives, and the backends that run them.

Knows nothing of networks.  Importing the package loads nothing; import what you need from its modules.
"""

"""What to compute: the language, the compiler, layers, descriptions, training.

Importing the package loads nothing; import what you need from its modules.
"""

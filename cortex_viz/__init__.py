"""Pictures of networks and of their training.

Importing the package loads nothing; import what you need from its modules.
"""

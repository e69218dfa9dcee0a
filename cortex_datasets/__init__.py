"""Named data sets, found on this machine or fetched with a check of their content.

Fulfils the protocol ``Source`` of ``cortex_core.training`` by its shape and imports nothing of it.
Importing the package loads nothing; import what you need from its modules.
"""

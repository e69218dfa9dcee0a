"""Suites that ship with the package: gradients against central differences."""

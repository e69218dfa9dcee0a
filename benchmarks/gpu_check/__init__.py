"""Checks of a GPU, in parts of at most eight minutes: ``python -m benchmarks.gpu_check PART``.

A part writes a file of its own as it goes.  What may break a GPU runs in processes of its own (`children`):
after one that ended, hung or broke its CUDA context the next one goes on behind the job that did it.
"""

"""cuDNN 9 through its fixed-function C API: CuPy 14 removed its own bindings.

`library` finds and calls it, `descriptors` keeps what describes arrays and operations, and each further
module holds one family of operations, as functions over addresses.
"""

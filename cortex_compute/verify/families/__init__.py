"""References and cases, one module per family of primitives; every module here is part of the suite."""

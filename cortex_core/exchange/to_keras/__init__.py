"""Networks as models of Keras 3.  Keras itself is never imported."""

"""The report of a training while it runs, served to browsers on this machine."""

"""The command line: ``main`` finds the command, and each module beside it holds one."""

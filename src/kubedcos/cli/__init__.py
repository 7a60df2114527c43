"""The command line: one module for each command group, imported only when it is asked for."""

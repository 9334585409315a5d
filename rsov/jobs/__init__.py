"""The jobs as typed functions: the Python API behind the commands."""

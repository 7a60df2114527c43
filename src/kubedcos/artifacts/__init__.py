"""What is installed on hosts and started as tasks: where it comes from and that it is genuine.

`manifest` says what there is, `store` keeps it under its SHA-256, `build` obtains what is missing,
`verify` looks again, `bundle` and `export` carry it to where it is needed.
"""

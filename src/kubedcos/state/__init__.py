"""What survives the program: documents by cluster, written atomically.

`store` says what a store does, `sqlite` and `memory` do it, `records` says what is kept.
"""

"""Rules about the cluster itself: who may join it.

`tokens` are the single-use tokens by which a machine joins.
"""

"""Rules about the cluster itself: who may join it, and what is wished of its replicas.

`generations` is how a cluster begins again from a backup or from survivors.
`tokens` are the single-use tokens by which a machine joins; `electorate` is what operators say of voters.
"""

"""How we touch the world; knows nothing of Raft or HTTP.

`ports` has the contracts, their values and their errors. `ssh` keeps them over real SSH with the help of
`runner`, the script on the node; `memory` keeps them inside one process. `blobs` keeps bundles on the disk.
"""

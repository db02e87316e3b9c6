"""The virtual address that follows the leader: who may hold it, how it is taken, and how it always goes.

`lease` has the rules, without sockets and clocks, and the proof that two leaders never hold the address at
once. `packets` makes the frames that neighbours are told and asked with, `ether` sends and hears them.
`watchdog` is a process of its own that alone touches the interface, and takes the address away when nobody
renews its lease; `leash` is the daemon's end of it. `addresses` speaks netlink, `holder` ties all together
on one thread, and `handover` lets the address go before leadership does. `herald` makes events of what the
holder notes as `moves`.
"""

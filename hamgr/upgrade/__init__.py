"""hamgr replaces itself, one replica after the other; what is wished and how far it is are in the state.

1. The leader gives turns (`coordinator`); each replica does its own part on its own machine (`service`).
2. That part is done by another process, the guard (`guard`), which outlives the replica: it makes the new
   release (`releases`), has it checked by running it, switches the link, restarts, and rolls back.
3. A release that runs is never touched; the new one is made beside it from its wheels (`wheels`) and from
   what the one before has already, so that no machine needs a package index.
4. Who restarts a replica is a port with two implementations (`restarting`): systemd, or a command.
"""

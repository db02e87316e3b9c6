"""hamgr, the operator's command; it speaks HTTP to any replica and imports none of the other rooms.

`main` is the entry point and turns every way to end into an exit code of `exits`. `lazy` finds commands
without importing them, `commands/` has one file for each noun. `settings` knows which servers and which
token, `client` asks them and rides through a failover, `stream` reads their events, `output` prints.
"""

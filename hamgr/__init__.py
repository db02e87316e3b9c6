"""One replica of hamgr: it composes the rooms and keeps them running.

`raft` makes a command part of the replicated state; `manager` looks at that state while its replica leads,
and has `jobs` do what is owed; `bundles` turns a configuration repository into the scripts that nodes run;
`api` answers operators. `config` reads the configuration, and `daemon` puts everything together.
"""

"""A cluster that begins again: from a state that a backup or a survivor kept, with an identity of its own.

`anew` makes the files of its one replica: a data folder, an authority and certificates that nobody else has.
The next generation of the state is `statemachine.cluster.generations`.
"""

"""One replica's consensus without sockets, threads or clocks: the library, held to our rules.

`core` puts the parts together, `library` is pysyncobj as it is pinned in `pin`, and each other file is one
thing that a replica does: `following` a leader, answering `clients`, giving leadership away (`handover`),
letting the dead go (`shrinking`), going on alone (`pair`), and allowing for its own `absences`.
"""

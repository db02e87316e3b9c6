"""Histories: what clients of a real cluster were told while it was hurt, and whether that can be true.

`run.py` records one: `cluster.py` starts three `hamgrd` processes, each in a namespace of its own on the
network of `sites.py`; `schedule.py` draws misfortunes from a seed and `nemesis.py` brings them about, while
the clients of `client.py` read, write, and compare and swap registers through the HTTP API of all replicas
and note every answer as one of `operations.py`. `linearizability.py` then searches for one order of all
operations that explains the answers, and `laws.py` holds them against the places in the log that they name.

`faulty_api.py` is a server with bugs, for the tests: a judge that has never convicted anybody proves nothing.
`python -m tests.histories --help` records as many histories as there is time.
"""

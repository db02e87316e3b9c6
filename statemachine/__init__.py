"""What every replica agrees on. Pure: no clock, no randomness, no I/O, no asyncio, no logging.

    bytes of the log -> codec -> commands -> machine.apply(state, command) -> (state, outcome)
                                                  |
                     inventory, sightings, configuration: rules for nodes, bundles, variables
                     jobs, admission: rules for asking      waves: what may begin, when a job ends
                     tasks: rules for doing      undo: how a task ends

`words` and `lifecycle` name things, `model` is the state, `manifest` what a bundle promises. `plans` says
which steps a task has and `work` what is owed now; the leader does it and proposes what happened.
"""

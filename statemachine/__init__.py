"""What every replica agrees on. Pure: no clock, no randomness, no I/O, no asyncio, no logging.

    bytes of the log -> codec -> commands -> machine.apply(state, command) -> (state, outcome)
                                                  |
                            why       recorded reasons, in words
                            jobs      asking, approving, steering, doing; what is owed now
                            rollouts  waves, gates, blocking, debts
                            nodes     inventory, sightings, maintenance, requirements, variables
                                                  |
    words, lifecycle, manifest, rollout, schedule, planned -> model (the state) -> draft (its next version)

A room imports those below it, never one above. `phases` says which steps a task has, `jobs.work` what is owed
now; the leader does it and proposes what happened.
"""

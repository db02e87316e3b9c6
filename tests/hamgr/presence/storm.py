"""Random trouble for a fleet: deaths, returns, cuts of single ways, flapping, replicas that go and come."""

from hamgr.presence.judge import Rules
from statemachine.words import NodeName
from tests.hamgr.presence.world import World

TROUBLES = 25


def storm(seed: int, *, rules: Rules | None = None, lonely: bool = False) -> World:
    """Run one story; raises `Broken` when a law does not hold."""
    world = World(seed=seed, rules=rules or Rules(), lonely=lonely)
    random = world.random
    names = list(world.subjects)
    for _ in range(TROUBLES):
        name: NodeName = random.choice(names)
        vantage = random.choice(world.replicas)
        what = random.choice(("die", "live", "cut", "cut", "mend", "flap", "many", "gone", "come", "lead"))
        if what == "die":
            world.die(name)
        elif what == "live":
            world.live(name)
        elif what == "cut":
            world.cut(vantage, name)
        elif what == "mend":
            world.mend(vantage, name)
        elif what == "flap":
            for _ in range(random.randrange(1, 4)):
                world.die(name)
                world.run(random.uniform(0.5, 6.0))
                world.live(name)
                world.run(random.uniform(0.5, 6.0))
        elif what == "many":
            world.die(*random.sample(names, len(names) // 2))
        elif what == "gone" and len(world.gone) + 1 < len(world.replicas) and vantage != "r1":
            world.gone.add(vantage)
        elif what == "come":
            world.gone.clear()
        elif what == "lead":
            world.new_leader()
        # a new leader begins to count anew, and a replica that goes takes its count with it
        settle = 12.0 if what in ("lead", "gone", "come") else random.uniform(0.0, 12.0)
        if what in ("lead", "gone", "come"):
            _restart_clocks(world)
        world.run(settle)
    return world


def _restart_clocks(world: World) -> None:
    """Count the time of a detection or of a return from now on: who has counted so far is not there now."""
    for times in (world.dead, world.alive):
        for name in times:
            times[name] = world.now

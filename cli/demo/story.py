"""The demo, act by act: a fleet comes into service, a rollout begins, its leader dies, the rollout ends."""

import re
import shutil
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cli.demo.evidence import Evidence, gather
from cli.demo.fleet import DemoFailed, Fleet, until
from cli.demo.layout import Layout, free_ports
from cli.demo.processes import PracticeNode, Processes
from cli.demo.screen import Screen, act

WEB_SHARE = 4
"""One node in so many is a gateway, the others are web nodes."""
WAVE = 3
KILL_AFTER = 4
"""The leader dies when so many nodes are upgraded and others are being upgraded."""


@dataclass(slots=True)
class Figures:
    """What was measured, for `--ci` and for the last lines of the story."""

    ok: bool = False
    seconds: float = 0.0
    replicas: int = 0
    nodes: int = 0
    first_leader_s: float = 0.0
    discovered_s: float = 0.0
    commissioned_s: float = 0.0
    upgraded_s: float = 0.0
    killed: str = ""
    new_leader: str = ""
    new_leader_after_s: float = 0.0
    work_resumed_after_s: float = 0.0
    tasks_taken_over: int = 0
    evidence: dict[str, int] = field(default_factory=dict)
    state_digest: str = ""
    replicas_agree: bool = False
    error: str = ""


class Story:
    """Plays the acts in order; each leaves its figures behind."""

    def __init__(
        self, *, layout: Layout, processes: Processes, screen: Screen, nodes: int, examples: Path
    ) -> None:
        self._examples = examples
        self._layout = layout
        self._processes = processes
        self._screen = screen
        self._fleet = Fleet(layout)
        self._count = nodes
        self._nodes: list[PracticeNode] = []
        self._jobs: list[str] = []
        self._held_at = 0.0
        self.figures = Figures(replicas=len(layout.replicas), nodes=nodes)

    def play(self) -> Figures:
        """Play everything.

        Raises:
            DemoFailed: Something that the demo promises was not seen.
        """
        began = time.monotonic()
        self._start()
        self._commission()
        self._upgrade_and_kill()
        self._prove()
        self._bring_back()
        self.figures.seconds = round(time.monotonic() - began, 2)
        self.figures.ok = True
        return self.figures

    @property
    def last_job(self) -> str:
        return self._jobs[-1]

    def close(self) -> None:
        self._fleet.close()

    def _start(self) -> None:
        began = time.monotonic()
        gateways = max(1, self._count // WEB_SHARE)
        names = [f"web-{i + 1:02}" for i in range(self._count - gateways)]
        names += [f"gw-{i + 1:02}" for i in range(gateways)]
        for plan in self._layout.replicas:
            self._processes.start_replica(plan.name)
        with act(
            self._screen, f"{self._count} SSH nodes listen, each with its own folder, keys and processes"
        ):
            self._nodes = self._processes.start_nodes(names)
        leader = until("a leader that all replicas know", self._common_leader)
        self.figures.first_leader_s = round(time.monotonic() - began, 2)
        text = f"replicas {', '.join(plan.name for plan in self._layout.replicas)} run; {leader} leads"
        self._screen.say(text, mark="✓", seconds=self.figures.first_leader_s)

    def _common_leader(self) -> str:
        for plan in self._layout.replicas:
            if self._processes.ended(plan.name) is not None:
                raise DemoFailed(f"replica {plan.name} did not start: {plan.log.read_text().strip()[-300:]}")
        found = [self._fleet.replica(plan.name) for plan in self._layout.replicas]
        leaders = {one["leader"] if one else "" for one in found}
        return str(leaders.pop()) if len(leaders) == 1 else ""

    def _commission(self) -> None:
        screen, figures = self._screen, self.figures
        addresses = [f"{node.address}:{node.port}" for node in self._nodes]
        figures.discovered_s = self._run("discover", addresses=addresses)
        screen.say(
            f"discovered {len(addresses)} nodes, host keys pinned", mark="✓", seconds=figures.discovered_s
        )
        for node, port in zip(self._nodes, free_ports(len(self._nodes)), strict=True):
            self._fleet.set_variables(node.name, port=port)
        self._fleet.push(self._copy_of_example("web-1.0"), "version 1.0")
        web = [node.name for node in self._nodes if node.name.startswith("web")]
        gateways = [node.name for node in self._nodes if not node.name.startswith("web")]
        seconds = self._run("commission", nodes=web, role="web")
        seconds += self._run("commission", nodes=gateways, role="gateway")
        figures.commissioned_s = round(seconds, 2)
        screen.say(
            f"commissioned {len(web)} x web, then {len(gateways)} x gateway (which requires a web node)",
            mark="✓",
            seconds=seconds,
        )

    def _upgrade_and_kill(self) -> None:
        screen, figures = self._screen, self.figures
        digest = self._fleet.push(self._next_version(), "version 1.1")
        screen.say(f"pushed bundle {digest.removeprefix('sha256:')[:12]}: version 1.1", mark="✓")
        began = time.monotonic()
        job = self._submit("upgrade", selector="in-service", max_parallel=WAVE)
        screen.say(f"rolling upgrade 1.0 -> 1.1 of {self._count} nodes in waves of {WAVE}: job {job}")
        victim = until("the middle of the upgrade", lambda: self._kill_in_the_middle(job))
        killed = time.monotonic()
        pid = self._processes.pid(victim)
        screen.say(
            f"killed the leader {victim} (process {pid}) with SIGKILL in the middle of the upgrade", mark="⚡"
        )
        heir = until("a new leader", lambda: self._fleet.leader(without=victim), poll_s=0.01)
        figures.killed, figures.new_leader = victim, heir
        figures.new_leader_after_s = round(time.monotonic() - killed, 3)
        self._watch(job)
        figures.upgraded_s = round(time.monotonic() - began, 2)
        self._measure_takeover(job, self._held_at)
        screen.say(
            f"{heir} took over: first act {figures.work_resumed_after_s:.2f} s after the kill, "
            f"{figures.tasks_taken_over} running tasks adopted"
        )
        screen.say(f"upgraded {self._count} of {self._count} nodes", mark="✓", seconds=figures.upgraded_s)

    def _kill_in_the_middle(self, job: str) -> str:
        """Kill the leader if tasks are running; return its name, or nothing.

        It is held before the last look: a machine that is slow just now must not let the wave end
        between the look and the kill.
        """
        leader = self._fleet.leader()
        if not leader or not self._in_the_middle(self._show(job)):
            return ""
        self._processes.signal_replica(leader, signal.SIGSTOP)
        self._held_at = time.time()
        seen = self._fleet.job_without(leader, job)
        if seen is None or not self._in_the_middle(seen):
            self._processes.signal_replica(leader, signal.SIGCONT)
            return ""
        self._processes.kill_replica(leader)
        return leader

    def _in_the_middle(self, seen: dict[str, Any]) -> bool:
        states = [task["state"] for task in seen["tasks"]]
        at_work = [
            t for t in seen["tasks"] if t["state"] == "running" and t["phase"] == "work" and t["cursor"]
        ]
        if seen["ended"]:
            raise DemoFailed(f"the upgrade was over before its leader could be killed: {seen['state']}")
        return states.count("succeeded") >= min(KILL_AFTER, self._count // 2) and bool(at_work)

    def _measure_takeover(self, job: str, killed_at: float) -> None:
        claims = [
            e for e in self._fleet.events(job) if e["at"] >= killed_at and e["kind"].startswith("task.")
        ]
        if not claims:
            raise DemoFailed("nobody went on with the upgrade after the leader's death")
        self.figures.work_resumed_after_s = round(claims[0]["at"] - killed_at, 3)
        self.figures.tasks_taken_over = sum(event["kind"] == "task.claimed" for event in claims)

    def _prove(self) -> None:
        jobs = [self._fleet.job(job) for job in self._jobs]
        found: Evidence = gather({node.name: node.root for node in self._nodes}, jobs)
        self.figures.evidence = asdict(found)
        self._screen.say(
            f"the nodes' own records: {found.launches} scripts began, {found.repeated} of them twice, "
            f"{found.after_success} after success",
            mark="✓" if found.clean else "✗",
        )
        self._screen.say(
            f"the bundle's own records: {found.effects} effects, {found.effects_repeated} of them twice",
            mark="✓" if found.clean else "✗",
        )
        if not found.clean:
            raise DemoFailed(f"the nodes' records do not bear the promise out: {found}")

    def _bring_back(self) -> None:
        began = time.monotonic()
        self._processes.start_replica(self.figures.killed)
        digest = until("equal state on all replicas", self._agreed)
        self.figures.replicas_agree, self.figures.state_digest = True, digest
        self._screen.say(
            f"{self.figures.killed} is back; state hash {digest[:12]} on {self.figures.replicas} replicas",
            mark="✓",
            seconds=time.monotonic() - began,
        )

    def _agreed(self) -> str:
        found = [self._fleet.replica(plan.name, digest=True) for plan in self._layout.replicas]
        seen = {(one["applied_index"], one["digest"]) for one in found if one}
        return str(seen.pop()[1]) if len(seen) == 1 and all(found) else ""

    def _submit(self, kind: str, **fields: Any) -> str:
        job = self._fleet.submit(kind, **fields)
        self._jobs.append(job)
        return job

    def _run(self, kind: str, **fields: Any) -> float:
        """Run a job to its end; return its seconds."""
        began = time.monotonic()
        self._watch(self._submit(kind, **fields))
        return round(time.monotonic() - began, 2)

    def _watch(self, job: str) -> None:
        ended = until(f"the end of {job}", lambda: (seen := self._show(job))["ended"] and seen, poll_s=0.1)
        if ended["state"] != "succeeded":
            raise DemoFailed(f"{ended['kind']} {job} ended {ended['state']}: {ended['error']}")

    def _show(self, job: str) -> dict[str, Any]:
        seen = self._fleet.job(job)
        steps = {task["node"]: task["step"] for task in seen["tasks"] if task["state"] == "running"}
        rows = {node["name"]: (node["status"], steps.get(node["name"], "")) for node in self._fleet.nodes()}
        self._screen.nodes(rows)
        return seen

    def _copy_of_example(self, name: str) -> Path:
        """Copy the example, without what pip compiles when it installs it."""
        ignored = shutil.ignore_patterns("__pycache__")
        return Path(shutil.copytree(self._examples / "web", self._layout.directory / name, ignore=ignored))

    def _next_version(self) -> Path:
        """Return the bundle that was pushed first, as version 1.1 with another greeting."""
        directory = self._copy_of_example("web-1.1")
        for name, pattern, text in (
            ("hamgr.yaml", r"greeting: .*", "greeting: This page survived the death of a leader."),
            ("components/web/component.yaml", r'version: "1.0"', 'version: "1.1"'),
        ):
            path = directory / name
            changed, count = re.subn(pattern, text, path.read_text())
            if not count:
                raise DemoFailed(f"{path} is not the example that this demo knows")
            path.write_text(changed)
        return directory

"""One address of a discover job: ask who is there, and report what was seen or that nothing was.

A machine that is known at another address has moved only if it does not answer there as well, in another
boot: a copied disk has the machine id and the host key of its original.
"""

from backends.ports import BackendError, Host, ProbeReport, TimedOut, Unreachable
from hamgr.jobs.proposer import Proposer
from hamgr.jobs.worker import Tools, host_of
from statemachine.discovery_commands import ReportSighting, ReportSilence, Sighting
from statemachine.jobs.work import ProbeDue
from statemachine.model import Endpoint

PROBE_TIMEOUT_S = 15.0
TWIN_TIMEOUT_S = 5.0
"""For a machine at the address that it seems to have left."""


async def probe(tools: Tools, due: ProbeDue) -> None:
    """Probe the address of `due` and record the answer.

    Raises:
        NotInCharge: This replica does not lead any more; the next leader probes again.
    """
    host = Host(
        name=str(due.endpoint), address=due.endpoint.address, port=due.endpoint.port, user=due.endpoint.user
    )
    try:
        report = await tools.executor.probe(host, timeout_s=PROBE_TIMEOUT_S)
    except BackendError as error:
        silent = isinstance(error, Unreachable | TimedOut)
        await tools.proposer.settle(
            tools.proposer.make(ReportSilence, job=due.job, task=due.task, error=error.message, silent=silent)
        )
        return
    twin = await _twin(tools, due.endpoint, report)
    await _report(tools.proposer, due, report, twin)


async def _twin(tools: Tools, endpoint: Endpoint, report: ProbeReport) -> str:
    """Return where else what answered at `endpoint` is, as another machine; empty when nowhere."""
    machine_id, host_key = report.machine_id, report.host_key
    nodes = tools.replica.state.nodes.values()
    node = next((one for one in nodes if one.machine_id == machine_id and one.host_key == host_key), None)
    if node is None or node.endpoint == endpoint:
        return ""
    try:
        other = await tools.executor.probe(host_of(node), timeout_s=TWIN_TIMEOUT_S)
    except BackendError:
        return ""
    boots = report.facts.get("boot_id"), other.facts.get("boot_id")
    same = (other.machine_id, other.host_key) == (machine_id, host_key)
    return str(node.endpoint) if same and boots[0] != boots[1] else ""


async def _report(proposer: Proposer, due: ProbeDue, report: ProbeReport, twin: str) -> None:
    sighting = Sighting(
        endpoint=due.endpoint,
        name=report.hostname.lower(),
        machine_id=report.machine_id,
        host_key=report.host_key,
        epoch=report.epoch,
        facts=report.facts,
        twin=twin,
    )
    await proposer.settle(proposer.make(ReportSighting, job=due.job, task=due.task, sighting=sighting))

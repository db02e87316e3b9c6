"""One address of a discover job: ask who is there, and report what was seen or that nothing was."""

from backends.ports import BackendError, Host, ProbeReport, TimedOut, Unreachable
from hamgr.jobs.proposer import Proposer
from hamgr.jobs.worker import Tools
from statemachine.commands import ReportSighting, ReportSilence, Sighting
from statemachine.jobs.work import ProbeDue

PROBE_TIMEOUT_S = 15.0


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
    await _report(tools.proposer, due, report)


async def _report(proposer: Proposer, due: ProbeDue, report: ProbeReport) -> None:
    sighting = Sighting(
        endpoint=due.endpoint,
        name=report.hostname.lower(),
        machine_id=report.machine_id,
        host_key=report.host_key,
        epoch=report.epoch,
        facts=report.facts,
    )
    await proposer.settle(proposer.make(ReportSighting, job=due.job, task=due.task, sighting=sighting))

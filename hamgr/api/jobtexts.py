"""Jobs as JSON text: what is said of a task is written once, and used until the task is another one.

A job on a thousand nodes is asked for again and again while it runs, and few of its tasks change in between;
the state shares those that did not (`statemachine.copying`).
"""

import json
from collections import OrderedDict

from aiohttp import web

from hamgr.api import views
from statemachine.model import Job, State, Task
from statemachine.words import JobId, NodeName

JOBS_MAX = 4
"""As many jobs as are watched at once, usually; the others' texts are written anew."""


class JobTexts:
    """Texts of the tasks of the jobs that were asked for last, without their attempts' results."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[JobId, dict[NodeName, tuple[Task, str]]] = OrderedDict()

    def whole(self, state: State, job: Job, *, results: bool, tasks: bool) -> str:
        """Return `views.job_whole` as text."""
        if results or not tasks:
            return json.dumps(views.job_whole(state, job, results=results, tasks=tasks))
        head = json.dumps(views.job_whole(state, job, results=False, tasks=False))
        return f'{head[:-1]}, "tasks": [{", ".join(self._tasks(job))}]}}'

    def _tasks(self, job: Job) -> list[str]:
        before = self._jobs.pop(job.id, {})
        now: dict[NodeName, tuple[Task, str]] = {}
        for node, task in job.tasks.items():
            kept = before.get(node)
            if kept is None or kept[0] is not task:
                kept = task, json.dumps(views.task_line(task, results=False))
            now[node] = kept
        self._jobs[job.id] = now
        while len(self._jobs) > JOBS_MAX:
            self._jobs.popitem(last=False)
        return [text for _, text in now.values()]


TEXTS: web.AppKey[JobTexts] = web.AppKey("job_texts", JobTexts)

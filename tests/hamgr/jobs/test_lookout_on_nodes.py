"""Looking at practice nodes over SSH with a real bundle: a diff before the work, and none after it."""

import io
import tarfile
from pathlib import Path

from backends.ports import AttemptKey
from backends.ssh.executor import SSHExecutor
from backends.ssh.sandbox.server import sandbox
from hamgr.bundles import load
from hamgr.jobs.lookout import Lookout
from hamgr.jobs.previews import BundlePreviews
from hamgr.jobs.scripts import BundleScripts
from hamgr.jobs.sights import Verdict
from statemachine.commands import CommitBundle, SetGlobals
from statemachine.jobs import work
from statemachine.model import Endpoint
from statemachine.words import Digest, JobKind, NodeName
from tests.backends.worlds import client_key, settings
from tests.statemachine.fleet import Fleet

FILES = {
    "hamgr.yaml": """
version: 1
variables: {greeting: hello, token: s3cret-value}
secrets: [token]
roles:
  web: {components: [web]}
""",
    "components/web/component.yaml": """
version: "1"
commission:
  - name: page
    file: {path: /srv/index.html, content: "<p>{{ greeting }}</p>\\n"}
  - name: key
    file: {path: /srv/key, content: "user x\\ntoken {{ token }}\\n", mode: "0600"}
""",
}


class Archives:
    """One bundle."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def fetch(self, digest: Digest) -> bytes:
        return self.data


def packed() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


async def test_nodes_show_a_diff_before_the_work_and_none_after_it(tmp_path: Path) -> None:
    bundle = load(packed())
    fleet = Fleet()
    fleet.accept(CommitBundle, digest=bundle.digest, manifest=bundle.manifest, size_bytes=1)
    public = client_key(tmp_path / "client").export_public_key().decode()
    executor = SSHExecutor(settings(tmp_path / "client"))
    scripts = BundleScripts(Archives(bundle.packed))
    lookout = Lookout(executor=executor, previews=BundlePreviews(scripts))
    names = ["w1", "w2", "w3"]
    async with sandbox(names, root=tmp_path / "nodes", authorized_key=public, reap=True) as practice:
        for node in practice.nodes:
            endpoint = Endpoint(address=node.address, port=node.port, user="hamgr")
            fleet.sight(node.name, host_key=node.host_key, endpoint=endpoint)
        root = practice.nodes[0].root
        (root / "srv").mkdir()
        (root / "srv/index.html").write_text("<p>goodbye</p>\n")
        (root / "srv/key").write_text("user x\ntoken an-old-one\n")
        await practice.stop("w3")
        job = fleet.job(fleet.submit(JobKind.COMMISSION, *names, role="web"))

        first, second, third = await lookout.look(fleet.state, job, timeout_s=60)
        assert (first.verdict, first.error, second.verdict) == (
            Verdict.WOULD_CHANGE,
            "",
            Verdict.WOULD_CHANGE,
        )
        assert third.error.startswith("could not look: nothing listens on")
        page, key = first.steps[:2]
        assert "\n-<p>goodbye</p>\n+<p>hello</p>" in page.diff
        assert page.step.key.endswith("web.page")
        for seen in (first, second):
            for step in seen.steps:
                assert "s3cret-value" not in step.diff
                assert "an-old-one" not in step.diff
        assert key.verdict is Verdict.WOULD_CHANGE
        assert (root / "srv/index.html").read_text() == "<p>goodbye</p>\n"
        for node in practice.nodes:
            assert not (node.root / "var/lib/hamgr").exists(), "a look leaves nothing behind"

        epoch = fleet.claim(job.id, "w1")
        due = work.step_due(fleet.state, job.id, NodeName("w1"), epoch)
        while due is not None and due.key.startswith("work."):
            script = await scripts.script(fleet.state, job.id, NodeName("w1"), due)
            attempt = AttemptKey(job="x-1", step=due.key, attempt=1)
            host = practice.nodes[0].host
            assert (await executor.run(host, epoch, attempt, script, wait_s=30)).exit_code == 0
            fleet.step(job.id, "w1")
            due = work.step_due(fleet.state, job.id, NodeName("w1"), epoch)
        first, second, _ = await lookout.look(fleet.state, fleet.job(job.id), timeout_s=60)
        assert (first.verdict, second.verdict) == (Verdict.UNCHANGED, Verdict.WOULD_CHANGE)
        assert [step.diff for step in first.steps] == [""] * len(first.steps)

        fleet.accept(SetGlobals, variables={"greeting": "moin"})
        first, _, _ = await lookout.look(fleet.state, fleet.job(job.id), timeout_s=60)
        assert "\n-<p>hello</p>\n+<p>moin</p>" in first.steps[0].diff
        await executor.close()

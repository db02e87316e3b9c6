"""A bundle for the cluster tests: each step leaves a line of evidence, and can be told to wait or to fail."""

from pathlib import Path

EFFECT = """\
mkdir -p ${HAMGR_ROOT:-}/var/log
printf '%s %s %s\\n' $HAMGR_JOB $HAMGR_STEP $HAMGR_ATTEMPT >> ${HAMGR_ROOT:-}/var/log/effects
"""


RESTS = """\
drain:
  - name: empty
    script: {source: effect.sh, template: true}
  - name: leave
    script: {source: effect.sh, template: true}
undrain:
  - name: fill
    script: {source: effect.sh, template: true}
"""
"""Verbs of a component that can be drained."""


def write_bundle(
    directory: Path,
    *,
    version: str,
    extra: str = "sleep {{ pause }}",
    more: str = "",
    root: str = "",
    proof: str = "",
) -> Path:
    """Write a bundle with a role `app`, whose scripts record that they ran; return its directory.

    Args:
        more: Further verbs of the component.
        root: Further keys of hamgr.yaml.
        proof: Further steps of `verify`, as lines of YAML.
    """
    component = directory / "components" / "app"
    component.mkdir(parents=True, exist_ok=True)
    (directory / "hamgr.yaml").write_text(
        "version: 1\n"
        "variables: {port: 8080, pause: 0.1}\n"
        "roles:\n"
        "  app: {components: [app]}\n"
        "  worker: {components: [app], requires: [{role: app, min: 1}]}\n"
        f"{root}"
    )
    (component / "effect.sh").write_text(f"{EFFECT}{extra}\n")
    steps = f"""\
version: "{version}"
commission:
  - name: config
    file: {{path: /etc/app.conf, content: "version={version} port={{{{ port }}}}\\n"}}
  - name: first
    script: {{source: effect.sh, template: true}}
  - name: second
    script: {{source: effect.sh, template: true}}
verify:
  - name: config
    file: {{path: /etc/app.conf, content: "version={version} port={{{{ port }}}}\\n"}}
{proof}cleanup:
  - name: undo
    script: {{source: effect.sh, template: true}}
  - name: config
    file: {{path: /etc/app.conf, state: absent}}
"""
    (component / "component.yaml").write_text(steps + more)
    return directory

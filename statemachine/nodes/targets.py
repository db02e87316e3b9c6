"""Selectors: which nodes an operation is for.

A selector is a comma-separated list of terms that must all hold:
`*` every node; `in-service` those in service, `!in-service` the others; `web-*` a name pattern (`*`, `?`,
`[a-f]`); `role=web`, `status=commissioned`, `presence=reachable`, `health=drifted`; `rack=r1`, `rack!=r1`
labels; `rack` has that label, `!rack` has not. `role`, `status`, `presence`, `health`, `name` and
`in-service` are taken before labels of the same name.
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from statemachine.lifecycle import IN_SERVICE
from statemachine.model import Node, State
from statemachine.words import LABEL_KEY, LABEL_VALUE, NodeName

TERMS_MAX = 16
IN_SERVICE_TERM = "in-service"
TERM = re.compile(
    r"(?P<not>!)?(?P<key>[A-Za-z0-9._/-]+)(?:(?P<operator>!=|=)(?P<value>[A-Za-z0-9._*?\[\]-]*))?\Z"
)
PATTERN = re.compile(r"[a-z0-9.*?\[\]-]+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One condition; `key` empty means that `value` is a pattern for the name."""

    key: str
    value: str | None
    negated: bool = False

    def holds(self, node: Node) -> bool:
        if not self.key or self.key == "name":
            return fnmatchcase(node.name, self.value or "") is not self.negated
        if self.key == IN_SERVICE_TERM:
            return (node.status in IN_SERVICE) is not self.negated
        fields = {"role": node.role, "status": node.status, "presence": node.presence, "health": node.health}
        actual = fields.get(self.key, node.labels.get(self.key))
        matches = bool(actual) if self.value is None else actual is not None and str(actual) == self.value
        return matches is not self.negated


EVERY = Term(key="", value="*")


def parse(selector: str) -> tuple[Term, ...] | str:
    """Return the terms of `selector`, or one sentence on what is wrong with it."""
    texts = [text.strip() for text in selector.split(",")]
    if len(texts) > TERMS_MAX:
        return f"the selector has {len(texts)} terms; at most {TERMS_MAX} are allowed"
    terms: list[Term] = []
    for text in texts:
        term = _term(text)
        if term is None:
            return (
                f"{text!r} is not a selector term; write for example 'role=web', 'rack!=r1', 'web-*' or '*'"
            )
        terms.append(term)
    return tuple(terms)


def _term(text: str) -> Term | None:
    if "=" not in text and not text.startswith("!") and PATTERN.match(text) and any(c in text for c in "*?["):
        return Term(key="", value=text)
    found = TERM.match(text)
    if found is None or not LABEL_KEY.match(found["key"]):
        return None
    if found["operator"] is None:
        return Term(key=found["key"], value=None, negated=bool(found["not"]))
    if found["not"] or found["key"] == IN_SERVICE_TERM:
        return None
    if found["key"] != "name" and not LABEL_VALUE.match(found["value"]):
        return None
    return Term(key=found["key"], value=found["value"], negated=found["operator"] == "!=")


def select(state: State, terms: tuple[Term, ...]) -> tuple[NodeName, ...]:
    """Return the names of the nodes for which every term holds, sorted."""
    terms = tuple(term for term in terms if term != EVERY)
    if not terms:
        return tuple(sorted(state.nodes))
    return tuple(
        sorted(name for name, node in state.nodes.items() if all(term.holds(node) for term in terms))
    )

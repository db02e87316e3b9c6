"""How the command ends: one table of exit codes, and the errors that lead to them.

Scripts may rely on the numbers; `hamgr help exit-codes` prints them.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    NOT_ALLOWED = 5
    UNREACHABLE = 6
    TIMEOUT = 7
    PARTLY = 8
    PENDING = 10
    DETACHED = 130


MEANING: dict[Exit, str] = {
    Exit.OK: "done",
    Exit.FAILED: "the operation failed, or the job was cancelled",
    Exit.USAGE: "the command line or a value in it cannot be used; nothing was done",
    Exit.NOT_FOUND: "no such node, job, role or bundle, or nothing matches",
    Exit.CONFLICT: "not possible now: wrong status, held by a job, a requirement, changed in the meantime",
    Exit.NOT_ALLOWED: "the token is missing or not accepted, or this person may not do it",
    Exit.UNREACHABLE: "no replica answered, or there is no leader",
    Exit.TIMEOUT: "not known or not finished in time",
    Exit.PARTLY: "the job ended; some nodes succeeded and some did not",
    Exit.PENDING: "--exit-code: something would change, or nobody knows",
    Exit.DETACHED: "Ctrl-C: detached from a job that goes on",
}

OF_STATUS: dict[int, Exit] = {
    400: Exit.USAGE,
    401: Exit.NOT_ALLOWED,
    403: Exit.NOT_ALLOWED,
    404: Exit.NOT_FOUND,
    405: Exit.USAGE,
    408: Exit.TIMEOUT,
    409: Exit.CONFLICT,
    410: Exit.CONFLICT,
    412: Exit.CONFLICT,
    413: Exit.USAGE,
    415: Exit.USAGE,
    422: Exit.USAGE,
    429: Exit.CONFLICT,
    500: Exit.FAILED,
    502: Exit.UNREACHABLE,
    503: Exit.UNREACHABLE,
    504: Exit.TIMEOUT,
}
OF_CODE: dict[str, Exit] = {
    "request-reused": Exit.CONFLICT,
    "no-such-route": Exit.FAILED,
    "bundle-invalid": Exit.FAILED,
    "not-stored": Exit.FAILED,
}
"""Problems whose status says less than their code."""
OF_JOB: dict[str, Exit] = {
    "succeeded": Exit.OK,
    "partly": Exit.PARTLY,
    "failed": Exit.FAILED,
    "cancelled": Exit.FAILED,
}


class CliError(Exception):
    """The command ends with `code`, after one sentence and, where there is a way out, a hint."""

    def __init__(self, code: Exit, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class ApiError(CliError):
    """A replica answered with a problem (RFC 9457), which `problem` has as it came."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.problem_code = str(problem.get("code") or "")
        code = OF_CODE.get(self.problem_code) or OF_STATUS.get(status, Exit.FAILED)
        message = str(problem.get("detail") or problem.get("title") or f"the server answered {status}")
        super().__init__(code, message, hint=str(problem.get("hint") or ""))
        self.status = status
        self.retryable = bool(problem.get("retryable")) or status in (502, 503, 504)
        errors = problem.get("errors")
        self.errors: Sequence[Mapping[str, Any]] = errors if isinstance(errors, list) else []

"""`check` steps against real sockets, pages, commands and files, with each tool that a node may have."""

import http.server
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest

from hamgr.bundles.steps import probes
from statemachine.words import Verb


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/")
            self.end_headers()
            return
        status = int(self.path[1:]) if self.path[1:].isdigit() else 200
        body = (
            b"line one\nit's $(hello) [*] HTTP/1.1 500\nlast\n" if self.path != "/large" else b"x\n" * 400_000
        )
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def site():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        # Bound and never listening: connections are refused, and nobody else gets the port.
        yield taken.getsockname()[1]


def only(node, tool):
    """A PATH with the programs that every node has, and one of the tools that some have."""
    for name in sorted({"sh", "env", "sleep", "cat", "timeout", tool}):
        found = (
            "/usr/bin/python3"
            if name == "python3" and Path("/usr/bin/python3").exists()
            else shutil.which(name)
        )
        link = node.root / "tools" / name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(found)
    return str(node.root / "tools")


HTTP_TOOLS = [tool for tool in ("curl", "wget", "python3") if shutil.which(tool)]
TCP_TOOLS = [tool for tool in ("bash", "python3", "nc") if shutil.which(tool)]


@pytest.mark.parametrize("tool", HTTP_TOOLS)
def test_a_page_is_asked_for_with_whatever_the_node_has(node, compiled, site, closed_port, tool):
    path = only(node, tool)

    def ask(**http):
        done = node.run(compiled({"check": {"http": http}}), PATH=path)
        return done.returncode, (done.stdout or done.stderr).strip()

    good = (0, "hamgr: unchanged")
    assert ask(url=f"{site}/") == good
    assert ask(url=f"{site}/", contains="it's $(hello) [*]") == good
    assert ask(url=f"{site}/404", status=404) == good
    assert ask(url=f"{site}/large", contains="x") == good
    assert ask(url=f"{site}/moved", status=302) == good
    lacks = f"hamgr: the page at {site}/ does not contain what it should"
    assert ask(url=f"{site}/", contains="goodbye") == (1, lacks)
    assert ask(url=f"{site}/", contains="l*st") == (1, lacks)
    assert ask(url=f"{site}/503") == (1, f"hamgr: {site}/503 answers with status 503, not 200")
    code, sentence = ask(url=f"http://127.0.0.1:{closed_port}/")
    assert code == 1
    assert sentence.startswith(f"hamgr: http://127.0.0.1:{closed_port}/")


@pytest.mark.parametrize("tool", TCP_TOOLS)
def test_a_port_is_tried_with_whatever_the_node_has(node, compiled, site, closed_port, tool):
    path = only(node, tool)
    open_port = int(site.rpartition(":")[2])
    assert node.run(compiled({"check": {"tcp": {"port": open_port}}}), PATH=path).returncode == 0
    done = node.run(compiled({"check": {"tcp": {"port": "{{ p }}"}}}, p=closed_port), PATH=path)
    assert (done.returncode, done.stderr) == (
        1,
        f"hamgr: nothing accepts connections at 127.0.0.1 port {closed_port}\n",
    )


def test_a_node_without_any_tool_says_what_it_needs(node, compiled):
    path = only(node, "sh")
    done = node.run(compiled({"check": {"http": {"url": "http://127.0.0.1/"}}}), PATH=path)
    assert done.stderr == (
        "hamgr: there is neither curl nor wget nor python3 on this node to ask for a page with\n"
    )
    done = node.run(compiled({"check": {"tcp": {"port": 1}}}), PATH=path)
    assert done.stderr == (
        "hamgr: there is neither bash nor python3 nor nc on this node to try a connection with\n"
    )


def test_a_proxy_of_the_environment_is_not_used(node, compiled, site, closed_port):
    proxy = f"http://127.0.0.1:{closed_port}"
    script = compiled({"check": {"http": {"url": f"{site}/"}}})
    assert node.run(script, http_proxy=proxy, HTTP_PROXY=proxy, ALL_PROXY=proxy).returncode == 0


def test_a_command_succeeds_or_says_why_not(any_node, compiled):
    assert (
        any_node.run(compiled({"check": {"command": ["test", "a b", "=", "{{ v }}"]}}, v="a b")).returncode
        == 0
    )
    done = any_node.run(compiled({"check": {"command": ["sh", "-c", "echo no; exit 4"]}}))
    assert (done.returncode, done.stderr) == (1, "hamgr: sh ended with exit status 4: no\n")
    done = any_node.run(compiled({"check": {"command": ["no-such-program"]}}))
    assert done.returncode == 1
    assert "no-such-program ended with exit status 127" in done.stderr


@pytest.mark.parametrize("word", ["exit", "fail", "done_", "eval", "if", "attempt"])
def test_no_command_is_a_word_of_the_shell(node, compiled, word):
    done = node.run(compiled({"check": {"command": [word, "touch canary"]}}))
    assert (done.returncode, node.tree()) == (1, {})
    assert f"{word} ended with exit status 127" in done.stderr


def test_a_file_is_there_with_the_content_that_it_should_have(any_node, compiled):
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of "hello"
    plain, exact = {"file": {"path": "/a b"}}, {"file": {"path": "/a b", "sha256": digest}}
    assert any_node.run(compiled({"check": plain})).stderr == "hamgr: /a b is not there\n"
    (any_node.root / "a b").write_text("other")
    assert any_node.run(compiled({"check": plain})).returncode == 0
    assert any_node.run(compiled({"check": exact})).stderr == "hamgr: /a b has other content\n"
    (any_node.root / "a b").write_text("hello")
    assert any_node.run(compiled({"check": exact})).returncode == 0
    assert any_node.run(compiled({"check": exact}, verb=Verb.VERIFY)).returncode == 0


def test_a_check_is_asked_again_until_it_holds(any_node, compiled):
    script = compiled({"check": {"file": {"path": "/late"}, "within_s": 100}})
    late = threading.Timer(0.5, (any_node.root / "late").touch)
    start = time.monotonic()
    late.start()
    done = any_node.run(script)
    late.join()
    assert (done.returncode, done.stdout) == (0, "hamgr: unchanged\n")
    assert 0.4 < time.monotonic() - start < 60


def test_a_check_that_never_holds_ends_with_its_time(node, compiled):
    start = time.monotonic()
    done = node.run(compiled({"check": {"file": {"path": "/never"}, "within_s": 0.5}}))
    assert (done.returncode, done.stderr) == (1, "hamgr: /never is not there (asked for 1 s)\n")
    assert 0.5 <= time.monotonic() - start < 60


def test_the_shell_of_the_probes_is_not_made_from_values():
    for text in (probes.ONCE, probes.UNTIL, probes.COMMAND, probes.FILE, probes.TCP, probes.HTTP):
        assert "%s" not in text

"""Requests of pages to the Jupyter server, and who may make them."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import TOKEN, Server
from tests.session.conftest import end, eventually, sessions_of, submit

STAY = "\n    time.sleep(100)"

GET = ["/summary", "/jobs", "/clusters", "/jobs/ada-pi-1/tasks", "/jobs/ada-pi-1/why", "/jobs/ada-pi-1/cell"]
GET += ["/cluster", "/jobs/ada-pi-1/logs/0", "/jobs/ada-pi-1/view", "/stream"]
POST = ["/clear", "/form", "/jobs/ada-pi-1/kill"]
#: WebSockets; the second answers plain requests, too.
SOCKETS = ["/stream", "/jobs/ada-pi-1/view"]
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
UPGRADE["Sec-WebSocket-Key"] = "MDEyMzQ1Njc4OWFiY2RlZg=="


@pytest.mark.parametrize("path", GET + POST)
def test_nobody_without_a_token(server: Server, path: str) -> None:
    method = "POST" if path in POST else "GET"
    for headers in ({}, UPGRADE) if path in SOCKETS else ({},):
        for given in ({}, {"Authorization": "token wrong"}):
            assert server.ask(method, path, {} if path in POST else None, headers | given).code == 403


@pytest.mark.parametrize("path", GET + POST)
def test_nobody_whom_the_authorizer_refuses(server: Server, path: str) -> None:
    """It is asked for the resource t2notebook: may somebody read, or write."""
    is_post = path in POST
    ask = server.post if is_post else server.get
    headers = {**UPGRADE} if path in SOCKETS else {}
    refused = {"X-Refuse": "write t2notebook" if is_post else "read t2notebook"}
    assert (ask(path, {}, **refused) if is_post else ask(path, **headers, **refused)).code == 403
    other = {"X-Refuse": "read t2notebook" if is_post else "write t2notebook, execute t2notebook"}
    if path != "/stream":
        assert (ask(path, {}, **other) if is_post else ask(path, **other)).code in (200, 400, 404)


@pytest.mark.parametrize("path", GET[:-1] + POST)
def test_no_foreign_origin(server: Server, path: str) -> None:
    """With a cookie, as a browser on another site would send it."""
    cookie = log_in(server)
    method = "POST" if path in POST else "GET"
    content = {} if path in POST else None
    headers = {"Cookie": cookie, "Origin": "http://evil.example", "X-XSRFToken": xsrf(cookie)}
    answer = server.ask(method, path, content, headers)
    assert answer.code in (403, 404) and "jobs" not in str(answer.content)


@pytest.mark.parametrize("path", POST)
def test_no_post_without_the_xsrf_token(server: Server, path: str) -> None:
    cookie = log_in(server)
    assert server.ask("POST", path, {}, {"Cookie": cookie}).code == 403
    assert server.ask("POST", path, {}, {"Cookie": cookie, "X-XSRFToken": "2|wrong"}).code == 403
    right = server.ask("POST", path, {}, {"Cookie": cookie, "X-XSRFToken": xsrf(cookie)})
    assert right.code in (200, 400, 404) and "XSRF" not in str(right.content)


@pytest.mark.parametrize("path", SOCKETS)
def test_a_socket_from_a_foreign_origin_is_refused(server: Server, path: str) -> None:
    """With the token as a page may have it, and with a cookie that a browser on another site sends."""
    for given in ({"Authorization": f"token {TOKEN}"}, {"Cookie": log_in(server)}):
        headers = {**UPGRADE, **given, "Origin": "http://evil.example"}
        assert server.ask("GET", path, None, headers).code in (400, 403)


def test_views_scripts_and_nothing_beside_them_need_no_token(server: Server) -> None:
    """As the scripts of Jupyter's extensions: they are what is published."""
    for path, code in {
        "job_view.js": 200,
        "job_view.css": 200,
        "no_such.js": 404,
        "..%2Fmodules.py": 404,
        "../modules.py": 404,
        "modules.py": 404,
    }.items():
        request = urllib.request.Request(f"{server.address}/t2notebook/static/{path}")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                found = answer.status
        except urllib.error.HTTPError as error:
            found = error.code
            error.close()
        assert found == code, path


def test_an_unknown_job_is_told(server: Server) -> None:
    for answer in (server.post("/jobs/ada-pi-1/kill"), server.get("/jobs/ada-pi-1/why")):
        assert answer.code == 404 and "no job 'ada-pi-1'" in answer.content["message"]


def test_a_job_of_a_living_kernel(server: Server, clean: Path) -> None:
    process, job_id = submit(300, then=STAY)
    row = server.jobs()[job_id]
    assert row["session"] == "living" and row["workers"] == 2
    eventually(lambda: server.jobs()[job_id]["state"] == "STARTED")
    assert server.get("/summary").content["active"] == 1
    assert [task["worker_id"] for task in server.get(f"/jobs/{job_id}/tasks").content["tasks"]] == [0, 1]
    assert server.get(f"/jobs/{job_id}/cell").content["source"].endswith(f"attach {job_id} -o job")
    eventually(lambda: server.get("/clusters").content["clusters"][0].get("cpus_used", 0) > 0)
    # a view of the cluster whose kernel is silent
    page = server.get("/cluster?master=local").content
    assert page["agents"]["active"] == 2 and page["tasks"]["running"] == 2 and len(page["active"]) == 2
    assert server.get(f"/cluster?master={page['master']}").content["master"] == page["master"]
    other = server.get("/cluster?master=10.9.8.7:5050")
    assert other.code == 404 and other.content["message"] == "no session is connected to 10.9.8.7:5050"
    # a form whose kernel is silent
    values = {"workers": 3, "cpus": 0.5, "ram": 64.0}
    request = {"values": values, "sequence": 4, "others": ["--name", "pi"], "master": "local"}
    state = server.post("/form", request).content
    assert state["fits"].startswith("Fits now: ") and state["sequence"] == 4 and not state["trouble"]
    assert state["line"] == "%%twister2 submit --workers 3 --cpus 0.5 --ram 64 --name pi"
    wrong = server.post("/form", {**request, "values": {**values, "cpus": 0}}).content
    assert wrong["sequence"] == 4 and "cpu is 0" in wrong["problem"]
    assert server.post("/form", {"values": values}).code == 400
    for master in ("10.9.8.7:5050", "session-0123456789abcdef", "session", ""):
        assert "no session" in server.post("/form", {**request, "master": master}).content["trouble"]
    (place,) = (clean / "runtime" / "t2notebook").glob("session-*.sock")
    assert not server.post("/form", {**request, "master": place.stem}).content["trouble"]
    (session,) = sessions_of(clean)
    os.kill(session, signal.SIGSTOP)
    told = server.get("/clusters").content["clusters"][0]["error"]
    os.kill(session, signal.SIGCONT)
    assert f"pid {session}" in told and "no session uses it" not in told
    # the kernel itself need not do anything
    process.send_signal(signal.SIGSTOP)
    assert server.post(f"/jobs/{job_id}/kill").code == 200
    eventually(lambda: server.jobs()[job_id]["state"] == "KILLED")
    why = server.get(f"/jobs/{job_id}/why").content
    assert why["state"] == "KILLED" and "from Jupyter" in why["message"]
    assert server.post(f"/jobs/{job_id}/kill").code == 200  # once more changes nothing
    process.kill()
    end(process)
    # neither the server's stream nor requests keep the session
    eventually(lambda: not sessions_of(clean))
    eventually(lambda: server.jobs()[job_id]["session"] == "ended")


def test_a_job_whose_kernel_and_session_were_killed(server: Server, clean: Path) -> None:
    process, job_id = submit(600, then=STAY)
    (session,) = sessions_of(clean)
    process.kill()
    end(process)
    os.kill(session, signal.SIGKILL)
    eventually(lambda: server.jobs().get(job_id, {}).get("session") == "lost")
    assert "attach" in server.get(f"/jobs/{job_id}/why").content["message"]
    assert server.post(f"/jobs/{job_id}/kill").code == 200
    eventually(lambda: server.jobs()[job_id]["state"] == "KILLED", timeout=30)
    eventually(lambda: not sessions_of(clean))


def test_logs_are_paged_and_no_character_is_cut(server: Server, clean: Path, tmp_path: Path) -> None:
    from tests.session.conftest import kernel

    process = kernel(
        """
        import t2notebook as t2
        job = t2.submit(lambda: print("\\u00e9" * 60_000), on_exit="detach")
        job.wait(60)
        print(job.job_id)
        """
    )
    assert process.stdout is not None
    job_id = process.stdout.readline().strip()
    text, offset, pages = "", 0, 0
    while page := server.get(f"/jobs/{job_id}/logs/0?offset={offset}").content:
        if not page["text"]:
            break
        text, offset, pages = text + page["text"], page["offset"], pages + 1
    assert text == "\u00e9" * 60_000 + "\n" and pages > 1
    assert server.get(f"/jobs/{job_id}/logs/7").code == 404
    assert server.get(f"/jobs/{job_id}/logs/0?stream=secret").code == 404
    assert server.get(f"/jobs/{job_id}/logs/0?offset=x").code == 400
    end(process)


def test_clearing_takes_away_what_has_ended(server: Server, clean: Path) -> None:
    process, running = submit(300, then=STAY)
    cleared = server.post("/clear").content["cleared"]
    assert cleared and running not in cleared
    assert set(server.jobs()) == {running}
    assert len(list((clean / "data" / "t2notebook" / "sessions").iterdir())) == 1
    server.post(f"/jobs/{running}/kill")
    eventually(lambda: server.jobs()[running]["state"] == "KILLED")
    assert server.post("/clear").content["cleared"] == [running]
    assert server.jobs() == {}
    process.kill()
    end(process)


@pytest.mark.skipif(os.geteuid() != 0, reason="files are given to another user")
def test_another_users_journal_and_socket_are_refused(server: Server, clean: Path) -> None:
    process, job_id = submit(300, then=STAY)
    directory = Path(server.jobs()[job_id]["directory"])
    os.chown(directory / "journal.sqlite", 12345, 12345)
    try:
        answer = server.post(f"/jobs/{job_id}/kill")
        assert answer.code == 403 and "another user" in answer.content["message"]
    finally:
        os.chown(directory / "journal.sqlite", 0, 0)
    (socket,) = (clean / "runtime" / "t2notebook").glob("session-*.sock")
    os.chown(socket, 12345, 12345)
    try:
        answer = server.post(f"/jobs/{job_id}/kill")
        assert answer.code == 403 and "another user" in answer.content["message"]
    finally:
        os.chown(socket, 0, 0)
    assert server.post(f"/jobs/{job_id}/kill").code == 200
    process.kill()
    end(process)


def log_in(server: Server) -> str:
    """Return the cookies of a page that was opened with the token."""
    import http.cookiejar

    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    opener.open(f"{server.address}/login?token={TOKEN}", timeout=20).close()
    opener.close()
    cookies: dict[str, Any] = {cookie.name: cookie.value for cookie in jar}
    assert "_xsrf" in cookies and len(cookies) == 2, cookies
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


def xsrf(cookie: str) -> str:
    return next(part.removeprefix("_xsrf=") for part in cookie.split("; ") if part.startswith("_xsrf="))

"""Requests of workers: signed, in order, and from the incarnation that counts."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import pytest
from tornado.testing import AsyncHTTPTestCase
from tornado.web import Application

from t2notebook.jobmaster.http_api import routes
from t2notebook.journal import Journal
from t2notebook.journal.job_store import JobRecord, Jobs
from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.protocol import archive, auth

SPEC = JobSpec("pi", "ada", (ComputeResource(instances=2),), "0" * 64, 10, "3.11")


@pytest.fixture(autouse=True)
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    request.cls.directory = tmp_path
    yield


class HandlersTest(AsyncHTTPTestCase):
    directory: Path

    def get_app(self) -> Application:
        self.journal = Journal(self.directory)
        self.jobs = Jobs(self.journal)
        self.job: JobRecord = self.jobs.create_now(SPEC, "k")
        self.launch(0)
        return Application(routes(self.jobs))

    def tearDown(self) -> None:
        super().tearDown()
        self.journal.close()

    def launch(self, incarnation: int) -> None:
        data = {"restart_count": incarnation, "host": "h"}
        self.jobs.record(
            Event(EventKind.LAUNCHED, self.job.job_id, 1.0, 0, f"t-{incarnation}", "STAGING", data=data)
        )

    def send(
        self, method: str, what: str, body: bytes, incarnation: object = 0, worker: int = 0, secret: str = ""
    ) -> int:
        path = f"/v1/jobs/{self.job.job_id}/workers/{worker}/{what}?incarnation={incarnation}"
        signature = auth.sign(secret or self.job.secret, method, path, hashlib.sha256(body).hexdigest())
        headers = {
            "Authorization": auth.authorization(self.job.job_id, signature),
            auth.BODY_DIGEST: hashlib.sha256(body).hexdigest(),
        }
        return self.fetch(path, method=method, body=body, headers=headers).code

    def result(self, value: object) -> bytes:
        target = io.BytesIO()
        members = archive.dump(
            value, lambda file, callback: cloudpickle.Pickler(file, protocol=5, buffer_callback=callback)
        )
        archive.write(target, members, {"kind": "result", "ok": True, "python": "3.11"})
        return target.getvalue()

    def test_a_result_is_kept_and_recorded(self) -> None:
        body = self.result({"answer": 42})
        assert self.send("PUT", "result", body) == 204
        path = self.jobs.result_path(self.job.job_id, 0)
        assert archive.Archive.open(path).load() == {"answer": 42}
        assert path.stat().st_mode & 0o077 == 0
        assert self.job.view.workers[0].result == "ok"
        assert self.job.events[-1].data == {"ok": True, "size": len(body)}

    def test_a_result_that_came_twice_counts_once(self) -> None:
        body = self.result(1)
        assert self.send("PUT", "result", body) == 204
        assert self.send("PUT", "result", body) == 204
        assert [event.kind for event in self.job.events].count(EventKind.RESULT) == 1

    def test_a_wrong_signature_leaves_nothing_behind(self) -> None:
        assert self.send("PUT", "result", self.result(1), secret="00" * 32) == 401
        assert self.job.view.workers[0].result == ""
        assert not list((self.directory / "results").rglob("*.*"))

    def test_a_body_that_is_not_what_was_signed(self) -> None:
        path = f"/v1/jobs/{self.job.job_id}/workers/0/result?incarnation=0"
        digest = hashlib.sha256(b"what was signed").hexdigest()
        signature = auth.sign(self.job.secret, "PUT", path, digest)
        headers = {"Authorization": auth.authorization(self.job.job_id, signature), auth.BODY_DIGEST: digest}
        assert self.fetch(path, method="PUT", body=self.result(1), headers=headers).code == 400
        assert self.job.view.workers[0].result == ""
        assert not list((self.directory / "results").rglob("*.*"))

    def trailing(self, body: bytes, signature: str, begun: str = "") -> int:
        """Send a body that is signed at its end."""
        path = f"/v1/jobs/{self.job.job_id}/workers/0/result?incarnation=0"
        first = auth.sign(begun or self.job.secret, "PUT", path, auth.TRAILING)
        headers = {
            "Authorization": auth.authorization(self.job.job_id, first),
            auth.BODY_DIGEST: auth.TRAILING,
        }
        sent = body + signature.encode()
        return self.fetch(path, method="PUT", body=sent, headers=headers).code

    def test_a_result_that_is_signed_at_its_end(self) -> None:
        body = self.result(bytes(300_000))
        path = f"/v1/jobs/{self.job.job_id}/workers/0/result?incarnation=0"
        signature = auth.sign(self.job.secret, "PUT", path, hashlib.sha256(body).hexdigest())
        assert self.trailing(body, "0" * 64) == 401
        assert self.trailing(body[:-1], signature) == 401
        assert self.trailing(body[:-1] + b"x", signature) == 401
        assert self.trailing(b"", "0" * 10) == 400
        assert self.trailing(body, signature, begun="00" * 32) == 401
        assert self.job.view.workers[0].result == ""
        assert not list((self.directory / "results").rglob("*.*"))
        assert self.trailing(body, signature) == 204
        assert archive.Archive.open(self.jobs.result_path(self.job.job_id, 0)).load() == bytes(300_000)
        assert self.job.events[-1].data == {"ok": True, "size": len(body)}

    def test_a_request_without_a_signature(self) -> None:
        path = f"/v1/jobs/{self.job.job_id}/workers/0/result?incarnation=0"
        assert self.fetch(path, method="PUT", body=b"x").code == 401
        assert self.fetch(path.replace(self.job.job_id, "nobody-knows"), method="PUT", body=b"x").code == 401

    def test_an_older_incarnation_is_told_to_stop(self) -> None:
        self.jobs.record(Event(EventKind.STATUS, self.job.job_id, 2.0, 0, "t-0", "LOST"))
        self.launch(1)
        assert self.send("PUT", "result", self.result(1), incarnation=0) == 409
        assert self.send("PUT", "result", self.result(1), incarnation=1) == 204

    def test_a_worker_that_is_not_and_an_incarnation_that_is_none(self) -> None:
        assert self.send("PUT", "result", self.result(1), worker=7) == 404
        assert self.send("PUT", "result", self.result(1), incarnation="x") == 400

    def test_what_is_no_archive(self) -> None:
        assert self.send("PUT", "result", b"not an archive") == 400
        assert self.job.view.workers[0].result == ""

    def test_a_job_that_is_over_takes_no_result(self) -> None:
        self.jobs.record(Event(EventKind.KILL, self.job.job_id, 2.0, reason="USER"))
        assert self.send("PUT", "result", self.result(1)) == 409

    def test_progress_is_clamped_and_shown(self) -> None:
        assert self.send("POST", "progress", b'{"progress": 1.7, "text": "nearly"}') == 204
        worker = self.job.view.workers[0]
        assert (worker.progress, worker.text) == (1.0, "nearly")

    def test_progress_that_is_none(self) -> None:
        assert self.send("POST", "progress", b"[]") == 400
        assert self.send("POST", "progress", b"x" * (1 << 17)) == 413

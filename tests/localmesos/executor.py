"""A small executor, standard library only, run by an agent (never imported by tests).

Tasks do what their data says: "finish", "run" (until killed), "crash" (the executor exits 7), "child" (leave a
stubborn process in a group of its own), "echo" (send the data back as a message), "later" (finish after half a
second). argv: "stubborn" ignores SHUTDOWN and SIGTERM; "mute" never registers; "checkpoint" goes on without an
agent until there is one again.
"""

import base64
import json
import os
import signal
import socket
import sys
import threading
import time
import uuid

FLAGS = sys.argv[1:]
HOST, PORT = os.environ["MESOS_AGENT_ENDPOINT"].rsplit(":", 1)
IDS = {
    "framework_id": {"value": os.environ["MESOS_FRAMEWORK_ID"]},
    "executor_id": {"value": os.environ["MESOS_EXECUTOR_ID"]},
}
unacknowledged = {}


def send(connection, call):
    body = json.dumps({**IDS, **call}).encode()
    head = (
        f"POST /api/v1/executor HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)


def call(**parts):
    try:
        with socket.create_connection((HOST, int(PORT))) as calls:
            send(calls, parts)
            answer = b""
            while b"\r\n\r\n" not in answer:
                piece = calls.recv(4096)
                if not piece:
                    raise ConnectionResetError
                answer += piece
    except OSError:
        if "checkpoint" not in FLAGS:
            raise
        return
    assert b" 202 " in answer.split(b"\r\n")[0], answer


def update(task_id, state, **more):
    status = {
        "task_id": task_id,
        "state": state,
        "source": "SOURCE_EXECUTOR",
        "uuid": base64.b64encode(uuid.uuid4().bytes).decode(),
        "timestamp": time.time(),
        **more,
    }
    unacknowledged[status["uuid"]] = status
    call(type="UPDATE", update={"status": status})


def events():
    with socket.create_connection((HOST, int(PORT))) as stream:
        updates = [{"status": status} for status in unacknowledged.values()]
        send(stream, {"type": "SUBSCRIBE", "subscribe": {"unacknowledged_updates": updates}})
        reader = stream.makefile("rb")
        while reader.readline().strip():
            pass
        while True:
            size = reader.readline()
            if not size.strip(b"0\r\n"):
                return
            chunk = reader.read(int(size, 16))
            reader.readline()
            yield json.loads(chunk.split(b"\n", 1)[1])


def events_of_all_agents():
    while True:
        try:
            yield from events()
        except OSError:
            if "checkpoint" not in FLAGS:
                raise
        if "checkpoint" not in FLAGS:
            return
        time.sleep(0.05)


if "mute" in FLAGS:
    time.sleep(1000)
if "stubborn" in FLAGS:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("executor", os.getpid(), flush=True)
for event in events_of_all_agents():
    kind = event["type"]
    if kind == "ACKNOWLEDGED":
        unacknowledged.pop(event["acknowledged"]["uuid"], None)
    elif kind == "LAUNCH":
        task = event["launch"]["task"]
        what = base64.b64decode(task.get("data", "")).decode()
        update(task["task_id"], "TASK_RUNNING")
        if what == "crash":
            os._exit(7)
        elif what == "echo":
            call(type="MESSAGE", message={"data": task["data"]})
        elif what == "child":
            if os.fork() == 0:
                os.setpgid(0, 0)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                with open("child.pid.new", "w") as file:
                    file.write(str(os.getpid()))
                os.rename("child.pid.new", "child.pid")
                time.sleep(1000)
        elif what == "later":
            threading.Timer(0.5, update, (task["task_id"], "TASK_FINISHED")).start()
        elif what == "finish" or not what:
            update(task["task_id"], "TASK_FINISHED")
    elif kind == "KILL":
        update(event["kill"]["task_id"], "TASK_KILLED")
    elif kind == "MESSAGE":
        call(type="MESSAGE", message={"data": event["message"]["data"]})
    elif kind == "SHUTDOWN" and "stubborn" not in FLAGS:
        sys.exit(0)
if "stubborn" in FLAGS:
    time.sleep(1000)

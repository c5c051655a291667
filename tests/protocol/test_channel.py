"""The channel: what is sent arrives, whole and in order, however it is cut; and nothing else does."""

from __future__ import annotations

import random
from typing import Any

import pytest

from t2notebook.protocol import channel
from t2notebook.protocol.channel import MAGIC, Channel, NotTrusted
from t2notebook.protocol.frames import MAX_MESSAGE, PIECE, FrameError, FrameReader, FrameWriter, Message, Seal

SECRET, OTHER = "11" * 32, "22" * 32
HELLO = {"job_id": "me-pi-1", "worker_id": 3, "incarnation": 0}


def drain(side: Channel) -> bytes:
    out = bytearray()
    while piece := side.take():
        out += piece
    return bytes(out)


def pair(secret: str = SECRET, hello: dict[str, Any] = HELLO) -> tuple[Channel, Channel]:
    """Return both sides of a connection that is open."""
    worker = channel.connect(secret, hello)
    master = channel.respond({"me-pi-1": SECRET}.get)
    for _ in range(2):
        assert master.feed(drain(worker)) == []
        worker.feed(drain(master))
    assert worker.is_open and master.is_open
    return worker, master


def test_both_sides_learn_who_is_there() -> None:
    worker, master = pair()
    assert {name: master.hello[name] for name in HELLO} == HELLO
    worker.send({"kind": "barrier"}, b"abc")
    master.send({"kind": "answer"})
    assert master.feed(drain(worker)) == [Message({"kind": "barrier"}, b"abc")]
    assert worker.feed(drain(master)) == [Message({"kind": "answer"})]


def test_the_last_word_of_the_handshake_and_the_first_message_may_come_together() -> None:
    worker, master = channel.connect(SECRET, HELLO), channel.respond({"me-pi-1": SECRET}.get)
    master.feed(drain(worker))
    worker.feed(drain(master))
    worker.send({"first": True})
    assert master.feed(drain(worker)) == [Message({"first": True})]


@pytest.mark.parametrize("seed", range(5))
def test_however_it_is_cut(seed: int) -> None:
    chance = random.Random(seed)
    worker, master = channel.connect(SECRET, HELLO), channel.respond({"me-pi-1": SECRET}.get)
    got: list[Message] = []

    def move(source: Channel, target: Channel) -> None:
        data = drain(source)
        while data:
            size = chance.choice((1, 2, 3, 7, 1000, PIECE))
            got.extend(target.feed(data[:size]))
            data = data[size:]

    for _ in range(2):
        move(worker, master)
        move(master, worker)
    sizes = [0, 1, PIECE - 50, PIECE, PIECE + 1, 3 * PIECE + 17]
    sent = [Message({"number": number}, chance.randbytes(size)) for number, size in enumerate(sizes)]
    for message in sent:
        worker.send(message.record, message.payload)
    move(worker, master)
    assert got == sent


def test_a_large_message_does_not_hold_up_a_small_one_of_another_stream() -> None:
    worker, master = pair()
    worker.send({"large": 1}, bytes(20 * PIECE), stream=1)
    worker.send({"large": 2}, b"after it", stream=1)
    worker.send({"small": True}, b"x", stream=0)
    order = []
    frames = 0
    while piece := worker.take():
        frames += 1
        order += [(frames, message.record) for message in master.feed(piece)]
    assert order[0] == (2, {"small": True})
    assert [record for _, record in order[1:]] == [{"large": 1}, {"large": 2}], "a stream keeps its order"
    assert worker.waiting == 0


def test_a_message_with_a_head_goes_past_what_waits_on_other_streams_only() -> None:
    worker, master = pair()
    worker.send({"large": 1}, bytes(2 * PIECE), stream=1)
    first = worker.take()
    frame = worker.frame_of(b"head", b"payload", stream=2)
    with pytest.raises(ValueError, match="order"):
        worker.frame_of(b"head", b"", stream=1)
    found = [*master.feed(first), *master.feed(frame), *master.feed(drain(worker))]
    assert found[0] == Message({}, b"payload", 2, b"head")
    assert [message.record for message in found[1:]] == [{"large": 1}]


@pytest.mark.parametrize("key", [b"key", None])
def test_messages_with_heads_keep_their_place_among_others(key: bytes | None) -> None:
    writer, reader = (each(Seal(key) if key else None) for each in (FrameWriter, FrameReader))
    writer.put({"number": 1}, b"x")
    writer.put_head(b"2", b"y")
    writer.put({"number": 3})
    writer.put_head(b"", b"")
    assert writer.waiting
    data = b"".join(iter(writer.take, b""))
    found = [message for byte in data for message in reader.feed(bytes([byte]))]
    assert [(each.record.get("number"), each.head, each.payload) for each in found] == [
        (1, b"", b"x"),
        (None, b"2", b"y"),
        (3, b"", b""),
        (None, b"", b""),
    ]
    assert writer.waiting == 0


def test_who_does_not_know_the_secret_is_refused_on_either_side() -> None:
    worker, master = channel.connect(OTHER, HELLO), channel.respond({"me-pi-1": SECRET}.get)
    master.feed(drain(worker))
    with pytest.raises(NotTrusted, match="not this job's job master"):
        worker.feed(drain(master))
    # One that goes on all the same is found out by the other.
    master.feed(b"")
    with pytest.raises(NotTrusted):
        master.feed(b'\0\0\0\x0f{"proof": "00"}')
    assert not master.is_open and not master.hello


def test_an_unknown_job_is_answered_like_any_other() -> None:
    worker, master = channel.connect(SECRET, {**HELLO, "job_id": "x"}), channel.respond({}.get)
    master.feed(drain(worker))
    answer = drain(master)
    assert b"proof" in answer
    with pytest.raises(NotTrusted):
        worker.feed(answer)


def test_a_recorded_connection_is_of_no_use_again() -> None:
    worker, master = channel.connect(SECRET, HELLO), channel.respond({"me-pi-1": SECRET}.get)
    hello = drain(worker)
    master.feed(hello)
    worker.feed(drain(master))
    worker.send({"kind": "kill"})
    rest = drain(worker)
    assert [message.record for message in master.feed(rest)] == [{"kind": "kill"}]
    again = channel.respond({"me-pi-1": SECRET}.get)
    again.feed(hello)
    with pytest.raises(FrameError):
        again.feed(rest)


def test_a_hello_that_was_changed_on_its_way_is_refused() -> None:
    worker, master = channel.connect(SECRET, HELLO), channel.respond({"me-pi-1": SECRET}.get)
    master.feed(
        drain(worker)
        .replace(b'"worker_id": 3', b'"worker_id": 4')
        .replace(b'"worker_id":3', b'"worker_id":4')
    )
    with pytest.raises(NotTrusted):
        worker.feed(drain(master))


def frames(count: int) -> list[bytes]:
    writer = FrameWriter(Seal(b"key"))
    for number in range(count):
        writer.put({"number": number})
    return [writer.take() for _ in range(count)]


@pytest.mark.parametrize("order", [(1,), (0, 0), (0, 2, 1), (1, 0)])
def test_frames_that_are_missing_repeated_or_out_of_order(order: tuple[int, ...]) -> None:
    sent = frames(3)
    reader = FrameReader(Seal(b"key"))
    with pytest.raises(FrameError, match="origin"):
        for number in order:
            reader.feed(sent[number])


def test_no_bit_of_a_frame_can_be_changed() -> None:
    (frame,) = frames(1)
    for place in range(len(frame)):
        changed = bytearray(frame)
        changed[place] ^= 0x40
        reader = FrameReader(Seal(b"key"))
        try:
            assert reader.feed(bytes(changed)) == [], "a length that grew waits for more"
        except FrameError:
            continue
        assert place < 4


def test_frames_of_the_other_direction_are_refused() -> None:
    worker, _ = pair()
    worker.send({"kind": "x"})
    with pytest.raises(FrameError):
        worker.feed(drain(worker))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        MAGIC + b"\xff\xff\xff\xff",
        MAGIC + b"\0\0\0\x02[]",
        MAGIC + b"\0\0\0\x04\xff\xfe{}",
    ],
)
def test_what_is_no_channel_is_refused_without_keeping_it(data: bytes) -> None:
    with pytest.raises(FrameError):
        channel.respond({}.get).feed(data)


def test_limits() -> None:
    worker, _ = pair()
    with pytest.raises(ValueError, match="are the most"):
        worker.send({}, bytes(MAX_MESSAGE))
    reader = FrameReader(Seal(b"key"))
    with pytest.raises(FrameError):
        reader.feed(b"\x7f\xff\xff\xff")


@pytest.mark.parametrize("key", [b"key", None])
@pytest.mark.parametrize("size", [0, 1, (64 << 10) - 3, 64 << 10, PIECE, PIECE + 1, 3 * PIECE + 17])
def test_frames_may_be_cut_anywhere(key: bytes | None, size: int) -> None:
    writer = FrameWriter(Seal(key) if key else None)
    payload = random.Random(size).randbytes(size)
    for stream in (0, 1, 0):
        writer.put({"stream": stream}, payload, stream)
    sent = b"".join(iter(writer.take, b""))
    chance = random.Random(7)
    for most in (len(sent), 5, 70_000, 300_000):
        reader, found, begin = FrameReader(Seal(key) if key else None), [], 0
        while begin < len(sent):
            step = len(sent) - begin if most == 5 and begin > 40 else chance.randint(1, most)
            found += reader.feed(sent[begin : begin + step])
            begin += step
        assert [(one.record["stream"], one.stream) for one in found] in (
            [(0, 0), (1, 1), (0, 0)],
            [(0, 0), (0, 0), (1, 1)],
            [(1, 1), (0, 0), (0, 0)],
        )
        assert all(bytes(one.payload) == payload for one in found)


def test_a_large_frame_that_was_changed_is_not_taken() -> None:
    writer = FrameWriter(Seal(b"key"))
    writer.put({}, bytes(PIECE // 2))
    sent = bytearray(b"".join(iter(writer.take, b"")))
    for place in (4, 5, 100_000, len(sent) - 1):
        changed = bytearray(sent)
        changed[place] ^= 1
        reader = FrameReader(Seal(b"key"))
        with pytest.raises(FrameError):
            assert reader.feed(changed[:70_000]) == []
            reader.feed(changed[70_000:])


def test_noise_never_gets_through() -> None:
    chance = random.Random(1)
    for _ in range(300):
        _, master = pair()
        noise = chance.randbytes(chance.randrange(1, 400))
        try:
            assert master.feed(noise) == []
        except FrameError:
            pass

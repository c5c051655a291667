from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.model.address import Address, ZooKeeper, check, split_userinfo, without_userinfo


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("h", Address("h", 5050)),
        ("h:5051", Address("h", 5051)),
        ("http://h:5051", Address("h", 5051)),
        ("http://h:5051/", Address("h", 5051)),
        ("https://h", Address("h", 5050, tls=True)),
        ("https://h:443", Address("h", 443, tls=True)),
        ("[::1]:5052", Address("::1", 5052)),
        ("https://[fe80::1]", Address("fe80::1", 5050, tls=True)),
    ],
)
def test_masters_addresses(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert Address.parse(str(address)) == address


def test_what_names_no_scheme_keeps_the_one_that_holds() -> None:
    assert Address.parse("//h:1", tls=True) == Address("h", 1, tls=True)
    assert Address.parse("http://h:1", tls=True) == Address("h", 1)


@pytest.mark.parametrize(
    "text", ["", "ftp://h", "http://", "::1", "h:x", "h:0", "h:70000", "http://h/x", "[::1"]
)
def test_no_masters_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="is not a Mesos master; give host:port"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("zk://a:1,b:2/mesos", "zk://a:1,b:2/mesos"),
        ("zk://a,b/mesos/x/", "zk://a:2181,b:2181/mesos/x"),
        ("zk://[::1]:1/m", "zk://[::1]:1/m"),
        ("zk://u:p@s@a:1/m", "zk://a:1/m"),
    ],
)
def test_zookeepers(text: str, shown: str) -> None:
    assert str(ZooKeeper.parse(text)) == shown
    check(text)


@pytest.mark.parametrize(
    "text", ["zk://", "zk:///m", "zk://h", "zk://h/", "zk://h,/m", "zk://h:x/m", "http://h/m"]
)
def test_no_zookeepers(text: str) -> None:
    with pytest.raises(ValueError, match="is not a ZooKeeper; give zk://h1:2181"):
        ZooKeeper.parse(text)


@given(
    st.sampled_from(["zk://", "http://", "https://", "ftp://", ""]),
    st.text(st.characters(exclude_characters="hm:1", exclude_categories=["Cs"]), min_size=1),
    st.sampled_from(["h:1/m", "h", "", "h:1,h:1/m"]),
)
def test_no_complaint_shows_what_stands_before_the_at(scheme: str, password: str, rest: str) -> None:
    secret = f"<{password}>"
    text = f"{scheme}u:{secret}@{rest}"
    assert secret not in split_userinfo(text)[0] or scheme != "zk://"
    assert secret not in without_userinfo(text)
    try:
        check(text)
    except ValueError as error:
        assert secret not in str(error)

"""http-parser's HttpParser as pymesos uses it, on h11: http-parser itself compiles on no Python of today."""

import h11

REQUEST = 0


class HttpParser:
    """Parses one message: a request if kind is 0, else a response."""

    def __init__(self, kind=2, decompress=False):
        if kind == REQUEST:
            self._connection = h11.Connection(h11.SERVER)
        else:
            self._connection = h11.Connection(h11.CLIENT)
            # h11 reads the answer to something; which method was used does not matter for POST and GET.
            self._connection.send(h11.Request(method="GET", target="/", headers=[("Host", "_")]))
            self._connection.send(h11.EndOfMessage())
        self._head = None
        self._body = b""
        self._complete = False
        self._errno = 0

    def execute(self, data, length):
        """Take bytes; give how many of them could be parsed."""
        self._connection.receive_data(bytes(data[:length]))
        try:
            while not self._complete:
                event = self._connection.next_event()
                if event in (h11.NEED_DATA, h11.PAUSED):
                    break
                if isinstance(event, h11.Request | h11.Response):
                    self._head = event
                elif isinstance(event, h11.Data):
                    self._body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                    self._complete = True
        except h11.RemoteProtocolError:
            self._errno = 1
            return 0
        return length

    def get_errno(self):
        return self._errno

    def is_headers_complete(self):
        return self._head is not None

    def get_status_code(self):
        return self._head.status_code

    def get_method(self):
        return self._head.method.decode("latin-1")

    def get_url(self):
        return self._head.target.decode("latin-1")

    def get_headers(self):
        return {name.decode("latin-1").title(): value.decode("latin-1") for name, value in self._head.headers}

    def is_chunked(self):
        return self.get_headers().get("Transfer-Encoding", "").lower() == "chunked"

    def is_partial_body(self):
        return bool(self._body)

    def recv_body(self):
        body, self._body = self._body, b""
        return body

    def is_message_complete(self):
        return self._complete

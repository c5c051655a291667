"""`T2NotebookExtension`: what the Jupyter server loads; it wires the list of jobs, the handlers and the event bus."""

from __future__ import annotations

from jupyter_server.extension.application import ExtensionApp

from .announcements import Announcer
from .handlers import routes
from .job_list import JobList


class T2NotebookExtension(ExtensionApp):
    """The application that the Jupyter server starts."""

    name = "t2notebook"
    load_other_extensions = True

    def initialize_settings(self) -> None:
        """Make the list; it begins to look for sessions when somebody asks, or a session says that it is there."""
        assert self.serverapp is not None
        self.job_list = JobList()
        self.announcer = Announcer(self.serverapp.event_logger, self.job_list)

    def initialize_handlers(self) -> None:
        """Add the handlers, and begin to wait for sessions when the server's loop runs."""
        assert self.serverapp is not None
        self.serverapp.io_loop.add_callback(self.job_list.start)
        self.handlers.extend(routes(self.job_list))

    async def stop_extension(self) -> None:
        """Let go of all sessions."""
        await self.job_list.stop()

"""The session: the background process that owns and wires scheduler, servers, job master and journal."""

# An image of Apache Mesos's agent with a CPython for workers, for compose.apache.yaml. Not built by the tests.
ARG MESOS=docker.io/mesosphere/mesos-slave:1.7.1
FROM ghcr.io/astral-sh/uv:latest AS uv
FROM ${MESOS}
ARG PYTHON=3.12
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_PYTHON_INSTALL_DIR=/opt/python
# One that needs no more of the image than its C library.
RUN uv python install "${PYTHON}" && ln -s "$(uv python find "${PYTHON}")" "/usr/local/bin/python${PYTHON}"

# The hub as an image: docs/compose.md says how to build, pin and extend it.
#   docker build -t countersign:local .
# Pinned by tag here. For the very same bytes each time, give the digest that `docker pull python:3.11-slim-bookworm` prints:
#   docker build --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:… -t countersign:local .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# The packages, by their hashes and as wheels only: nothing of theirs is built or run here.
FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements/build.txt requirements/run.txt requirements/
RUN python -m venv --without-pip /opt/countersign \
 && python -m pip --python /opt/countersign/bin/python install --require-hashes --only-binary :all: -r requirements/run.txt \
 && python -m pip install --require-hashes --only-binary :all: -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY hub hub
COPY virtual_servers virtual_servers
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir wheel . \
 && python -m pip --python /opt/countersign/bin/python install --no-deps --no-index wheel/*.whl

# What runs: Python, the packages, the hub. No compiler, no source tree, no root.
FROM ${PYTHON_IMAGE}
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Countersign" \
      org.opencontainers.image.description="A governance hub for AI agents: one governed path for every call, and a record anyone can verify" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
# The folders belong to the hub's user, and so do fresh volumes that are mounted there. /secrets is where compose's `init` writes.
RUN groupadd --gid 10001 hub \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/countersign --shell /usr/sbin/nologin hub \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/countersign /secrets/hub \
 && install -d -o 10001 -g 10001 -m 0755 /secrets/postgres /secrets/redis
COPY --from=build /opt/countersign /opt/countersign
ENV PATH=/opt/countersign/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /var/lib/countersign
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-I", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080, timeout=4); c.request('GET', '/health/ready'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["hub"]
CMD ["serve", "--host", "0.0.0.0"]

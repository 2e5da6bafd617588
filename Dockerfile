# One image for all roles: `tunesmith-server run ROLE`, where ROLE is api, command-handler, scheduler, projector,
# reactor or trainer-worker. Settings are the TUNESMITH_* variables that `tunesmith-server settings` lists.

FROM python:3.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    UV_HTTP_TIMEOUT=300 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /src
COPY requirements/uv.txt requirements/runtime.txt requirements/
RUN python -m venv /opt/tunesmith \
    && /opt/tunesmith/bin/python -m pip install --require-hashes -r requirements/uv.txt
# A layer of its own: our code changes more often than what it stands on.
RUN /opt/tunesmith/bin/uv pip install --python /opt/tunesmith/bin/python --no-cache --compile-bytecode \
    --no-deps --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md ./
COPY sdk/pyproject.toml sdk/README.md sdk/
COPY sdk/tunesmith sdk/tunesmith
COPY infra/kafka infra/kafka
COPY app app
RUN /opt/tunesmith/bin/uv pip install --python /opt/tunesmith/bin/python --no-cache --compile-bytecode \
    --no-deps --no-build-isolation . ./sdk

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/tunesmith --shell /usr/sbin/nologin tunesmith \
    && install -d -o tunesmith -g tunesmith /var/lib/tunesmith /var/cache/tunesmith
COPY --from=build /opt/tunesmith /opt/tunesmith
ENV PATH=/opt/tunesmith/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TUNESMITH_CACHE_DIR=/var/cache/tunesmith \
    TUNESMITH_DATA_DIR=/var/lib/tunesmith \
    TUNESMITH_HOST=0.0.0.0
USER 10001
WORKDIR /var/lib/tunesmith
EXPOSE 8000
# SIGTERM drains a role for up to 30 s.
STOPSIGNAL SIGTERM
ENTRYPOINT ["tunesmith-server"]
CMD ["run", "api"]

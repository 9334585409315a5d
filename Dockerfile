# syntax=docker/dockerfile:1
#
# docker build --target cpu -t rsov:cpu --build-arg TORCH="torch==2.13.0 torchvision==0.28.0 --index-url URL" .
# docker build --target gpu -t rsov:gpu .
# docker run --rm --tmpfs /tmp -v "$PWD":/data:ro -v maps:/maps rsov:cpu predict /data/ortho.tif --prompts "forest,road" -o /maps/
#
# Kernels are compiled for the CPU that runs them, at the first map of each container; `-v rsov-cache:/tmp/numba` keeps them.
# URL is the CPU wheel index of the torch project; without it the cpu image holds CUDA libraries for nothing. The gpu image needs
# the driver and the container toolkit on the host. It was written where no image can be built: only its text is tested
# (tests/test_packaging.py). torch-tensorrt is left out: its libraries come from their vendor while they are installed.

FROM python:3.11-slim AS build
ARG TORCH="torch==2.13.0 torchvision==0.28.0"
RUN python -m venv /opt/rsov
ENV PATH=/opt/rsov/bin:$PATH
RUN --mount=type=cache,target=/root/.cache/pip pip install $TORCH
COPY constraints/lock.txt /src/constraints/
RUN --mount=type=cache,target=/root/.cache/pip pip install --no-deps --require-hashes -r /src/constraints/lock.txt
COPY pyproject.toml README.md LICENSE NOTICE /src/
COPY rsov /src/rsov
RUN --mount=type=cache,target=/root/.cache/pip pip install --no-deps /src

FROM python:3.11-slim AS runtime
ENV PATH=/opt/rsov/bin:$PATH \
    RSOV_CACHE_DIR=/tmp/rsov \
    NUMBA_CACHE_DIR=/tmp/numba \
    MPLCONFIGDIR=/tmp/mpl \
    HF_HUB_OFFLINE=1 \
    TOKENIZERS_PARALLELISM=false \
    OMP_WAIT_POLICY=PASSIVE
# the wheels of rasterio and fiona bring all their libraries but this one, which the slim image lacks
RUN apt-get update && apt-get install -y --no-install-recommends libexpat1 && rm -rf /var/lib/apt/lists/* \
    && install -d -o 10001 -g 10001 /maps
COPY --from=build /opt/rsov /opt/rsov
USER 10001:10001
WORKDIR /maps
ENTRYPOINT ["rsov"]
CMD ["--help"]

FROM runtime AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM runtime AS cpu

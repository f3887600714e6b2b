# The image of a node, for those who have Docker or podman: docker build -t wsnode .
# A release's image has the same files, but is made without either: task image.
FROM golang:1.26-alpine AS build
RUN apk add --no-cache ca-certificates
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -X github.com/wsnode/wsnode/relay/version.release=${VERSION}" -o /out/ ./cmd/wsnode ./cmd/wsctl

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/ /src/LICENSE /
USER 65532:65532
ENV PATH=/
EXPOSE 8080 9090
ENTRYPOINT ["/wsnode"]

// Command s3server is the S3 server of the tests: versitygw over a directory, which
// checks signatures and obeys conditions. It serves one bucket on a Unix socket until
// its input ends, so that it never outlives the test that started it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	dir := flag.String("dir", "", "where the objects are kept")
	socket := flag.String("socket", "", "the Unix socket to listen on, an absolute path")
	access := flag.String("access", "test", "the access key id of the root account")
	secret := flag.String("secret", "secret", "its secret access key")
	flag.Parse()

	buckets, versions := filepath.Join(*dir, "buckets"), filepath.Join(*dir, "versions")
	if err := errors.Join(os.MkdirAll(buckets, 0o750), os.MkdirAll(versions, 0o750)); err != nil {
		return err
	}
	// Metadata stands in attributes of the file, and so is atomic with its content.
	store, err := posix.New(buckets, meta.XattrMeta{}, posix.PosixOpts{
		Concurrency: 64, CopyObjectThreshold: 5 << 30,
		VersioningDir: versions, // of buckets for which it is switched on
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return embedgw.RunVersityGW(ctx, store, &embedgw.Config{
		RootUserAccess: *access, RootUserSecret: *secret,
		Ports: []string{*socket}, MaxConnections: 1000, MaxRequests: 1000, MultipartMaxParts: 10_000,
		KeepAlive: true, Quiet: true, HealthPath: "/healthz",
	})
}

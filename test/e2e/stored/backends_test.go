package stored

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/jackc/pgx/v5"

	"github.com/wsnode/wsnode/relay/storage/postgres"
)

// eventually looks until something that no event tells of holds.
func eventually(t *testing.T, what string, holds func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("never: %s: %v", what, err)
		}
	}
}

const bucket = "documents"

// startS3 runs a real S3 server, whose credentials nodes find in the environment.
func startS3(t *testing.T) (store string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "s3") // a socket's path has few bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	binary, socket := filepath.Join(dir, "s3server"), filepath.Join(dir, "socket")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir = "../../s3server"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the S3 server: %v\n%s", err, out)
	}
	cmd := exec.Command(binary, "-dir", dir, "-socket", socket)
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		input.Close()
		_ = cmd.Wait()
	})
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	front := httptest.NewServer(&httputil.ReverseProxy{
		// The signature covers the host, which stays.
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", r.In.Host },
		Transport: transport,
	})
	t.Cleanup(front.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	client := awss3.New(awss3.Options{
		BaseEndpoint: &front.URL, Region: "us-east-1", UsePathStyle: true,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "secret"}, nil
		}),
	})
	eventually(t, "the S3 server answers", func() error {
		_, err := client.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String(bucket)})
		return err
	})
	return "s3://" + bucket + "/prefix?region=us-east-1&path-style=1&endpoint=" + front.URL
}

// startPostgres runs PostgreSQL on a socket, with the table.
func startPostgres(t *testing.T) (store string) {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		t.Fatal("PostgreSQL is not installed: the task postgres installs Debian's")
	}
	slices.Sort(found)
	bin := found[len(found)-1]
	dir, err := os.MkdirTemp("", "pg") // a socket's path has few bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	initdb := asPostgres(t, exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "admin", "-A", "trust", "-E", "UTF8", "--no-sync"))
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	cmd := asPostgres(t, exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-h", "", "-c", "max_connections=40"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // a fast shutdown
		_ = cmd.Wait()
	})
	store = "postgres:///postgres?user=admin&host=" + dir
	schema, err := postgres.Schema("")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "PostgreSQL has the table", func() error {
		conn, err := pgx.Connect(t.Context(), store)
		if err != nil {
			return err
		}
		defer conn.Close(t.Context())
		_, err = conn.Exec(t.Context(), schema)
		return err
	})
	return store
}

// asPostgres makes a command run as the user postgres if we are root, as whom the
// server refuses to.
func asPostgres(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if os.Getuid() != 0 {
		return cmd
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return cmd
}

// backend is an application's own backend, which can be made to fail.
type backend struct {
	mu      sync.Mutex // guards all below
	objects map[string]*object
	writes  int
	down    bool
}

type object struct {
	etag   string
	header http.Header
	body   []byte
	gone   bool
}

func startBackend(t *testing.T) (b *backend, store string) {
	t.Helper()
	b = &backend{objects: map[string]*object{}}
	front := httptest.NewServer(b)
	t.Cleanup(front.Close)
	return b, front.URL + "/{dbCode}/{tenantId}/{appId}/{document}"
}

// fail makes all requests fail, or no more.
func (b *backend) fail(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	path := r.URL.EscapedPath()
	o := b.objects[path]
	switch {
	case b.down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		o.read(w)
	case r.Header.Get("If-Match") != "" && (o == nil || o.etag != r.Header.Get("If-Match")),
		r.Header.Get("If-None-Match") == "*" && o != nil:
		w.WriteHeader(http.StatusPreconditionFailed)
	default:
		b.writes++
		o = &object{etag: fmt.Sprintf("%q", strconv.Itoa(b.writes)), header: http.Header{}, body: body, gone: r.Method == http.MethodDelete}
		for name, values := range r.Header {
			if strings.HasPrefix(name, "Wsnode-") || name == "Content-Digest" {
				o.header[name] = values
			}
		}
		b.objects[path] = o
		w.Header().Set("ETag", o.etag)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (o *object) read(w http.ResponseWriter) {
	if o == nil {
		w.Header().Set("wsnode-absent", "1")
		w.WriteHeader(http.StatusNotFound)
		return
	}
	for name, values := range o.header {
		w.Header()[name] = values
	}
	w.Header().Set("ETag", o.etag)
	if o.gone {
		w.WriteHeader(http.StatusGone)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(o.body)))
	_, _ = w.Write(o.body)
}

package stores

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Bucket is the bucket of S3.
const Bucket = "documents"

// S3 builds and starts test/s3server, with a bucket in it, and returns the way to it. The
// credentials that the SDK finds in the environment are those of its root account. It
// ends with the test.
func S3(t *testing.T) http.Handler {
	t.Helper()
	dir, err := os.MkdirTemp("", "s3") // a socket's path has few bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	binary, socket := filepath.Join(dir, "s3server"), filepath.Join(dir, "socket")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir = filepath.Join(root(t), "test", "s3server")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the S3 server: %v\n%s", err, out)
	}
	cmd := exec.Command(binary, "-dir", dir, "-socket", socket)
	cmd.Stderr = os.Stderr
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
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)

	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
		MaxIdleConnsPerHost: 32,
	}
	t.Cleanup(transport.CloseIdleConnections)
	client := S3Client("http://s3.example", &http.Client{Transport: transport})
	deadline := time.Now().Add(time.Minute)
	for {
		_, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(Bucket)})
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the S3 server does not answer: %v", err)
		}
		time.Sleep(20 * time.Millisecond) // there is no event to wait for
	}
	return &httputil.ReverseProxy{
		// The signature covers the host, which stays.
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", r.In.Host },
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0), // clients see what fails
	}
}

// S3Client is a client beside the store, with the credentials of the root account.
func S3Client(url string, over s3.HTTPClient) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &url, Region: "us-east-1", UsePathStyle: true, RetryMaxAttempts: 1, HTTPClient: over,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "secret"}, nil
		}),
	})
}

// root is the folder of the product's module.
func root(t *testing.T) string {
	t.Helper()
	file, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(strings.TrimSpace(string(file)))
}
